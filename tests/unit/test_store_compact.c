/*
 * test_store_compact.c - the disk stays bounded, whatever order mail leaves in,
 * and nothing is lost or comes back when power goes while segments are emptied.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../fault/world.h"
#include "store/embedded.h"

#define SEGMENT (64u << 10)

static struct ph_store_facts
facts(void)
{
	struct ph_store_facts f;

	world.store->ops->facts(world.store, &f);
	return f;
}

static uint32_t
up_to(uint32_t n)
{
	return (uint32_t)(fake_random() % n);
}

/* Garbage is at most as much as there is mail, and a few segments. */
static void
assert_bounded(void)
{
	struct ph_store_facts f = facts();

	if (f.bytes_used > 2 * f.bytes_live + 9 * SEGMENT)
		fail_msg("%llu bytes of disk for %llu bytes of mail", (unsigned long long)f.bytes_used,
		    (unsigned long long)f.bytes_live);
}

static void
through(unsigned messages, uint32_t size)
{
	while (messages-- > 0) {
		size_t i = world_append(50, size, false);

		world_settle();
		world_remove(i);
	}
	world_settle();
	world_pass(60);
}

static void
power_cut(void)
{
	world_die();
	fake_power_on();
	world_open();
	world_settle();
	world_check();
}

/* One smart host is dead: its mail stays, scattered, while the rest flows by. */
static void
dead_host(void **state)
{
	uint64_t live;

	(void)state;
	world_start(1, SEGMENT);
	world_open();
	for (int i = 0; i < 60; i++) {
		world_append(50, 2000, i % 20 == 0);
		through(40, 2000);
		if (i % 7 == 0)
			world_progress((size_t)i * 41);
		assert_bounded();
	}
	live = facts().live;
	assert_int_equal(live, 60);
	assert_true(facts().compacted > 5);
	through(2000, 2000);
	assert_bounded();
	assert_int_equal(facts().live, live);
	world_check();
	power_cut();
	assert_int_equal(facts().live, live);
	assert_bounded();
	world_end();
}

/* A dense backlog first: later segments hold hardly more than removals of it. */
static void
backlog_drains(void **state)
{
	(void)state;
	for (int order = 0; order < 3; order++) {
		unsigned left = 600;

		world_start((uint64_t)order + 1, SEGMENT);
		world_open();
		for (int i = 0; i < 600; i++) {
			world_append(50, 1500, false);
			world_settle();
		}
		while (left > 0) {
			size_t i = order == 0 ? 600 - left : order == 1 ? left - 1 : up_to(600);

			while (world.v[i].remove_asked)
				i = (i + 1) % 600;
			world_remove(i);
			if (--left % 10 == 0) {
				through(3, 1000);
				assert_bounded();
			}
			if (left == 300)
				power_cut();
		}
		world_pass(60);
		power_cut();
		assert_int_equal(facts().live, 0);
		through(1, 10);
		assert_true(facts().segments <= 3);
		world_end();
	}
}

static void
progress_only(void **state)
{
	(void)state;
	world_start(3, SEGMENT);
	world_open();
	for (int i = 0; i < 10; i++)
		world_append(50, 500, false);
	world_settle();
	for (int k = 0; k < 3000; k++) {
		world_progress((size_t)k % 10);
		world_pass(60);
	}
	assert_bounded();
	assert_int_equal(facts().live, 10);
	power_cut();
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(world.v[i].sure, 300);
	world_end();
}

static void
restarts(void **state)
{
	(void)state;
	world_start(4, SEGMENT);
	world_open();
	for (int i = 0; i < 100; i++) {
		world_append(50, 1000, false);
		world_settle();
		world_close();
		world_open();
		world_settle();
		assert_bounded();
	}
	world_check();
	assert_int_equal(facts().live, 100);
	world_end();
}

/* Segments with a few that stay, until one is about to be emptied; then power
 * goes at the nth call, what was copied leaves, and much flows by. */
static bool
cut_while_copying(uint64_t seed, long n)
{
	bool cut;

	world_start(seed, SEGMENT);
	world_open();
	for (int s = 0; s < 6; s++)
		for (int i = 0; i < 14; i++) {
			size_t k = world_append(20, 3900, false);

			world_settle();
			if (i % 3 != 0)
				world_remove(k);
			else if (i % 2 == 0)
				world_progress(k);
		}
	world_pass(60);
	fake_cut_at(n);
	for (int i = 0; i < 90 && !fake_is_off(); i++) {
		size_t k = world_append(20, 3900, false);

		world_settle();
		if (i % 4 != 0)
			world_remove(k);
	}
	cut = fake_is_off();
	power_cut();
	/* by chance those that were copied or those that were not */
	for (size_t i = 0; i < world.n; i++)
		if (world.v[i].reported && !world.v[i].remove_asked && up_to(3) > 0)
			world_remove(i);
	world_settle();
	world_pass(60);
	through(40, 3900);
	power_cut();
	power_cut();
	world_end();
	return cut;
}

static void
power_goes(void **state)
{
	(void)state;
	for (long n = 1; cut_while_copying((uint64_t)n % 3, n); n++)
		;
}

static struct { size_t v[16], n; uint32_t segment; } kept;      /* what is being copied, from where */

static uint32_t
segment_of(size_t i)
{
	struct entry *entry = table_get(&embedded_of(world.store)->table, world.v[i].id);

	return entry != NULL ? entry->segment : 0;
}

/* Segments that keep a few each, until one of them is being emptied; nothing
 * of it was copied yet. */
