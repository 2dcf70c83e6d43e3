/*
 * traffic.c - makes messages of a wanted size from one template, and finds
 * and verifies the check field in what arrives.  The check must not trust
 * what it reads: numbers and runs are limited.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/abort.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/traffic.h"
#include "mail/trace.h"

#define CHECK_NAME "X-Posthouse-Check: "
enum {
	NAME_LEN = sizeof CHECK_NAME - 1,
	CHECK_LEN = NAME_LEN + 16 + 1 + 10 + 1 + 10 + 1 + 16 + 2,       /* with CRLF */
	LINE_LEN = 74,
};

/* --- making --- */

/* Run and number seed the hash, so that a changed id shows as well. */
static uint64_t
seed_of(uint64_t run, uint64_t number)
{
	return run ^ number * UINT64_C(0x9E3779B97F4A7C15);
}

static void
put_hex(char *p, uint64_t v)
{
	for (int i = 15; i >= 0; i--, v >>= 4)
		p[i] = "0123456789abcdef"[v & 15];
}

static void
put_decimal(char *p, uint64_t v)
{
	for (int i = 9; i >= 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
}

/* One line of exactly n octets. Some begin with dots, to try transparency. */
static void
add_line(struct buf *b, size_t line, size_t n)
{
	static const char text[] = "the quick brown fox rides post from house to house, ";
	char *p = buf_room(b, n);

	for (size_t i = 0; i + 2 < n; i++)
		p[i] = text[(line * 7 + i) % (sizeof text - 1)];
	if (line % 8 == 3 && n > 4)
		memcpy(p, line % 16 == 3 ? ".." : ".", line % 16 == 3 ? 2 : 1);
	p[n - 2] = '\r';
	p[n - 1] = '\n';
	buf_grew(b, n);
}

static void
add_body(struct buf *b, size_t n)
{
	for (size_t line = 0; n > 0; line++) {
		size_t len = n < LINE_LEN ? n : LINE_LEN;

		if (n - len == 1)       /* a line needs two octets for its end */
			len--;
		add_line(b, line, len);
		n -= len;
	}
}

static void
stuff(struct buf *out, struct ph_str in)
{
	bool at_start = true;

	for (size_t i = 0; i < in.n; i++) {
		if (at_start && in.p[i] == '.')
			buf_addc(out, '.');
		buf_addc(out, in.p[i]);
		at_start = in.p[i] == '\n';
	}
}

void
traffic_init(struct traffic *t, uint64_t run, size_t size, struct ph_str from, struct ph_str to)
{
	char head[TRAFFIC_HEAD];
	struct codec_sum *sum = codec_sum_new();

	ph_assert(size >= TRAFFIC_MIN_SIZE);
	*t = (struct traffic){ .run = run };
	traffic_head(t, sum, 0, head);          /* to learn its size */
	codec_sum_free(&sum);
	t->head_size = (size_t)(strstr(head, ">\r\n") + 3 - head);
	buf_adds(&t->rest, "Date: ");
	trace_date(&t->rest, clock_wall_ms());
	buf_printf(&t->rest,
	    "\r\nFrom: <" STR_FMT ">\r\nTo: <" STR_FMT ">\r\nSubject: posthouse trial\r\n\r\n",
	    STR_ARG(str_head(from, 80)), STR_ARG(str_head(to, 80)));
	t->size = t->head_size + t->rest.len;
	if (size > t->size + 1)
		add_body(&t->rest, size - t->size);
	t->size = t->head_size + t->rest.len;
	stuff(&t->stuffed, buf_view(&t->rest));
}

void
traffic_done(struct traffic *t)
{
	buf_free(&t->rest);
	buf_free(&t->stuffed);
}

void
traffic_head(
    const struct traffic *t, struct codec_sum *sum, uint64_t number, char head[TRAFFIC_HEAD])
{
	static const char id[] =
	    "Message-ID: <rrrrrrrrrrrrrrrr.nnnnnnnnnn@trial.posthouse.invalid>\r\n";
	char *field = head, *rest = head + CHECK_LEN;

	memcpy(rest, id, sizeof id);
	put_hex(rest + 13, t->run);
	put_decimal(rest + 30, number);
	codec_sum_start(sum, seed_of(t->run, number));
	codec_sum_add(sum, rest, sizeof id - 1);
	if (t->rest.len > 0)
		codec_sum_add(sum, t->rest.data + t->rest.head, t->rest.len);

	memcpy(field, CHECK_NAME, NAME_LEN);
	field += NAME_LEN;
	put_hex(field, t->run);
	field[16] = '-';
	put_decimal(field + 17, number);
	field[27] = ' ';
	put_decimal(field + 28, sizeof id - 1 + t->rest.len);
	field[38] = ' ';
	put_hex(field + 39, codec_sum_end(sum));
	field[55] = '\r';
	field[56] = '\n';
}

/* --- verifying --- */

static bool
take_hex(const char *p, uint64_t *out)
{
	*out = 0;
	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef",
			   *at = p[i] != '\0' ? strchr(digits, p[i]) : NULL;

		if (at == NULL)
			return false;
		*out = *out << 4 | (uint64_t)(at - digits);
	}
	return true;
}

static bool
take_decimal(const char *p, uint64_t *out)
{
	return str_u64(str_make(p, 10), out) == 0;
}

