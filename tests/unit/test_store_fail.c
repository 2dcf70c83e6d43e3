/*
 * test_store_fail.c - the disk refuses: failed syncs, no space, errors at every
 * call.  What was answered with an error never comes back as mail, what was
 * acknowledged stays, and the store goes on by itself when the disk does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../fault/world.h"

static uint32_t
up_to(uint32_t n)
{
	return (uint32_t)(fake_random() % n);
}

static void
power_cut(void)
{
	world_die();
	fake_power_on();
	world_open();
	world_settle();
	assert_true(world.scanned);
	world_check();
}

static size_t
append(uint32_t size)
{
	size_t i = world_append(50, size, false);

	world_settle();
	return i;
}

static void
failed_sync(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		size_t before, during, after;

		world_start(seed, 64 << 10);
		world_open();
		before = append(3000);
		fake_fail(FAKE_SYNC, 1, 1, EIO);
		during = append(seed % 2 ? 100 : 5000);
		assert_int_equal(world.v[during].status, PH_EIO);
		/* the same segment is not synced again: this goes into the next */
		assert_int_equal(fake_files("/spool/seg-"), 2);
		after = append(2000);
		assert_int_equal(world.v[after].status, 0);
		assert_true(world.room);
		assert_int_equal(world_read(before), 0);
		if (seed % 3 == 0)
			world_close();  /* a daemon that ends well must not forget it either */
		if (world.store == NULL)
			world_open();
		power_cut();
		assert_true(world.v[before].reported);
		assert_false(world.v[during].reported);
		assert_true(world.v[after].reported);
		/* the bad segment is emptied and leaves, and still nothing comes back */
		power_cut();
		assert_false(world.v[during].reported);
		world_end();
	}
}

/* The note about the bad segment must live as long as that does. */
static void
failed_sync_long_ago(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		size_t i;

		world_start(seed, 64 << 10);
		world_open();
		(void)append(3000);
		(void)append(3000);
		fake_fail(FAKE_SYNC, 1, 1, EIO);
		i = append(100);
		assert_int_equal(world.v[i].status, PH_EIO);
		for (int k = 0; k < 60; k++)
			world_remove(append(3900));
		world_settle();
		world_pass(60);
		assert_true(fake_exists("/spool/seg-0000000000000002.log"));
		power_cut();
		assert_true(world.v[0].reported);
		world_end();
	}
}

/* Not even the next segment can be synced: outcome unknown, no room, and by
 * itself again when the disk is well. */
static void
in_doubt(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		size_t i;

		world_start(seed, 64 << 10);
		world_open();
		(void)append(3000);
		fake_fail(FAKE_SYNC, 1, 1 + (long)(seed % 3), EIO);
		i = append(1000);
		assert_int_equal(world.v[i].status, seed % 3 == 0 ? PH_EIO : PH_EDOUBT);
		assert_int_equal(world.room, seed % 3 == 0);
		if (seed % 3 != 0) {
			size_t k = append(10);  /* not tried at all before the pause is over */

			assert_int_equal(world.v[k].status, PH_EIO);
		}
		world_pass(1000);
		world_pass(1000);
		assert_true(world.room);
		i = append(1000);
		assert_int_equal(world.v[i].status, 0);
		power_cut();
		world_end();
	}
}

static void
lazy_ones_are_tried_again(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		world_start(seed, 64 << 10);
		world_open();
		for (int i = 0; i < 4; i++)
			(void)append(1000);
		world_remove(0);
		world_progress(1);
		world_settle();
		fake_fail(FAKE_SYNC, 1, 1 + (long)(seed % 3), EIO);
		world_pass(60);
		for (int i = 0; i < 4; i++)
			world_pass(1000);
		assert_true(world.v[0].removed);
		assert_int_equal(world.v[1].sure, 1);
		power_cut();
		world_end();
	}
}

/* A full disk: refused in time, deliveries go on, and it opens by itself. */
static void
no_space(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		unsigned refused = 0, stored = 0;

		world_start(seed, 512 << 10);
		fake_space(2 << 20);
		world_open();
		while (refused < 3) {
			size_t i = append(200 + up_to(4000));

			stored += world.v[i].state == W_STORED;
			refused += world.v[i].state == W_REFUSED;
			if (world.v[i].state == W_REFUSED)
				assert_int_equal(world.v[i].status, PH_ENOSPC);
		}
		assert_false(world.room);
		assert_true(stored > 400);
		/* every one can still be deferred and delivered */
		for (size_t i = 0; i < world.n; i++)
			if (world.v[i].state == W_STORED && i % 8 == 0)
				world_progress(i);
		world_settle();         /* they are told at once, and wait from then on */
		world_pass(60);
		for (size_t i = 0; i < world.n; i++)
			if (world.v[i].state == W_STORED && i % 8 == 0)
				assert_int_equal(world.v[i].sure, 1);
		for (size_t i = 0; i < world.n; i++) {
			if (world.v[i].state == W_STORED && i % 20 != 19)
				world_remove(i);
			if (i % 50 == 0)
				world_pass(60);
		}
		for (int k = 0; k < 5; k++)
			world_pass(1000);
		for (size_t i = 0; i < world.n; i++)
			if (world.v[i].remove_asked)
				assert_true(world.v[i].removed);
		assert_true(world.room);
		assert_int_equal(world.v[append(3000)].status, 0);
		power_cut();
		world_end();
	}
}

