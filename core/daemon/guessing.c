/*
 * guessing.c - a table of who failed how often and when, eight entries to a
 * cache line.  An entry is one word: 32 bits of the key's hash, 24 bits of
 * seconds, 8 bits of count, changed by compare-and-swap.
 *
 * Where a line is full, what was forgotten goes first, then who failed
 * least: a flood of names that were tried once does not wash out those that
 * were tried often.  The hash is seeded, so nobody outside can aim at a line.
 */
#include "daemon/guessing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

enum {
	LINES = 2048, WAYS = 8,         /* 128 KiB, 16,384 entries */
	FORGET_S = 600,
	FIRST_MS = 1000, LONGEST_MS = 30 * 1000,
	USER_MAX = 255, COUNT_MAX = 255,
	TRIES = 4,                      /* of a swap that others got in front of */
	SECONDS_MASK = 0xFFFFFF,
};

struct guessing {
	uint64_t seed;
	_Atomic uint64_t v[LINES][WAYS];
};

struct guessing *
guessing_new(void)
{
	struct guessing *g = mem_new(struct guessing);

	id_random(&g->seed, sizeof g->seed);
	return g;
}

void
guessing_free(struct guessing **g)
{
	free(*g);
	*g = NULL;
}

/* --- keys --- */

/* A household of IPv6 has a /64 to choose addresses from. */
static uint64_t
key_of_addr(const struct guessing *g, const struct ph_addr *a)
{
	uint8_t key[18] = { 'a', a->family };

	memcpy(key + 2, a->ip, a->family == 6 ? 8 : 4);
	return codec_checksum(key, sizeof key, g->seed);
}

static uint64_t
key_of_user(const struct guessing *g, struct ph_str user)
{
	char key[USER_MAX + 1] = { 'u' };

	user = str_head(user, USER_MAX);
	for (size_t i = 0; i < user.n; i++) {
		char c = user.p[i];

		key[i + 1] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	return codec_checksum(key, user.n + 1, g->seed);
}

/* --- entries --- */

static uint64_t
entry_make(uint64_t key, uint32_t seconds, unsigned count)
{
	/* the tag is never 0, so that a word of 0 is no entry */
	return (key >> 32 | 1) << 32 | (uint64_t)(seconds & SECONDS_MASK) << 8 | count;
}

static bool
entry_is(uint64_t e, uint64_t key)
{
	return e >> 32 == (key >> 32 | 1);
}

static unsigned
entry_count(uint64_t e, uint32_t seconds)
{
	uint32_t age = (seconds - (uint32_t)(e >> 8)) & SECONDS_MASK;

	/* another worker's clock may be a moment ahead: an age just below the turn */
	return e == 0 || (age > FORGET_S && age < SECONDS_MASK - FORGET_S) ? 0 : (unsigned)(e & 0xFF);
}

/* The entry of a key, or the one to give up for it. */
static _Atomic uint64_t *
entry_find(struct guessing *g, uint64_t key, uint32_t seconds, uint64_t *out)
{
	_Atomic uint64_t *line = g->v[key % LINES], *least = &line[0];
	unsigned fewest = COUNT_MAX + 1;

	for (size_t i = 0; i < WAYS; i++) {
		uint64_t e = atomic_load_explicit(&line[i], memory_order_relaxed);

		if (e != 0 && entry_is(e, key)) {
			*out = e;
			return &line[i];
		}
		if (entry_count(e, seconds) < fewest) {
			fewest = entry_count(e, seconds);
			least = &line[i];
			*out = e;
		}
	}
	return least;
}

static unsigned
count_more(struct guessing *g, uint64_t key, uint32_t seconds)
{
	unsigned count = 1;

	for (int i = 0; i < TRIES; i++) {
		uint64_t was, fresh;
		_Atomic uint64_t *at = entry_find(g, key, seconds, &was);

		count = entry_is(was, key) ? entry_count(was, seconds) + 1 : 1;
		if (count > COUNT_MAX)
			count = COUNT_MAX;
		fresh = entry_make(key, seconds, count);
		if (atomic_compare_exchange_strong_explicit(at, &was, fresh, memory_order_relaxed,
		    memory_order_relaxed))
			break;
	}
	return count;
}

static int64_t
delay_of(unsigned count)
{
	int64_t ms = FIRST_MS;

	if (count == 0)
		return 0;
	while (--count > 0 && ms < LONGEST_MS)
		ms *= 2;
	return ms < LONGEST_MS ? ms : LONGEST_MS;
}

int64_t
guessing_failed(struct guessing *g, const struct ph_addr *client, struct ph_str user, int64_t now)
{
	uint32_t seconds = (uint32_t)(now / 1000);
	unsigned by_addr = count_more(g, key_of_addr(g, client), seconds), by_user = 0;

	if (user.n > 0)
		by_user = count_more(g, key_of_user(g, user), seconds);
	return delay_of(by_addr > by_user ? by_addr : by_user);
}

int64_t
guessing_passed(struct guessing *g, const struct ph_addr *client, int64_t now)
{
	uint32_t seconds = (uint32_t)(now / 1000);
	uint64_t key = key_of_addr(g, client), was;
	_Atomic uint64_t *at = entry_find(g, key, seconds, &was);

	if (was == 0 || !entry_is(was, key))
		return 0;
	/* Somebody fails there at this moment: that stays counted. */
	(void)atomic_compare_exchange_strong_explicit(at, &(uint64_t){ was }, 0,
	    memory_order_relaxed, memory_order_relaxed);
	return delay_of(entry_count(was, seconds));
}
