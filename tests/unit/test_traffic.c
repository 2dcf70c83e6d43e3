/*
 * test_traffic.c - generated messages verify at any split and behind added
 * fields, and nothing changed does; numbers seen are counted right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "cmd/traffic.h"

static void
make(struct buf *out, uint64_t number, size_t size, bool dots)
{
	struct codec_sum *sum = codec_sum_new();
	struct traffic t;
	char head[TRAFFIC_HEAD];

	traffic_init(
	    &t, UINT64_C(0xfedcba9876543210), size, STR("a@example.com"), STR("b@example.net"));
	traffic_head(&t, sum, number, head);
	assert_int_equal(t.size, size);
	buf_add(out, head, t.head_size);
	buf_addstr(out, buf_view(dots ? &t.stuffed : &t.rest));
	traffic_done(&t);
	codec_sum_free(&sum);
}

static enum traffic_verdict
check(struct traffic_check *c, struct ph_str bytes, size_t step)
{
	traffic_check_start(c);
	while (bytes.n > 0) {
		size_t n = bytes.n < step ? bytes.n : step;

		traffic_check_feed(c, str_head(bytes, n));
		bytes = str_skip(bytes, n);
	}
	return traffic_check_end(c);
}

static void
messages_verify_at_any_split(void **state)
{
	static const size_t sizes[] = { TRAFFIC_MIN_SIZE, 513, 514, 585, 586, 587, 588, 4096,
		70001 };
	static const size_t steps[] = { 1, 2, 7, 79, 80, 81, 4096, SIZE_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
			struct traffic_check c = { 0 };
			struct buf m = { 0 };

			make(&m, 1234567890, sizes[i], false);
			assert_int_equal(m.len, sizes[i]);
			assert_memory_equal(m.data + m.head + m.len - 2, "\r\n", 2);
			assert_int_equal(check(&c, buf_view(&m), steps[k]), TRAFFIC_GOOD);
			assert_true(c.run == UINT64_C(0xfedcba9876543210));
			assert_int_equal(c.number, 1234567890);
			traffic_check_done(&c);
			buf_free(&m);
		}
}

static void
fields_on_top_are_no_change(void **state)
{
	struct traffic_check c = { 0 };
	struct buf m = { 0 };

	(void)state;
	buf_adds(&m,
	    "Received: from a (b [192.0.2.1])\r\n\tby c with ESMTP id X-Posthouse-Check: x;\r\n"
	    "X-Posthouse-Check: no\r\nReceived: by a name that is quite long, so that its line "
	    "does not fit in what is kept of it\r\n");
	make(&m, 7, 4096, false);
	assert_int_equal(check(&c, buf_view(&m), 1), TRAFFIC_GOOD);
	assert_int_equal(check(&c, buf_view(&m), 1000), TRAFFIC_GOOD);
	traffic_check_done(&c);
	buf_free(&m);
}

static void
every_changed_octet_shows(void **state)
{
	struct traffic_check c = { 0 };
	struct buf m = { 0 };
	char *p;

	(void)state;
	make(&m, 0, 1024, false);
	p = m.data + m.head;
	for (size_t i = 0; i < m.len; i++) {
		p[i] ^= 1;
		assert_int_not_equal(check(&c, buf_view(&m), 100), TRAFFIC_GOOD);
		p[i] ^= 1;
	}
	assert_int_equal(check(&c, str_head(buf_view(&m), m.len - 1), 100), TRAFFIC_CHANGED);
	buf_adds(&m, "\r\n");
	assert_int_equal(check(&c, buf_view(&m), 100), TRAFFIC_CHANGED);
	traffic_check_done(&c);
	buf_free(&m);
}

static void
other_mail_is_foreign(void **state)
{
	static const char *const texts[] = {
		"",
		"\r\n",
		"Subject: x\r\n\r\nbody\r\n",
		"no header\r\n",
		"X-Posthouse-Check: \r\n\r\n",
		"X-Posthouse-Check: gggggggggggggggg-0000000001 0000000001 "
		"0000000000000000\r\n\r\n",
		"X-Posthouse-Check: 0000000000000000-00000000-1 0000000001 "
		"0000000000000000\r\n\r\n",
		/* a field of the body is none */
		"Subject: x\r\n\r\nX-Posthouse-Check: 0000000000000000-0000000001 0000000000 "
		"0000000000000000\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct traffic_check c = { 0 };

		assert_int_equal(check(&c, str_of(texts[i]), 3), TRAFFIC_FOREIGN);
		traffic_check_done(&c);
	}
}

static void
dots_are_doubled_at_line_starts_only(void **state)
{
	struct buf plain = { 0 }, dots = { 0 }, undone = { 0 };
	size_t doubled = 0;

	(void)state;
	make(&plain, 5, 8192, false);
	make(&dots, 5, 8192, true);
	for (size_t i = 0; i < dots.len; i++) {
		const char *p = dots.data + dots.head + i;

		if (*p == '.' && i > 0 && p[-1] == '\n') {
			doubled++;
			assert_int_equal(p[1], '.');
			continue;
		}
		buf_addc(&undone, *p);
	}
	assert_true(doubled >= 4);
	assert_int_equal(undone.len, plain.len);
	/* the date may differ by a second: what is made at once is compared */
	assert_memory_equal(undone.data + undone.len - 4096, plain.data + plain.len - 4096, 4096);
	buf_free(&plain);
	buf_free(&dots);
	buf_free(&undone);
}

static void
seen_numbers_are_counted(void **state)
{
	struct traffic_seen a = { 0 }, b = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 200000; i += 2)
		assert_true(traffic_seen_add(&a, 1, i));
	assert_false(traffic_seen_add(&a, 1, 100));
	assert_int_equal(traffic_seen_distinct(&a), 100000);
	assert_int_equal(traffic_seen_duplicates(&a), 1);
	assert_int_equal(traffic_seen_missing(&a), 99999);
	for (uint64_t i = 1; i < 200000; i += 2)
		assert_true(traffic_seen_add(&b, 1, i));
	assert_true(
	    traffic_seen_add(&b, 1, 100)); /* not of its own: a duplicate only when merged */
	assert_true(traffic_seen_add(&b, 2, 3));
	traffic_seen_merge(&a, &b);
	assert_int_equal(traffic_seen_distinct(&a), 200001);
	assert_int_equal(traffic_seen_duplicates(&a), 2);
	assert_int_equal(traffic_seen_missing(&a), 3);
	traffic_seen_free(&a);
	traffic_seen_free(&b);
}

static void
what_is_seen_is_bounded(void **state)
{
	struct traffic_seen s = { 0 };

	(void)state;
	assert_true(traffic_seen_add(&s, 1, UINT64_MAX));
	for (uint64_t run = 0; run < TRAFFIC_RUNS + 5; run++)
		assert_true(traffic_seen_add(&s, run, 0));
	assert_int_equal(s.n, TRAFFIC_RUNS);
	assert_int_equal(s.untracked, 6);
	traffic_seen_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_verify_at_any_split),
		cmocka_unit_test(fields_on_top_are_no_change),
		cmocka_unit_test(every_changed_octet_shows),
		cmocka_unit_test(other_mail_is_foreign),
		cmocka_unit_test(dots_are_doubled_at_line_starts_only),
		cmocka_unit_test(seen_numbers_are_counted),
		cmocka_unit_test(what_is_seen_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
