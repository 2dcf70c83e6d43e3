/*
 * fuzz_reply.c - a remote's reply parses the same once it is whole, and any
 * text becomes exactly one reply of ours.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/abort.h"
#include "base/str.h"
#include "mail/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_it(struct ph_str all)
{
	struct remote_reply r, again;
	struct arena arena;
	struct ph_str in = all;
	size_t used;
	int rc;

	arena_init(&arena, 1024);
	rc = reply_parse(&in, &arena, &r);
	used = all.n - in.n;
	ph_assert(rc == 1 || rc == 0 || rc == PH_EPROTO);
	ph_assert(rc == 1 || used == 0);
	if (rc == 1) {
		ph_assert(r.code >= 200 && r.code <= 599 && r.text.n <= 8192);
		for (size_t i = 0; i < r.text.n; i++)
			ph_assert((uint8_t)r.text.p[i] >= 0x20 || r.text.p[i] == '\n' || r.text.p[i] == '\t');
		/* what lies behind does not matter, what is missing does */
		in = str_head(all, used);
		ph_assert(reply_parse(&in, &arena, &again) == 1 && in.n == 0);
		ph_assert(str_eq(again.text, r.text) && again.code == r.code);
		in = str_head(all, used - 1);
		ph_assert(reply_parse(&in, &arena, &again) == 0);
	}
	arena_reset(&arena);
}

static void
write_it(struct ph_str text)
{
	char *words = malloc(text.n + 1);
	struct remote_reply r;
	struct arena arena;
	struct buf out = { 0 };
	struct ph_str in;

	memcpy(words, text.p, text.n);
	words[text.n] = '\0';
	arena_init(&arena, 1024);
	reply_write(&out, PH_R_POLICY, words);
	in = buf_view(&out);
	ph_assert(reply_parse(&in, &arena, &r) == 1 && in.n == 0);
	ph_assert(r.code == 550 && strcmp(r.enhanced, "5.7.1") == 0);
	buf_clear(&out);
	reply_line(&out, PH_R_POLICY, words);
	ph_assert(memchr(out.data + out.head, '\n', out.len) == NULL);
	ph_assert(memchr(out.data + out.head, '\r', out.len) == NULL);
	buf_free(&out);
	arena_reset(&arena);
	free(words);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	read_it(str_make((const char *)data, size));
	write_it(str_make((const char *)data, size));
	return 0;
}
