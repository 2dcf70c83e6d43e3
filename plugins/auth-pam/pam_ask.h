/*
 * pam_ask.h - one question to PAM: is this the password of that account, and may it log in.
 */
#ifndef AUTH_PAM_PAM_ASK_H
#define AUTH_PAM_PAM_ASK_H

#include <posthouse/types.h>

enum { PAM_WHY = 256 };
/* Blocks, as long as the modules of the service please.  0; PH_EPERM: no; PH_EIO: PAM cannot say.
 * why: what PAM says, "" for a plain wrong password. */
int pam_ask(const char *service, const char *user, const char *password, char why[PAM_WHY])
	__attribute__((warn_unused_result));
/* What PAM's answer means to a client: 0, PH_EPERM, or PH_EIO for "try later". */
int pam_meaning(int result);

#endif
