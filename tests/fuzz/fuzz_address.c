/*
 * fuzz_address.c - what a path parses to can be written on another server's
 * command line, and parses to the same there.  First byte: flags.
 */
#include <stdint.h>

#include "base/abort.h"
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct address *a, struct arena *arena)
{
	struct address again;

	for (size_t i = 0; i < a->full.n; i++) {
		uint8_t c = (uint8_t)a->full.p[i];

		ph_assert(c >= 0x20 && c != 0x7f);
		ph_assert(c < 0x80 || a->utf8);
	}
	ph_assert(str_utf8_valid(a->full));
	if (a->full.n == 0)
		return;
	ph_assert(a->local.p == a->full.p && a->local.n > 0);
	if (a->domain.n != 0) {
		ph_assert(a->full.p[a->local.n] == '@');
		ph_assert(a->domain.p + a->domain.n == a->full.p + a->full.n);
		ph_assert(memchr(a->domain.p, '@', a->domain.n) == NULL);
		ph_assert(memchr(a->domain.p, '>', a->domain.n) == NULL);
		ph_assert(memchr(a->domain.p, ' ', a->domain.n) == NULL);
		ph_assert(address_domain_valid(a->domain));
	}
	ph_assert(address_parse(a->full, arena, &again, NULL) == 0);
	ph_assert(str_eq(again.full, a->full) && str_eq(again.local, a->local));
	ph_assert(str_eq(again.domain, a->domain) && again.utf8 == a->utf8 &&
	          again.literal == a->literal);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address a;
	struct arena arena;
	const char *why = NULL;
	struct ph_str in;
	unsigned flags;

	if (size == 0)
		return 0;
	flags = data[0] & 15;
	in = str_make((const char *)data + 1, size - 1);
	arena_init(&arena, 1024);
	int rc = address_parse_path(&in, flags, &arena, &a, &why);
	if (rc == 0) {
		check(&a, &arena);
		ph_assert(in.n == 0 || in.p[0] == ' ' || in.p[0] == '\t');
		ph_assert(in.p + in.n == (const char *)data + size);
		ph_assert(a.full.n != 0 || (flags & ADDRESS_NULL_OK));
		ph_assert(!a.utf8 || (flags & ADDRESS_UTF8_OK));
	} else {
		ph_assert(rc == PH_EINVAL || rc == PH_ENOTSUP);
		ph_assert(why != NULL);
	}
	if (address_parse(str_make((const char *)data + 1, size - 1), &arena, &a, &why) == 0)
		check(&a, &arena);
	(void)address_domain_valid(str_make((const char *)data + 1, size - 1));
	arena_reset(&arena);
	return 0;
}
