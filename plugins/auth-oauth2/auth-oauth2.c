/* auth-oauth2.c - OAuth 2 logins. */
#include <posthouse/posthouse.h>

PH_PLUGIN(auth_oauth2,
	.summary = "OAuth 2 logins",
	.doc     = "OAuth 2 logins.");
