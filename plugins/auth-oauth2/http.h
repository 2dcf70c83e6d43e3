/*
 * http.h - one HTTPS request, made by a thread that may block.
 */
#ifndef OAUTH_HTTP_H
#define OAUTH_HTTP_H

#include "text.h"

struct oauth_http {                     /* how to talk to an endpoint */
	const char *ca_file;            /* NULL: the system's */
	int64_t timeout_ms;             /* for the whole request */
};
struct oauth_reply {
	int status;                     /* of HTTP */
	int64_t retry_after_s;          /* 0: not said */
	struct oauth_text body;         /* bounded */
	char problem[300];              /* when there is no status: why */
};

/* Once, main thread, before the first request.  Undone by oauth_http_end. */
int  oauth_http_begin(void);
void oauth_http_end(void);

/* On a thread that is done with cryptography for now: gives back what OpenSSL keeps per thread,
 * which nobody else would when the thread ends. */
void oauth_thread_done(void);

/* form NULL: GET.  basic_user NULL: no Authorization field.  0 with a status, or PH_EIO with
 * the problem in words.  Blocks until timeout_ms at most.  oauth_reply_done in any case. */
int  oauth_http(const struct oauth_http *how, const char *url, const struct oauth_text *form,
                const char *basic_user, const struct ph_secret *basic_password,
                struct oauth_reply *r);
void oauth_reply_done(struct oauth_reply *r);

/* An URL that secrets may be sent to: https, or http on this machine. */
bool oauth_url_good(const char *url);

#endif
