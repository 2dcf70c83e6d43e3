/*
 * sessions.c - outbound sessions to take up again: a second connection to a host costs a
 * fraction of the first.
 *
 * One store for each site and worker, of fixed size; the oldest makes room.  A session is
 * taken up only for the same host name under the same policy, so that one that was never
 * verified cannot pass for one that was.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/err.h>

#include "tls.h"

enum { SESSIONS = 32 };

struct entry { char *name; enum ph_tls_policy policy; SSL_SESSION *session; };
struct tls_sessions { struct entry v[SESSIONS]; size_t next; };

static void
entry_done(struct entry *e)
{
	free(e->name);
	SSL_SESSION_free(e->session);
	*e = (struct entry){ 0 };
}

struct tls_sessions *
tls_sessions_new(void)
{
	return calloc(1, sizeof(struct tls_sessions));
}

void
tls_sessions_free(struct tls_sessions **sp)
{
	struct tls_sessions *s = *sp;

	*sp = NULL;
	for (size_t i = 0; s != NULL && i < SESSIONS; i++)
		entry_done(&s->v[i]);
	free(s);
}

/* The certificate that was verified then must be valid now, too. */
static bool
usable(const SSL_SESSION *session)
{
	const X509 *peer = SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session);
	long made = SSL_SESSION_get_time(session), lives = SSL_SESSION_get_timeout(session);

	return SSL_SESSION_is_resumable(session) && made + lives > (long)time(NULL) &&
	       (peer == NULL || X509_cmp_current_time(X509_get0_notAfter(peer)) > 0);
}

void
tls_sessions_offer(struct tls_sessions *s, SSL *ssl, const char *name, enum ph_tls_policy p)
{
	for (size_t i = 0; i < SESSIONS; i++) {
		struct entry *e = &s->v[(s->next + SESSIONS - 1 - i) % SESSIONS];       /* newest first */

		if (e->session == NULL || e->policy != p || strcmp(e->name, name) != 0)
			continue;
		if (!usable(e->session)) {
			entry_done(e);
			continue;
		}
		(void)SSL_set_session(ssl, e->session); /* refused: a full handshake */
		ERR_clear_error();
		/* RFC 8446 C.4: a ticket used twice lets an observer link the connections. */
		if (SSL_SESSION_get_protocol_version(e->session) >= TLS1_3_VERSION)
			entry_done(e);
		return;
	}
}

/* 1: the session is ours now. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_layer *y = tls_layer_of(ssl);
	struct tls_sessions *s = y->site != NULL ? tls_site_sessions(y->site) : NULL;
	struct entry *e;
	char *name;

	if (s == NULL || y->name == NULL || (name = strdup(y->name)) == NULL)
		return 0;
	e = &s->v[s->next];
	s->next = (s->next + 1) % SESSIONS;
	entry_done(e);
	*e = (struct entry){ name, y->policy, session };
	return 1;
}

void
tls_sessions_keep(SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_set_timeout(ctx, TLS_TICKET_LIFE);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
}
