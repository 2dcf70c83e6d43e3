/* tls.c - transport security by OpenSSL. */
#include <posthouse/posthouse.h>

PH_PLUGIN(tls,
	.summary = "transport security by OpenSSL",
	.doc     = "Transport security by OpenSSL.");