static void
until_it_copies(uint64_t seed)
{
	uint32_t segment = 0, n = 0;

	world_start(seed, SEGMENT);
	world_open();
	while (embedded_of(world.store)->compaction == NULL) {
		size_t k = world_append(20, 3900, false);

		while (world.v[k].state == W_ASKED)
			(void)world_pump();
		n = segment_of(k) == segment ? n + 1 : 0;
		segment = segment_of(k);
		if (n > 4)
			world_remove(k);
		world.now += 60;
	}
	kept.n = 0;
	kept.segment = compact_source(embedded_of(world.store));
	for (size_t i = 0; i < world.n; i++)
		if (segment_of(i) == kept.segment)
			kept.v[kept.n++] = i;
		else if (world.v[i].state == W_STORED && !world.v[i].remove_asked)
			world_remove(i);        /* or the garbage alone would be a reason to copy */
	assert_in_range(kept.n, 2, 14);
}

/* One turn: a segment full of mail comes, all that came before goes, and so
 * does what was copied by now. */
static void
turn(size_t from, bool copied)
{
	size_t to = world.n;

	for (int i = 0; i < 13; i++)
		world_append(20, 3900, false);
	for (size_t i = from; i < to; i++)
		if (world.v[i].state == W_STORED && !world.v[i].remove_asked)
			world_remove(i);
	for (size_t i = 0; i < kept.n && copied; i++)
		if (!world.v[kept.v[i]].remove_asked && segment_of(kept.v[i]) != kept.segment)
			world_remove(kept.v[i]);
	(void)world_pump();
}

/* What was copied is removed, the segments with copy and removal would be
 * empty; but the old one still stands, and power goes. */
static void
removed_after_copy(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		for (unsigned turns = 1; turns < 9; turns++)
			for (long cut = 1; cut < 8; cut++) {
				size_t from;

				until_it_copies(seed);
				from = world.n;
				for (unsigned t = 0; t < turns; t++)
					turn(from, t > seed % 3);
				fake_cut_at(cut);
				while (!fake_is_off())
					turn(from, true);
				power_cut();
				for (size_t i = from; i < world.n; i++)
					if (world.v[i].reported)
						world_remove(i);
				through(40, 3900);
				power_cut();
				world_end();
			}
}

/* The same, but a sync fails in between: the copying is given up for a while. */
static void
copying_given_up(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		for (unsigned turns = 1; turns < 5; turns++)
			for (long nth = 1; nth < 4; nth++) {
				size_t from;

				until_it_copies(seed);
				from = world.n;
				for (unsigned t = 0; t < turns; t++)
					turn(from, false);
				fake_fail(FAKE_SYNC, nth, 1, EIO);
				for (unsigned t = 0; t < 12; t++)
					turn(from, true);
				power_cut();
				power_cut();
				world_end();
			}
}

/* Recovery reads one segment at a time, mail comes and goes meanwhile. */
static void
removed_while_recovering(void **state)
{
	(void)state;
	for (unsigned turns = 1; turns < 8; turns++) {
		size_t n;

		until_it_copies(turns);
		for (unsigned t = 0; t < turns; t++)
			turn(world.n, false);
		world_die();
		fake_power_on();
		world_open();
		n = world.n;
		while (!world.scanned) {
			(void)world_append(10, 10, false);      /* takes the removals along */
			(void)world_pump();
			for (size_t i = 0; i < n; i++)
				if (world.v[i].reported && !world.v[i].remove_asked)
					world_remove(i);
		}
		world_settle();
		world_check();
		power_cut();
		world_end();
	}
}

/* Readers hold on to what they read. */
static void
read_while_compacting(void **state)
{
	(void)state;
	world_start(6, SEGMENT);
	world_open();
	for (int s = 0; s < 30; s++) {
		for (int i = 0; i < 14; i++) {
			size_t k = world_append(20, 3900, false);

			(void)world_pump();
			world_settle();
			if (i % 7 != 0)
				world_remove(k);
		}
		for (size_t i = 0; i < world.n; i += 7)
			if (!world.v[i].remove_asked)
				assert_int_equal(world_read(i), 0);
	}
	assert_true(facts().compacted > 3);
	world_check();
	world_end();
}

/* A damaged message must not keep its segment from being emptied. */
static void
damaged_while_compacting(void **state)
{
	const char *path;

	(void)state;
	world_start(7, SEGMENT);
	world_open();
	for (int i = 0; i < 14; i++) {
		world_append(20, 3900, false);
		world_settle();
		if (i % 4 != 1)
			world_remove((size_t)i);
	}
	path = fake_first("/spool/seg-");
	fake_flip(path, 8192 + 4048 + 2000);    /* message 1 stays, damaged */
	through(1, 100);
	for (int s = 0; s < 12; s++)
		for (int i = 0; i < 14; i++) {
			size_t k = world_append(20, 3900, false);

			world_settle();
			if (i > 5)
				world_remove(k);
		}
	world_pass(60);
	assert_false(fake_exists("/spool/seg-0000000000000001.log"));
	assert_int_equal(fake_files("/spool/quarantine/"), 1);
	assert_int_equal(world.errors, 1);
	assert_int_equal(world_read(1), PH_ENOENT);
	assert_bounded();
	world.v[1].remove_asked = true;
	power_cut();
	world_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dead_host), cmocka_unit_test(backlog_drains),
		cmocka_unit_test(progress_only), cmocka_unit_test(restarts),
		cmocka_unit_test(power_goes), cmocka_unit_test(removed_after_copy),
		cmocka_unit_test(copying_given_up), cmocka_unit_test(removed_while_recovering),
		cmocka_unit_test(read_while_compacting),
		cmocka_unit_test(damaged_while_compacting),
	};

	cmocka_set_test_filter(getenv("STORE_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
