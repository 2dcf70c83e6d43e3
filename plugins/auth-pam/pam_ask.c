/*
 * pam_ask.c - one question to PAM.  Knows neither the relay nor its threads: each question has a
 * handle of its own, which is what makes libpam fit for several threads.
 */
#include "pam_ask.h"

#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct answer { const char *user, *password; };

/* Answers come from malloc: PAM frees them. */
static void
responses_free(struct pam_response *v, int n)
{
	for (int i = 0; i < n; i++)
		if (v[i].resp != NULL) {
			explicit_bzero(v[i].resp, strlen(v[i].resp));
			free(v[i].resp);
		}
	free(v);
}

/* A prompt without echo asks for the password, one with echo for the name; what PAM tells the
 * user has nobody to read it. */
static int
converse(int n, const struct pam_message **msg, struct pam_response **out, void *arg)
{
	const struct answer *a = arg;
	struct pam_response *v;

	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	v = calloc((size_t)n, sizeof *v);
	if (v == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < n; i++) {
		const char *say = NULL;

		switch (msg[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF: say = a->password; break;
		case PAM_PROMPT_ECHO_ON: say = a->user; break;
		case PAM_ERROR_MSG: case PAM_TEXT_INFO: continue;
		default:
			responses_free(v, n);
			return PAM_CONV_ERR;
		}
		if ((v[i].resp = strdup(say)) == NULL) {
			responses_free(v, n);
			return PAM_BUF_ERR;
		}
	}
	*out = v;
	return PAM_SUCCESS;
}

int
pam_meaning(int result)
{
	switch (result) {
	case PAM_SUCCESS:
		return 0;
	/* it knows, and the answer is no */
	case PAM_AUTH_ERR: case PAM_USER_UNKNOWN: case PAM_PERM_DENIED: case PAM_MAXTRIES:
	case PAM_ACCT_EXPIRED: case PAM_NEW_AUTHTOK_REQD: case PAM_AUTHTOK_EXPIRED:
	case PAM_CRED_EXPIRED: case PAM_CRED_INSUFFICIENT:
		return PH_EPERM;
	/* a directory that is down, a module that is missing, no memory */
	default:
		return PH_EIO;
	}
}

/* Delays after a wrong password are the core's: PAM would spend them sleeping in a thread. */
#ifdef PAM_FAIL_DELAY
static void
no_delay(int result, unsigned usec, void *arg)
{
	(void)result;
	(void)usec;
	(void)arg;
}
#endif

int
pam_ask(const char *service, const char *user, const char *password, char why[PAM_WHY])
{
	struct answer a = { user, password };
	struct pam_conv conv = { converse, &a };
	pam_handle_t *h = NULL;
	const char *phase = "";
	int result = pam_start(service, user, &conv, &h);

	why[0] = '\0';
	if (result != PAM_SUCCESS) {
		(void)snprintf(why, PAM_WHY, "PAM cannot be started for service %s", service);
		return PH_EIO;
	}
#ifdef PAM_FAIL_DELAY
	{
		void (*delay)(int, unsigned, void *) = no_delay;
		void *item;

		memcpy(&item, &delay, sizeof item);     /* a function in a void *, as PAM wants it */
		(void)pam_set_item(h, PAM_FAIL_DELAY, item);
	}
#endif
	(void)pam_set_item(h, PAM_TTY, "smtp");         /* some modules want one */
	result = pam_authenticate(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (result == PAM_SUCCESS) {
		phase = "account: ";
		result = pam_acct_mgmt(h, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	}
	if (result != PAM_SUCCESS && (phase[0] != '\0' ||
	    (result != PAM_AUTH_ERR && result != PAM_USER_UNKNOWN)))
		(void)snprintf(why, PAM_WHY, "%s%s", phase, pam_strerror(h, result));
	(void)pam_end(h, result);
	return pam_meaning(result);
}
