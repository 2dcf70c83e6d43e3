/* test_envelope.c - stored envelopes and progress come back whole, damaged ones are noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mail/envelope.h"

static void
fill(struct envelope *e, struct arena *arena, uint32_t rcpts)
{
	envelope_init(e, arena);
	assert_int_equal(address_parse(STR("\"o @x\"@sender.example"), arena, &e->from, NULL), 0);
	for (uint32_t i = 0; i < rcpts; i++) {
		struct recipient *r = envelope_add(e);
		char *text = arena_printf(arena, "r%u@rcpt.example", i);

		assert_int_equal(address_parse(str_of(text), arena, &r->to, NULL), 0);
		r->orcpt = i % 2 ? STR("rfc822;x+2By@z") : STR("");
		r->notify = (uint8_t)(i % 8);
	}
	e->body = BODY_BINARYMIME;
	e->smtputf8 = true;
	e->ret = RET_HDRS;
	e->envid = STR("QQ314159");
	e->declared_size = 1ull << 40;
	e->client_addr = STR("192.0.2.7");
	e->client_hello = STR("client.example");
	e->login = STR("");
	e->protocol = STR("ESMTP");
	e->arrived = 1795518000123;
}

static void
same_address(const struct address *a, const struct address *b)
{
	assert_true(str_eq(a->full, b->full));
	assert_true(str_eq(a->local, b->local));
	assert_true(str_eq(a->domain, b->domain));
	assert_int_equal(a->utf8, b->utf8);
	assert_int_equal(a->literal, b->literal);
}

static void
round_trip(void **state)
{
	static const uint32_t counts[] = { 0, 1, 4, 5, 1000 };

	(void)state;
	for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
		struct arena a, b;
		struct envelope e, d;
		struct buf buf = { 0 };

		arena_init(&a, 1024);
		arena_init(&b, 1024);
		fill(&e, &a, counts[k]);
		envelope_encode(&e, &buf);
		assert_int_equal(envelope_decode(buf_view(&buf), &b, &d), 0);
		/* nothing may point into the input */
		memset(buf.data + buf.head, 0xff, buf.len);
		same_address(&e.from, &d.from);
		assert_int_equal(d.nrcpts, counts[k]);
		for (uint32_t i = 0; i < d.nrcpts; i++) {
			same_address(&e.rcpts[i].to, &d.rcpts[i].to);
			assert_true(str_eq(e.rcpts[i].orcpt, d.rcpts[i].orcpt));
			assert_int_equal(e.rcpts[i].notify, d.rcpts[i].notify);
		}
		assert_int_equal(d.body, e.body);
		assert_int_equal(d.smtputf8, e.smtputf8);
		assert_int_equal(d.ret, e.ret);
		assert_true(str_eq(d.envid, e.envid));
		assert_int_equal(d.declared_size, e.declared_size);
		assert_true(str_eq(d.client_addr, e.client_addr));
		assert_true(str_eq(d.client_hello, e.client_hello));
		assert_true(str_eq(d.protocol, e.protocol));
		assert_int_equal(d.arrived, e.arrived);
		buf_free(&buf);
		arena_reset(&a);
		arena_reset(&b);
	}
}

static void
null_sender_and_postmaster(void **state)
{
	struct arena a;
	struct envelope e, d;
	struct buf buf = { 0 };

	(void)state;
	arena_init(&a, 1024);
	envelope_init(&e, &a);
	assert_int_equal(address_parse(STR("Postmaster"), &a, &envelope_add(&e)->to, NULL), 0);
	envelope_encode(&e, &buf);
	assert_int_equal(envelope_decode(buf_view(&buf), &a, &d), 0);
	assert_int_equal(d.from.full.n, 0);
	assert_int_equal(d.from.domain.n, 0);
	assert_true(str_is(d.rcpts[0].to.local, "Postmaster"));
	assert_int_equal(d.rcpts[0].to.domain.n, 0);
	buf_free(&buf);
	arena_reset(&a);
}

static void
damage(void **state)
{
	struct arena a;
	struct envelope e, d;
	struct buf buf = { 0 };
	struct ph_str whole;

	(void)state;
	arena_init(&a, 4096);
	fill(&e, &a, 3);
	envelope_encode(&e, &buf);
	whole = buf_view(&buf);
	for (size_t n = 0; n < whole.n; n++) {
		char *cut = malloc(n + 1);

		memcpy(cut, whole.p, n);
		assert_int_equal(envelope_decode(str_make(cut, n), &a, &d), PH_ECORRUPT);
		free(cut);
	}
	buf_addc(&buf, 'x');
	assert_int_equal(envelope_decode(buf_view(&buf), &a, &d), PH_ECORRUPT);
	buf.len--;
	/* a recipient count that would ask for gigabytes */
	for (size_t i = 0; i + 4 <= buf.len; i++) {
		char keep[4];

		memcpy(keep, buf.data + buf.head + i, 4);
		memset(buf.data + buf.head + i, 0xff, 4);
		(void)envelope_decode(buf_view(&buf), &a, &d);
		assert_true(a.total < 1 << 20);
		memcpy(buf.data + buf.head + i, keep, 4);
	}
	buf.data[buf.head] = 2;         /* a version of the future */
	assert_int_equal(envelope_decode(buf_view(&buf), &a, &d), PH_ECORRUPT);
	buf_free(&buf);
	arena_reset(&a);
}

static void
progress_round_trip(void **state)
{
	struct rcpt_progress v[3] = {
		{ RCPT_DELIVERED, 250, STR("250 2.0.0 Ok"), STR("mx.example") },
		{ RCPT_PENDING, 0, STR(""), STR("") },
		{ RCPT_FAILED, 550, STR("550-5.1.1 no\n550 5.1.1 such user"), STR("mx.example") },
	};
	struct progress p = { v, 3, 1795518000123 }, d;
	struct arena a;
	struct buf buf = { 0 };
	char longtext[2000];

	(void)state;
	arena_init(&a, 1024);
	memset(longtext, 'x', sizeof longtext);
	v[1].reply = str_make(longtext, sizeof longtext);
	progress_encode(&p, &buf);
	assert_int_equal(progress_decode(buf_view(&buf), 3, &a, &d), 0);
	assert_int_equal(d.last_attempt, p.last_attempt);
	assert_int_equal(d.rcpts[0].state, RCPT_DELIVERED);
	assert_int_equal(d.rcpts[0].code, 250);
	assert_true(str_eq(d.rcpts[2].reply, v[2].reply));
	assert_true(str_eq(d.rcpts[2].remote, v[2].remote));
	assert_int_equal(d.rcpts[1].reply.n, 1000);
	assert_int_equal(progress_decode(buf_view(&buf), 2, &a, &d), PH_ECORRUPT);
	assert_int_equal(progress_decode(buf_view(&buf), 4, &a, &d), PH_ECORRUPT);
	for (size_t n = 1; n < buf.len; n++)
		assert_int_equal(progress_decode(str_head(buf_view(&buf), n), 3, &a, &d),
		                 PH_ECORRUPT);
	assert_int_equal(progress_decode(str_make(NULL, 0), 3, &a, &d), 0);
	assert_int_equal(d.nrcpts, 3);
	assert_int_equal(d.rcpts[2].state, RCPT_PENDING);
	buf_free(&buf);
	arena_reset(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(null_sender_and_postmaster),
		cmocka_unit_test(damage),
		cmocka_unit_test(progress_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
