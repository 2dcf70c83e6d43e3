/*
 * fuzz_command.c - one command line in any state of the server: exactly one
 * well-formed reply, a legal state after it, nothing stored.  First byte: the
 * state and the options.
 */
#include "../unit/server_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const before[] = {
		"", "EHLO x\r\n", "EHLO x\r\nMAIL FROM:<a@b> SMTPUTF8\r\n",
		"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
		"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nx",
	};
	struct smtp_server_config cfg = driver_defaults;
	struct driver d;
	struct ph_str line;
	struct arena *arena;

	if (size == 0 || size > 4096)
		return 0;
	cfg.offer_auth = data[0] & 8;
	cfg.offer_dsn = cfg.offer_chunking = !(data[0] & 16);
	cfg.accept_bare_newline = data[0] & 32;
	line = str_make((const char *)data + 1, size - 1);
	if (memchr(line.p, '\n', line.n) != NULL || memchr(line.p, TLS_POINT, line.n) != NULL)
		return 0;
	driver_init(&d, &cfg);
	if (data[0] & 8)
		d.s.mechanisms = STR("PLAIN LOGIN");
	driver_run(&d);
	driver_feed(&d, str_of(before[(data[0] & 7) % 5]), 0);
	if (d.s.state == SMTP_CHUNK) {          /* BDAT is off */
		driver_free(&d);
		return 0;
	}
	buf_clear(&d.log);
	driver_feed(&d, line, data[0] & 64 ? 3 : 0);
	driver_feed(&d, STR("\r\n"), 0);
	ph_assert(d.stored <= (str_istarts(line, "BDAT") ? 1 : 0));
	ph_assert(d.log.len != 0 || d.s.state == SMTP_CHUNK);
	ph_assert(d.s.state < SMTP_STATES && d.s.state != SMTP_GREET);
	ph_assert(d.waiting == SMTP_RQ_NONE);
	arena = &d.arena;
	ph_assert(arena->total < 65536);
	driver_free(&d);
	return 0;
}
