/* auth-basic.c - logins with a password. */
#include <posthouse/posthouse.h>

PH_PLUGIN(auth_basic,
	.summary = "logins with a password",
	.doc     = "Logins with a password.");