/* Space ends in the middle of a write: what stands in the file is not mail. */
static void
no_space_in_write(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		size_t i;

		world_start(seed, 64 << 10);
		world_open();
		(void)append(700);
		fake_short_writes(true);
		for (int k = 0; k < 3; k++)
			(void)world_append(30, seed % 3 == 0 ? 1000 : 300 + up_to(3000), false);
		i = world.n - 1;
		fake_fail(FAKE_WRITE, 2, 1, ENOSPC);
		world_settle();
		if (world.v[i].state == W_STORED) {     /* the first write took all */
			world_end();
			continue;
		}
		assert_int_equal(world.v[i].status, PH_ENOSPC);
		assert_int_equal(fake_files("/spool/seg-"), 1);
		fake_short_writes(false);
		if (seed % 3 == 0) {            /* exactly over the first of them */
			(void)world_append(30, 1000, false);
			world_settle();
		} else if (seed % 2 == 0)
			(void)append(100 + up_to(500));
		power_cut();
		world_end();
	}
}

static void
large_fails(void **state)
{
	static const enum fake_call kinds[] = { FAKE_CREATE, FAKE_WRITE, FAKE_SYNC, FAKE_SYNCDIR };

	(void)state;
	for (size_t k = 0; k < 4; k++) {
		size_t i;

		world_start(k + 1, 64 << 10);
		world_open();
		(void)append(10);
		fake_fail(kinds[k], 1, 1, kinds[k] == FAKE_WRITE ? ENOSPC : EIO);
		i = world_append(20, 30000, true);
		world_settle();
		assert_int_equal(world.v[i].status, kinds[k] == FAKE_WRITE ? PH_ENOSPC : PH_EIO);
		assert_int_equal(fake_files("/spool/large/"), 0);
		i = world_append(20, 30000, true);
		world_settle();
		assert_int_equal(world.v[i].status, 0);
		power_cut();
		world_end();
	}
}

static void
some_work(unsigned steps)
{
	while (steps-- > 0) {
		for (unsigned n = up_to(5); n > 0; n--)
			(void)world_append(up_to(100), up_to(5000), up_to(9) == 0);
		world_settle();
		for (size_t i = 0; i < world.n; i++) {
			if (world.v[i].state != W_STORED || !world.v[i].reported || world.v[i].remove_asked)
				continue;
			if (up_to(5) == 0)
				world_remove(i);
			else if (up_to(9) == 0)
				world_progress(i);
		}
		world_pass(up_to(2) == 0 ? 60 : 1000);
	}
}

/* One failure at each call of a workload, or a few of one kind at once. */
static void
each_call(void **state)
{
	static const int errors[] = { EIO, ENOSPC };

	(void)state;
	for (int k = 0; k < 2; k++)
		for (long n = 1; n < 130; n++) {
			world_start((uint64_t)n % 5 + 1, 64 << 10);
			world_open();
			fake_short_writes(n % 2);
			fake_fail_any(n, errors[k]);
			some_work(20);
			world_pass(1000);
			power_cut();
			some_work(4);
			power_cut();
			world_end();
		}
	for (enum fake_call kind = 0; kind < FAKE_READ; kind++)
		for (long n = 1; n < 40; n += 3) {
			world_start((uint64_t)n + 100, 64 << 10);
			world_open();
			some_work(3);
			fake_fail(kind, n, 1 + n % 4, errors[n % 2]);
			some_work(15);
			world_pass(1000);
			power_cut();
			world_end();
		}
}

/* And while it recovers. */
static void
each_call_of_recovery(void **state)
{
	(void)state;
	for (long n = 1; n < 40; n++) {
		world_start((uint64_t)n, 64 << 10);
		world_open();
		some_work(12);
		world_die();
		fake_power_on();
		fake_fail_any(n, EIO);
		world_open();
		world_settle();
		assert_true(world.scanned);
		world_check();
		some_work(5);
		power_cut();
		world_end();
	}
}

static void
reads_fail(void **state)
{
	int rc;

	(void)state;
	world_start(1, 64 << 10);
	world_open();
	(void)append(3000);
	fake_fail(FAKE_READ, 1, 1, EIO);
	rc = world_read(0);
	assert_int_equal(rc, PH_ECORRUPT);
	assert_int_equal(world_read(0), 0);     /* only that once */
	world_end();
}

/* The reserve is about new mail: told before anything fails, taken back with some distance. */
static void
reserve(void **state)
{
	(void)state;
	world_start(1, 64 << 10);
	world.cfg.reserve = 1 << 20;
	fake_space(3 << 20);
	world_open();
	(void)append(10);
	assert_true(world.room);
	fake_space(1 << 20);
	world_pass(1000);
	(void)append(10);
	assert_int_equal(world.v[1].status, 0);
	assert_false(world.room);
	fake_space((1 << 20) + (100 << 10));    /* not yet: it would flap */
	world_pass(1000);
	assert_false(world.room);
	fake_space(2 << 20);
	world_pass(999);
	assert_false(world.room);
	world_pass(1);
	assert_true(world.room);
	world_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failed_sync), cmocka_unit_test(failed_sync_long_ago),
		cmocka_unit_test(in_doubt),
		cmocka_unit_test(lazy_ones_are_tried_again), cmocka_unit_test(no_space),
		cmocka_unit_test(no_space_in_write), cmocka_unit_test(large_fails),
		cmocka_unit_test(each_call), cmocka_unit_test(each_call_of_recovery),
		cmocka_unit_test(reads_fail), cmocka_unit_test(reserve),
	};

	cmocka_set_test_filter(getenv("STORE_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
