/*
 * bio.c - OpenSSL reads and writes the marks of the pump step that runs: no memory of
 * its own between the two.  Outside a step there is nothing to read and no room.
 */
#include <string.h>

#include "tls.h"

static int
tls_bio_read(BIO *bio, char *to, size_t room, size_t *out)
{
	struct tls_layer *y = BIO_get_data(bio);
	struct ph_secure_io *io = y->io;
	size_t n;

	BIO_clear_retry_flags(bio);
	if (io == NULL || io->cipher_in_len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	n = io->cipher_in_len < room ? io->cipher_in_len : room;
	memcpy(to, io->cipher_in, n);
	io->cipher_in += n;
	io->cipher_in_len -= n;
	*out = n;
	return 1;
}

static int
tls_bio_write(BIO *bio, const char *from, size_t n, size_t *out)
{
	struct tls_layer *y = BIO_get_data(bio);
	struct ph_secure_io *io = y->io;
	size_t room = io != NULL ? io->cipher_out_room - io->cipher_out_len : 0;

	BIO_clear_retry_flags(bio);
	if (room == 0) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (n > room)
		n = room;
	memcpy(io->cipher_out + io->cipher_out_len, from, n);
	io->cipher_out_len += n;
	*out = n;
	return 1;
}

static long
tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int
tls_bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *
tls_bio_method(void)
{
	/* No index of our own: OpenSSL has few, and every reload would take one. */
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "posthouse");

	if (m != NULL && BIO_meth_set_read_ex(m, tls_bio_read) &&
	    BIO_meth_set_write_ex(m, tls_bio_write) && BIO_meth_set_ctrl(m, tls_bio_ctrl) &&
	    BIO_meth_set_create(m, tls_bio_create))
		return m;
	BIO_meth_free(m);
	return NULL;
}

BIO *
tls_bio_new(const struct tls_shared *s, struct tls_layer *y)
{
	BIO *bio = BIO_new(s->bio);

	if (bio != NULL)
		BIO_set_data(bio, y);
	return bio;
}
