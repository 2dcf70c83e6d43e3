/*
 * fuzz_server.c - a whole session of anything: the outcome does not depend on
 * how the bytes were split or how late questions were answered, and nothing is
 * stored that had no proper end.  First byte: options; second: the split.
 */
#include "../unit/server_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned
count(struct ph_str in, const char *what)
{
	size_t len = strlen(what);
	unsigned n = 0;

	for (size_t i = 0; i + len <= in.n; i++)
		n += str_istarts(str_skip(in, i), what);
	return n;
}

static void
session(struct driver *d, const struct smtp_server_config *cfg, struct ph_str in, size_t piece,
        bool later)
{
	driver_init(d, cfg);
	if (cfg->offer_auth)
		d->s.mechanisms = STR("PLAIN LOGIN");
	d->later = later;
	driver_run(d);
	driver_feed(d, in, piece);
	ph_assert(d->waiting == SMTP_RQ_NONE);
	ph_assert(d->asked[PH_HOOK_CONNECT] == 1);
	ph_assert(d->asked[PH_HOOK_MESSAGE] >= d->stored);
	ph_assert(d->asked[PH_HOOK_HEADER] >= d->stored);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_server_config cfg = driver_defaults;
	struct driver a, b, c;
	struct ph_str in;

	if (size < 2 || size > 16384)
		return 0;
	cfg.accept_bare_newline = data[0] & 1;
	cfg.offer_auth = data[0] & 2;
	cfg.offer_chunking = !(data[0] & 4);
	cfg.max_errors = data[0] & 8 ? 3 : 0;
	cfg.max_line = data[0] & 16 ? 40 : 512;
	cfg.max_message_size = data[0] & 32 ? 50 : 0;
	in = str_make((const char *)data + 2, size - 2);
	if (memchr(in.p, TLS_POINT, in.n) != NULL)
		return 0;
	session(&a, &cfg, in, 0, false);
	session(&b, &cfg, in, 1 + data[1] % 9, false);
	session(&c, &cfg, in, 1, true);
	ph_assert(str_eq(buf_view(&a.log), buf_view(&b.log)));
	ph_assert(str_eq(buf_view(&a.log), buf_view(&c.log)));
	ph_assert(a.s.state == b.s.state && a.s.state == c.s.state);
	ph_assert(a.stored <= count(in, "\n.\r\n") + count(in, "LAST"));
	driver_free(&a);
	driver_free(&b);
	driver_free(&c);
	return 0;
}
