/*
 * layer.c - one connection: the handshake, bytes each way, the goodbye.
 *
 * A pump step lets OpenSSL work on the marks it is handed.  Plaintext is sealed only when
 * there is room for the whole records, so OpenSSL never holds half a record of ours and a
 * step has no memory of the one before.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

#include "tls.h"

enum {
	RECORD = 16384,         /* RFC 8446 5.1: the most plaintext in a record */
	OVERHEAD = 512,         /* more than header, padding, MAC and an empty record before take */
};

void
tls_problem(struct tls_layer *y, const char *fmt, ...)
{
	char text[TLS_TEXT];
	va_list ap;

	if (y->problem != NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer one is cut */
	va_end(ap);
	y->problem = strdup(text);
}

int
tls_layer_open(struct tls_worker *tw, struct tls_layer *y, const struct ph_secure_want *want)
{
	BIO *bio;
	int rc;

	ERR_clear_error();
	y->tw = tw;
	y->client = want->side == PH_CLIENT;
	rc = y->client ? tls_client_begin(y, want) : tls_server_begin(y, want);
	if (rc == 0 && y->ssl != NULL) {
		bio = tls_bio_new(tw->cfg->shared, y);
		if (bio != NULL)
			SSL_set_bio(y->ssl, bio, bio);
		else
			rc = PH_ENOMEM;
	}
	if (rc != 0)
		tls_layer_close(y);
	ERR_clear_error();
	return rc;
}

void
tls_layer_close(void *layer)
{
	struct tls_layer *y = layer;

	/* Who goes without a goodbye of its own takes the session along, as far as OpenSSL can
	 * tell; after QUIT the host parts first, and its session is as good as any. */
	if (y->open)
		SSL_set_shutdown(y->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(y->ssl);
	tls_client_end(y);
	tls_material_unref(&y->material);
	tls_words_free(&y->words);
	X509_free(y->refused);
	free(y->problem);
	free(y->name);
	*y = (struct tls_layer){ 0 };
}

/* 1 open, 0 goes on, PH_EPROTO. */
static int
shake(struct tls_layer *y)
{
	struct ph_secure_io *io = y->io;
	int rc;

	if (y->n_first < sizeof y->first) {
		size_t n = sizeof y->first - y->n_first;

		if (n > io->cipher_in_len)
			n = io->cipher_in_len;
		if (n > 0)
			memcpy(y->first + y->n_first, io->cipher_in, n);
		y->n_first += (uint8_t)n;
	}
	rc = SSL_do_handshake(y->ssl);
	if (rc != 1) {
		int why = SSL_get_error(y->ssl, rc);

		if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
			return 0;
		tls_words_handshake(y);
		return PH_EPROTO;
	}
	if (y->client && tls_client_shaken(y) != 0)
		return PH_EPROTO;
	if (!y->client)
		tls_server_shaken(y);
	y->open = true;
	return 1;
}

/* 0, or PH_EPROTO. */
static int
read_plain(struct tls_layer *y)
{
	struct ph_secure_io *io = y->io;

	while (!y->ended && io->plain_out_len < io->plain_out_room) {
		size_t n = 0;
		int rc = SSL_read_ex(y->ssl, io->plain_out + io->plain_out_len,
		    io->plain_out_room - io->plain_out_len, &n);

		if (rc == 1) {
			io->plain_out_len += n;
			continue;
		}
		switch (SSL_get_error(y->ssl, rc)) {
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			return 0;
		case SSL_ERROR_ZERO_RETURN:
			y->ended = true;
			break;
		default:
			tls_words_handshake(y);
			return PH_EPROTO;
		}
	}
	if (y->ended) {         /* close_notify: what follows is not for us */
		io->cipher_in += io->cipher_in_len;
		io->cipher_in_len = 0;
	}
	return 0;
}

static int
write_plain(struct tls_layer *y)
{
	struct ph_secure_io *io = y->io;

	while (io->plain_in_len > 0 && !y->parted) {
		size_t room = io->cipher_out_room - io->cipher_out_len, n = io->plain_in_len, done = 0;

		if (room < OVERHEAD + 1)
			return 0;
		if (room < RECORD + OVERHEAD)
			room -= OVERHEAD;
		else
			room = room / (RECORD + OVERHEAD) * RECORD;
		if (n > room)
			n = room;
		/* With our first bytes, not before: a write of its own would cost more than
		 * making it. */
		if (y->owes_ticket)
			(void)SSL_new_session_ticket(y->ssl);
		y->owes_ticket = false;
		int rc = SSL_write_ex(y->ssl, io->plain_in, n, &done);
		if (rc != 1) {
			int why = SSL_get_error(y->ssl, rc);

			if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
				return 0;
			tls_words_handshake(y);
			return PH_EPROTO;
		}
		io->plain_in += done;
		io->plain_in_len -= done;
	}
	return 0;
}

static int
pump(struct tls_layer *y, enum ph_secure_state *state)
{
	bool was_open = y->open;
	int rc = 0;

	if (y->ssl == NULL)
		return PH_EPROTO;
	if (!was_open && (rc = shake(y)) < 0)
		return rc;
	*state = y->ended ? PH_SECURE_CLOSED : y->open ? PH_SECURE_OPEN : PH_SECURE_HANDSHAKE;
	if (!was_open)
		return 0;       /* the handshake's end is told before there is plaintext */
	if ((rc = read_plain(y)) < 0 || (rc = write_plain(y)) < 0)
		return rc;
	if (y->io->closing && !y->parted) {
		y->parted = true;
		(void)SSL_shutdown(y->ssl);     /* sends close_notify; nobody waits for theirs */
	}
	*state = y->ended ? PH_SECURE_CLOSED : PH_SECURE_OPEN;
	return 0;
}

int
tls_layer_pump(void *layer, struct ph_secure_io *io, enum ph_secure_state *state)
{
	struct tls_layer *y = layer;
	int rc;

	ERR_clear_error();
	y->io = io;
	rc = pump(y, state);
	y->broken = rc < 0;
	y->io = NULL;
	ERR_clear_error();      /* the queue is the thread's: others' errors are not ours, nor ours theirs */
	return rc;
}
