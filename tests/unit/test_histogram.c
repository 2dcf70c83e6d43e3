/*
 * test_histogram.c - counts, percentiles within 1/64, merging.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "cmd/histogram.h"

static void
an_empty_one_answers_zero(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	assert_int_equal(histogram_percentile(&h, 50), 0);
	assert_int_equal(histogram_percentile(&h, 100), 0);
	assert_true(histogram_mean(&h) == 0);
}

static void
small_values_are_exact(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	for (uint64_t v = 1; v <= 100; v++)
		histogram_add(&h, v);
	assert_int_equal(h.count, 100);
	assert_int_equal(histogram_percentile(&h, 0), 1);
	assert_int_equal(histogram_percentile(&h, 1), 1);
	assert_int_equal(histogram_percentile(&h, 50), 50);
	assert_int_equal(histogram_percentile(&h, 99), 99);
	assert_int_equal(histogram_percentile(&h, 100), 100);
	assert_true(histogram_mean(&h) == 50.5);
}

/* Around each power of two, where buckets change their width. */
static void
every_value_is_found_to_a_64th(void **state)
{
	static const int64_t offsets[] = { -1, 0, 1 };

	(void)state;
	for (unsigned bit = 0; bit < 40; bit++)
		for (size_t i = 0; i < 3; i++) {
			struct histogram h = { 0 };
			uint64_t value = (UINT64_C(1) << bit) + (uint64_t)offsets[i], got;

			if (value >= UINT64_C(1) << 40)
				continue;
			/* a larger one keeps the answer from being cut to the maximum */
			histogram_add(&h, value);
			histogram_add(&h, UINT64_C(1) << 41);
			got = histogram_percentile(&h, 50);
			assert_true(got >= value);
			assert_true(got - value <= value / 64);
		}
}

static void
order_is_kept(void **state)
{
	struct histogram h = { 0 };
	uint64_t last = 0, x = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		histogram_add(&h, x >> (24 + x % 40));
	}
	for (int p = 0; p <= 1000; p++) {
		uint64_t v = histogram_percentile(&h, p / 10.0);

		assert_true(v >= last);
		last = v;
	}
	assert_int_equal(last, h.max);
}

static void
giants_count_and_the_maximum_is_true(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	histogram_add(&h, UINT64_MAX);
	histogram_add(&h, 5);
	assert_int_equal(h.max, UINT64_MAX);
	assert_int_equal(h.min, 5);
	assert_true(histogram_percentile(&h, 100) == UINT64_MAX);
	assert_int_equal(histogram_percentile(&h, 50), 5);
}

static void
merging_is_like_adding_all_to_one(void **state)
{
	struct histogram *parts = calloc(3, sizeof *parts), *one = calloc(1, sizeof *one),
			 *sum = calloc(1, sizeof *sum);

	(void)state;
	for (uint64_t i = 0; i < 9000; i++) {
		histogram_add(&parts[i % 2], i * i);    /* the third stays empty */
		histogram_add(one, i * i);
	}
	for (int i = 0; i < 3; i++)
		histogram_merge(sum, &parts[i]);
	assert_memory_equal(one, sum, sizeof *one);
	free(parts);
	free(one);
	free(sum);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_answers_zero),
		cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(every_value_is_found_to_a_64th),
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(giants_count_and_the_maximum_is_true),
		cmocka_unit_test(merging_is_like_adding_all_to_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
