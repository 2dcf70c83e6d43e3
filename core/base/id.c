/*
 * id.c - random bytes and message ids.
 *
 * An id's upper half is one atomic counter that is never behind the clock:
 * more than 65,536 ids in a millisecond run into the next one's numbers,
 * which stay unique because the counter never goes back, even when the
 * clock does.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/abort.h"
#include "base/clock.h"
#include "base/id.h"

#define LO_UNUSED_BITS 28       /* 128 - 100 */

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

static void
real_random(void *p, size_t n)
{
	char *at = p;

	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0) {
			if (errno != EINTR)
				ph_abort("getrandom: %s", strerror(errno));
			continue;
		}
		at += got;
		n -= (size_t)got;
	}
}

static void (*fill_random)(void *p, size_t n) = real_random;
static _Atomic uint64_t last_hi;
static _Atomic uint64_t process_lo;     /* 0: not drawn yet */

void
id_use_random(void (*fill)(void *p, size_t n))
{
	fill_random = fill != NULL ? fill : real_random;
	atomic_store(&process_lo, 0);
	atomic_store(&last_hi, 0);
}

void
id_random(void *p, size_t n)
{
	fill_random(p, n);
}

static uint64_t
own_lo(void)
{
	uint64_t lo = atomic_load_explicit(&process_lo, memory_order_relaxed), drawn = 0;

	if (lo != 0)
		return lo;
	fill_random(&drawn, sizeof drawn);
	drawn = drawn >> LO_UNUSED_BITS << LO_UNUSED_BITS;
	if (drawn == 0)
		drawn = UINT64_C(1) << LO_UNUSED_BITS;
	/* the first thread's draw counts */
	if (!atomic_compare_exchange_strong(&process_lo, &lo, drawn))
		return lo;
	return drawn;
}

struct ph_msgid
id_new(void)
{
	uint64_t now = (uint64_t)clock_wall_ms() << 16;
	uint64_t last = atomic_load_explicit(&last_hi, memory_order_relaxed), next;

	do {
		next = now > last ? now : last + 1;
	} while (!atomic_compare_exchange_weak_explicit(&last_hi, &last, next,
	    memory_order_relaxed, memory_order_relaxed));
	return (struct ph_msgid){ next, own_lo() };
}

const char *
id_text(struct ph_msgid id, char out[PH_MSGID_TEXT])
{
	uint64_t hi = id.hi, lo = id.lo;

	for (int i = 0; i < PH_MSGID_TEXT - 1; i++) {
		out[i] = digits[hi >> 59];
		hi = hi << 5 | lo >> 59;
		lo <<= 5;
	}
	out[PH_MSGID_TEXT - 1] = '\0';
	return out;
}

int
id_parse(struct ph_str text, struct ph_msgid *out)
{
	uint64_t hi = 0, lo = 0;

	if (text.n != PH_MSGID_TEXT - 1)
		return PH_EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		unsigned c = (unsigned char)text.p[i], v;

		if (c >= '0' && c <= '9')
			v = c - '0';
		else if (c >= 'A' && c <= 'V')
			v = c - 'A' + 10;
		else if (c >= 'a' && c <= 'v')
			v = c - 'a' + 10;
		else
			return PH_EINVAL;
		hi = hi << 5 | lo >> 59;
		lo = lo << 5 | v;
	}
	/* 100 bits were shifted in; they belong at the top */
	out->hi = hi << LO_UNUSED_BITS | lo >> (64 - LO_UNUSED_BITS);
	out->lo = lo << LO_UNUSED_BITS;
	return 0;
}
