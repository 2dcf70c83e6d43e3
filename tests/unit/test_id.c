/*
 * test_id.c - ids sort by time, never repeat, and read back from their text;
 * clock and randomness are the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"

static int64_t fake_wall = 1764000000123456;

static int64_t
wall(void)
{
	return fake_wall;
}

static void
ones(void *p, size_t n)
{
	memset(p, 0xFF, n);
}

static void
zeros(void *p, size_t n)
{
	memset(p, 0, n);
}

static void
id_holds_time_and_randomness(void **state)
{
	struct clock c = { wall, wall };
	char text[PH_MSGID_TEXT];
	struct ph_msgid id;

	(void)state;
	clock_use(&c);
	id_use_random(ones);
	id = id_new();
	assert_true(id.hi >> 16 == (uint64_t)fake_wall / 1000);
	assert_true(id.lo == UINT64_MAX >> 28 << 28);
	assert_int_equal(strlen(id_text(id, text)), 20);
	id_use_random(zeros);
	assert_true(id_new().lo != 0);  /* an id of this process is never all zero */
	clock_use(NULL);
	id_use_random(NULL);
}

static void
ids_count_up_when_the_clock_does_not(void **state)
{
	struct clock c = { wall, wall };
	struct ph_msgid last, id;
	char a[PH_MSGID_TEXT], b[PH_MSGID_TEXT];

	(void)state;
	clock_use(&c);
	id_use_random(NULL);
	last = id_new();
	for (int i = 0; i < 200000; i++) {
		if (i == 100000)
			fake_wall -= 60000000;  /* a clock that is set back */
		id = id_new();
		assert_true(id.hi > last.hi);
		assert_true(id.lo == last.lo);
		if (i % 1000 == 0)
			assert_true(strcmp(id_text(last, a), id_text(id, b)) < 0);
		last = id;
	}
	clock_use(NULL);
}

static void
text_reads_back(void **state)
{
	static const struct { uint64_t hi, lo; const char *text; } v[] = {
		{ 0, 0, "00000000000000000000" },
		{ UINT64_MAX, UINT64_MAX >> 28 << 28, "VVVVVVVVVVVVVVVVVVVV" },
		{ UINT64_C(1) << 63, 0, "G0000000000000000000" },
		{ 0, UINT64_C(1) << 28, "00000000000000000001" },
	};
	struct ph_msgid id;
	char text[PH_MSGID_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		assert_string_equal(id_text((struct ph_msgid){ v[i].hi, v[i].lo }, text), v[i].text);
		assert_int_equal(id_parse(str_of(v[i].text), &id), 0);
		assert_true(id.hi == v[i].hi && id.lo == v[i].lo);
	}
	for (uint64_t i = 1; i < 100; i++) {
		struct ph_msgid x = { i * UINT64_C(0x9E3779B97F4A7C15),
			i * UINT64_C(0xD6E8FEB86659FD93) >> 28 << 28 };

		assert_int_equal(id_parse(str_of(id_text(x, text)), &id), 0);
		assert_true(id_eq(id, x));
		for (char *p = text; *p; p++)
			if (*p >= 'A')
				*p += 'a' - 'A';
		assert_int_equal(id_parse(str_of(text), &id), 0);
		assert_true(id_eq(id, x));
	}
}

static void
other_text_is_refused(void **state)
{
	static const char *const v[] = {
		"", "0", "0000000000000000000", "000000000000000000000", "0000000000000000000W",
		"0000000000 000000000", "0000000000-000000000", "../../../../../etc/p",
	};
	struct ph_msgid id = { 5, 6 };

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		if (id_parse(str_of(v[i]), &id) != PH_EINVAL)
			fail_msg("\"%s\" was taken", v[i]);
	assert_true(id.hi == 5 && id.lo == 6);
}

#define THREADS 4
#define EACH    20000
static struct ph_msgid made[THREADS * EACH];

static void *
make_ids(void *arg)
{
	struct ph_msgid *v = arg;

	for (int i = 0; i < EACH; i++)
		v[i] = id_new();
	return NULL;
}

static int
by_hi(const void *a, const void *b)
{
	const struct ph_msgid *x = a, *y = b;

	return x->hi < y->hi ? -1 : x->hi > y->hi;
}

static void
threads_never_share_an_id(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	id_use_random(NULL);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_ids, &made[i * EACH]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	qsort(made, (size_t)THREADS * EACH, sizeof made[0], by_hi);
	for (int i = 1; i < THREADS * EACH; i++) {
		assert_true(made[i - 1].hi != made[i].hi);
		assert_true(made[i - 1].lo == made[i].lo);
	}
}

static void
clocks_go_forward(void **state)
{
	int64_t a = clock_mono_us();

	(void)state;
	assert_true(clock_mono_us() >= a);
	assert_true(clock_mono_ms() >= a / 1000);
	assert_true(clock_wall_ms() > INT64_C(1700000000000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(id_holds_time_and_randomness),
		cmocka_unit_test(ids_count_up_when_the_clock_does_not),
		cmocka_unit_test(text_reads_back),
		cmocka_unit_test(other_text_is_refused),
		cmocka_unit_test(threads_never_share_an_id),
		cmocka_unit_test(clocks_go_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
