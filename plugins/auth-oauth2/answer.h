/*
 * answer.h - what a token endpoint answers (RFC 6749 5.1, 5.2), what a device
 * endpoint answers (RFC 8628 3.2), and what each error means for people.
 */
#ifndef OAUTH_ANSWER_H
#define OAUTH_ANSWER_H

#include "text.h"

/* base64 of a message with this token is still an AUTH line (RFC 4954 4: 12288 octets). */
enum { OAUTH_TOKEN_MOST = 8192 };

enum oauth_fault {
	OAUTH_FINE,
	OAUTH_DOWN,             /* not reached, 5xx, 429, rubbish: may pass by itself */
	OAUTH_REFUSED,          /* somebody has to do something */
	OAUTH_PENDING,          /* device flow: not yet */
	OAUTH_SLOW_DOWN,        /* device flow: not yet, and ask less often */
};

struct oauth_answer {
	enum oauth_fault fault;
	char *access_token, *refresh_token;     /* owned; NULL when there is none */
	int64_t expires_s;
	char error[64];                 /* "invalid_grant" */
	char why[480];                  /* in words, with what to do; never a secret */
	int64_t retry_after_s;
};

/* status and bytes as received; any bytes.  Fills *a, which oauth_answer_done empties. */
void oauth_answer_parse(int status, struct ph_str body, struct oauth_answer *a);
void oauth_answer_done(struct oauth_answer *a);

struct oauth_device {
	char *device_code;              /* secret */
	char user_code[64], uri[256], complete[384];    /* complete: with the code in it; may be "" */
	int64_t interval_s, expires_s;
	char why[480];
};
/* 0 or PH_EPROTO with why. */
int  oauth_device_parse(int status, struct ph_str body, struct oauth_device *d);
void oauth_device_done(struct oauth_device *d);

/* b64token of RFC 6750 2.1, not longer than OAUTH_TOKEN_MOST */
bool oauth_token_valid(struct ph_str token);

/* Makes jansson wipe what it frees; once, before it is used. */
void oauth_json_wipes(void);

#endif
