/* test_guessing.c - failed logins cost time: how much, for whom, how long, in how much memory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/str.h"
#include "daemon/guessing.h"

static struct ph_addr
v4(uint8_t a, uint8_t b)
{
	return (struct ph_addr){ 4, 1025, { 192, 0, a, b } };
}

static void
it_grows_and_ends(void **state)
{
	static const int64_t want[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000 };
	struct guessing *g = guessing_new();
	struct ph_addr a = v4(2, 1), other = v4(2, 2);

	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
		assert_int_equal(guessing_failed(g, &a, STR(""), 5000000), want[i]);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(guessing_failed(g, &a, STR(""), 5000000), 30000);
	assert_int_equal(guessing_failed(g, &other, STR(""), 5000000), 1000);
	guessing_free(&g);
	assert_null(g);
}

/* The name counts wherever the client is, in whatever case it is written. */
static void
names_count_everywhere(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr a;

	(void)state;
	for (uint8_t i = 0; i < 4; i++) {
		a = v4(3, i);
		assert_int_equal(guessing_failed(g, &a, i & 1 ? STR("Alice") : STR("aLICE"), 1000),
		    1000 << i);
	}
	a = v4(3, 9);
	assert_int_equal(guessing_failed(g, &a, STR("bob"), 1000), 1000);
	/* who has not failed from there waits for nothing: its name is not held against it */
	a = v4(3, 10);
	assert_int_equal(guessing_passed(g, &a, 1000), 0);
	guessing_free(&g);
}

static void
a_success_pays_and_clears(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr a = v4(4, 1);

	(void)state;
	for (int i = 0; i < 3; i++)
		(void)guessing_failed(g, &a, STR("carol"), 1000);
	assert_int_equal(guessing_passed(g, &a, 2000), 4000);
	assert_int_equal(guessing_passed(g, &a, 2000), 0);
	/* the name goes on from where it was, the address does not */
	assert_int_equal(guessing_failed(g, &a, STR("dave"), 3000), 1000);
	assert_int_equal(guessing_failed(g, &a, STR("carol"), 3000), 8000);
	guessing_free(&g);
}

static void
it_forgets(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr a = v4(5, 1);
	int64_t now = 1000;

	(void)state;
	assert_int_equal(guessing_failed(g, &a, STR(""), now), 1000);
	assert_int_equal(guessing_failed(g, &a, STR(""), now += 599000), 2000);
	assert_int_equal(guessing_failed(g, &a, STR(""), now += 601000), 1000);
	assert_int_equal(guessing_failed(g, &a, STR(""), now), 2000);
	assert_int_equal(guessing_passed(g, &a, now += 700000), 0);
	/* a clock of another worker that is a little behind */
	assert_int_equal(guessing_failed(g, &a, STR(""), now), 1000);
	assert_int_equal(guessing_failed(g, &a, STR(""), now - 2000), 2000);
	/* the seconds of an entry go round after half a year */
	assert_int_equal(guessing_failed(g, &a, STR(""), now + ((int64_t)1 << 24) * 1000 / 2), 1000);
	guessing_free(&g);
}

static void
networks_of_ipv6_are_one_client(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr a = { 6, 25, { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1 } };

	(void)state;
	for (uint8_t i = 0; i < 3; i++) {
		a.ip[15] = i;
		assert_int_equal(guessing_failed(g, &a, STR(""), 1000), 1000 << i);
	}
	a.ip[7] = 2;
	assert_int_equal(guessing_failed(g, &a, STR(""), 1000), 1000);
	guessing_free(&g);
}

/* A flood of names tried once: the table does not grow, and who failed often stays in it. */
static void
a_flood_washes_nobody_out(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr bad = v4(6, 1), many = v4(6, 2);

	(void)state;
	for (int i = 0; i < 10; i++)
		(void)guessing_failed(g, &bad, STR("root"), 1000);
	for (int i = 0; i < 200000; i++) {
		char name[32];
		struct ph_str user = { name, (size_t)snprintf(name, sizeof name, "user%d", i) };

		assert_int_equal(guessing_failed(g, &many, user, 1000), i < 5 ? 1000 << i : 30000);
	}
	assert_int_equal(guessing_failed(g, &bad, STR(""), 1000), 30000);
	guessing_free(&g);
}

static void *
fails(void *arg)
{
	struct ph_addr a = v4(7, 1);

	for (int i = 0; i < 20000; i++) {
		struct ph_addr b = v4(8, (uint8_t)i);
		(void)guessing_failed(arg, &a, STR("eve"), 1000 + i);
		(void)guessing_failed(arg, &b, STR(""), 1000 + i);
		(void)guessing_passed(arg, &b, 1000 + i);
	}
	return NULL;
}

static void
workers_share_it(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr a = v4(7, 1);
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, fails, g), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(guessing_failed(g, &a, STR(""), 22000), 30000);
	guessing_free(&g);
}

static void
long_and_odd_names(void **state)
{
	struct guessing *g = guessing_new();
	struct ph_addr a = v4(9, 1), local = { 0 };
	char name[4096];

	(void)state;
	memset(name, 'x', sizeof name);
	assert_int_equal(guessing_failed(g, &a, str_make(name, sizeof name), 1000), 1000);
	a = v4(9, 2);
	name[300] = 'y';        /* beyond what is looked at: the same name */
	assert_int_equal(guessing_failed(g, &a, str_make(name, sizeof name), 1000), 2000);
	a = v4(9, 3);
	assert_int_equal(guessing_failed(g, &a, str_make("\0\xff\n", 3), 1000), 1000);
	assert_int_equal(guessing_failed(g, &local, STR(""), 1000), 1000);
	assert_int_equal(guessing_failed(g, &local, STR(""), 1000), 2000);
	guessing_free(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_grows_and_ends),
		cmocka_unit_test(names_count_everywhere),
		cmocka_unit_test(a_success_pays_and_clears),
		cmocka_unit_test(it_forgets),
		cmocka_unit_test(networks_of_ipv6_are_one_client),
		cmocka_unit_test(a_flood_washes_nobody_out),
		cmocka_unit_test(workers_share_it),
		cmocka_unit_test(long_and_odd_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
