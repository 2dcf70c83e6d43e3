/* auth-pam.c - passwords that PAM knows. */
#include <posthouse/posthouse.h>

PH_PLUGIN(auth_pam,
	.summary = "passwords that PAM knows",
	.doc     = "Passwords that PAM knows.");