/* c->line holds a whole line of CHECK_LEN octets. */
static bool
take_check(struct traffic_check *c)
{
	const char *p = c->line + NAME_LEN;

	return take_hex(p, &c->run) && p[16] == '-' && take_decimal(p + 17, &c->number) &&
	       p[27] == ' ' && take_decimal(p + 28, &c->length) && p[38] == ' ' &&
	       take_hex(p + 39, &c->hash) && p[55] == '\r';
}

void
traffic_check_start(struct traffic_check *c)
{
	c->state = TRAFFIC_IN_LINE;
	c->line_len = 0;
	c->seen = 0;
}

/* The line in c->line has ended (longer ones are cut, and are no check field). */
static void
line_ended(struct traffic_check *c)
{
	bool empty = c->line_len == 2 && c->line[0] == '\r';

	if (empty)
		c->state = TRAFFIC_ABSENT;
	else if (c->line_len == CHECK_LEN && memcmp(c->line, CHECK_NAME, NAME_LEN) == 0 &&
		 take_check(c)) {
		if (c->sum == NULL)
			c->sum = codec_sum_new();
		codec_sum_start(c->sum, seed_of(c->run, c->number));
		c->state = TRAFFIC_HASHING;
	}
	c->line_len = 0;
}

void
traffic_check_feed(struct traffic_check *c, struct ph_str bytes)
{
	while (c->state == TRAFFIC_IN_LINE && bytes.n > 0) {
		const char *lf = memchr(bytes.p, '\n', bytes.n);
		size_t n = lf != NULL ? (size_t)(lf - bytes.p) + 1 : bytes.n;
		size_t room = sizeof c->line - c->line_len;

		memcpy(c->line + c->line_len, bytes.p, n < room ? n : room);
		c->line_len += (unsigned)(n < room ? n : room);
		bytes = str_skip(bytes, n);
		if (lf != NULL)
			line_ended(c);
	}
	if (c->state == TRAFFIC_HASHING && bytes.n > 0) {
		codec_sum_add(c->sum, bytes.p, bytes.n);
		c->seen += bytes.n;
	}
}

enum traffic_verdict
traffic_check_end(struct traffic_check *c)
{
	if (c->state != TRAFFIC_HASHING)
		return TRAFFIC_FOREIGN;
	return c->seen == c->length && codec_sum_end(c->sum) == c->hash ? TRAFFIC_GOOD
									: TRAFFIC_CHANGED;
}

void
traffic_check_done(struct traffic_check *c)
{
	if (c->sum != NULL)
		codec_sum_free(&c->sum);
}

/* --- seen numbers --- */

static struct traffic_run *
find_run(struct traffic_seen *s, uint64_t run)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->runs[i].run == run)
			return &s->runs[i];
	if (s->n == TRAFFIC_RUNS)
		return NULL;
	s->runs[s->n] = (struct traffic_run){ .run = run };
	return &s->runs[s->n++];
}

static void
run_reserve(struct traffic_run *r, uint64_t words)
{
	uint64_t want = r->words == 0 ? 1024 : r->words;

	if (words <= r->words)
		return;
	while (want < words)
		want *= 2;
	r->bits = mem_realloc(r->bits, want * sizeof *r->bits);
	memset(r->bits + r->words, 0, (want - r->words) * sizeof *r->bits);
	r->words = want;
}

bool
traffic_seen_add(struct traffic_seen *s, uint64_t run, uint64_t number)
{
	struct traffic_run *r = number < TRAFFIC_MAX_NUMBER ? find_run(s, run) : NULL;
	uint64_t bit = UINT64_C(1) << (number & 63);

	if (r == NULL) {
		s->untracked++;
		return true;
	}
	run_reserve(r, number / 64 + 1);
	if (number > r->highest)
		r->highest = number;
	if ((r->bits[number / 64] & bit) != 0) {
		r->duplicates++;
		return false;
	}
	r->bits[number / 64] |= bit;
	r->distinct++;
	return true;
}

void
traffic_seen_merge(struct traffic_seen *into, const struct traffic_seen *from)
{
	into->untracked += from->untracked;
	for (unsigned i = 0; i < from->n; i++) {
		const struct traffic_run *f = &from->runs[i];
		struct traffic_run *r = find_run(into, f->run);

		if (r == NULL) {
			into->untracked += f->distinct + f->duplicates;
			continue;
		}
		run_reserve(r, f->words);
		r->duplicates += f->duplicates;
		if (f->highest > r->highest)
			r->highest = f->highest;
		for (uint64_t w = 0; w < f->words; w++) {
			unsigned both = (unsigned)__builtin_popcountll(r->bits[w] & f->bits[w]);

			r->duplicates += both;
			r->distinct += (unsigned)__builtin_popcountll(f->bits[w]) - both;
			r->bits[w] |= f->bits[w];
		}
	}
}

uint64_t
traffic_seen_missing(const struct traffic_seen *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n; i++)
		n += s->runs[i].highest + 1 - s->runs[i].distinct;
	return n;
}

uint64_t
traffic_seen_distinct(const struct traffic_seen *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n; i++)
		n += s->runs[i].distinct;
	return n;
}

uint64_t
traffic_seen_duplicates(const struct traffic_seen *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n; i++)
		n += s->runs[i].duplicates;
	return n;
}

void
traffic_seen_free(struct traffic_seen *s)
{
	for (unsigned i = 0; i < s->n; i++)
		free(s->runs[i].bits);
	*s = (struct traffic_seen){ 0 };
}
