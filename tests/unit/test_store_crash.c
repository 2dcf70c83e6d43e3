/*
 * test_store_crash.c - power is cut at every call that changes the disk, in
 * several lives of a random workload; what was acknowledged must be there.
 *
 * STORE_SEEDS (default 12) sets how many workloads are tried, STORE_TEST names one test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../fault/world.h"

static uint32_t
up_to(uint32_t n)
{
	return (uint32_t)(fake_random() % n);
}

static void
append_one(void)
{
	switch (up_to(12)) {
	case 0:
		world_append(up_to(300), 20000 + up_to(20000), true);
		break;
	case 1:
		world_append(up_to(300), up_to(16384), false);
		break;
	default:
		world_append(up_to(300), up_to(3000), false);
	}
}

static bool
touchable(size_t i)
{
	return world.v[i].state == W_STORED && world.v[i].reported && !world.v[i].remove_asked;
}

/* Some steps of everything; keep: how many of ten messages stay for long. */
static void
work(unsigned steps, unsigned keep)
{
	for (unsigned k = 0; k < steps && !fake_is_off(); k++) {
		for (unsigned n = up_to(6); n > 0; n--)
			append_one();
		if (up_to(3) > 0)
			world_settle();
		for (size_t i = 0; i < world.n; i++)
			if (touchable(i) && i % 10 >= keep && up_to(4) == 0)
				world_remove(i);
			else if (touchable(i) && up_to(12) == 0)
				world_progress(i);
		/* and now and then one that was to stay */
		for (unsigned n = up_to(3); n > 0 && world.n > 0; n--) {
			size_t i = up_to((uint32_t)world.n);

			if (touchable(i))
				world_remove(i);
		}
		if (up_to(3) == 0)
			world_pass(60);
		else
			world_settle();
	}
}

/* A backlog that stays while other mail flows by it, so that segments hold removals only. */
static void
backlog(unsigned messages)
{
	while (messages-- > 0 && !fake_is_off()) {
		world_append(100, 1000 + up_to(2000), false);
		world_settle();
	}
}

static void
check_after_cut(void)
{
	world_die();
	fake_power_on();
	world_open();
	world_settle();
	assert_true(world.scanned);
	world_check();
}

/* One workload, cut at its nth changing call in the first life, then at random ones. */
static bool
lives(uint64_t seed, long cut)
{
	bool was_cut;

	world_start(seed, 64 << 10);
	world_open();
	fake_cut_at(cut);
	work(14, seed % 5);
	was_cut = fake_is_off();
	check_after_cut();
	for (int life = 0; life < 2; life++) {
		fake_cut_at(1 + up_to(60));
		work(6, seed % 5);
		check_after_cut();
	}
	world_close();
	world_open();
	world_settle();
	world_check();
	world_end();
	return was_cut;
}

static uint64_t compacted;

/* Long enough that segments are emptied, copied, let go and taken again. */
static void
long_life(uint64_t seed, unsigned lives_left)
{
	struct ph_store_facts f;

	world_start(seed, 64 << 10);
	world_open();
	for (; lives_left > 0; lives_left--) {
		unsigned steps = 40 + up_to(200);

		if (up_to(3) == 0)
			backlog(60);
		if (up_to(4) != 0)
			fake_cut_at(1 + up_to(steps * 6));
		work(steps, up_to(4));
		if (!fake_is_off()) {
			world.store->ops->facts(world.store, &f);
			compacted += f.compacted;
		}
		check_after_cut();
	}
	world_end();
}

/* Everything at once: compaction has no quiet moment, segments fill and empty
 * while it copies, and messages are removed while old segments are still read. */
static void
busy(unsigned steps)
{
	unsigned many = 1 + up_to(16), often = 1 + up_to(5);
	size_t from = world.n;

	for (unsigned k = 0; k < steps && !fake_is_off(); k++) {
		for (unsigned n = up_to(many); n > 0; n--)
			world_append(up_to(100), 1000 + up_to(3500), up_to(20) == 0);
		for (size_t i = 0; i < world.n; i++)
			/* new mail soon, old mail now and then; a few for ever */
			if (touchable(i) && i % 11 != 0 && up_to(i >= from ? often : 40) == 0)
				world_remove(i);
		(void)world_pump();
		world.now += 20;
	}
}

static void
busy_life(uint64_t seed)
{
	world_start(seed, 64 << 10);
	world_open();
	for (int life = 0; life < 6; life++) {
		if (up_to(5) > 0)
			fake_cut_at(1 + up_to(250));
		busy(20 + up_to(80));
		world_die();
		fake_power_on();
		world_open();
		if (up_to(2) == 0)
			busy(1 + up_to(6));     /* while it recovers */
		if (fake_is_off())
			continue;
		world_settle();
		if (world.scanned)
			world_check();
	}
	world_end();
}

static unsigned
seeds(void)
{
	const char *text = getenv("STORE_SEEDS");

	return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 12;
}

static void
every_call(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= seeds(); seed++)
		for (long cut = 1; ; cut++) {
			if (getenv("WORLD_LOG") != NULL)
				fprintf(stderr, "seed %lu cut %ld\n", (unsigned long)seed, cut);
			if (!lives(seed, cut))
				break;
		}
}

static void
long_lives(void **state)
{
	(void)state;
	compacted = 0;
	for (uint64_t seed = 1000; seed < 1000 + 2 * seeds(); seed++)
		long_life(seed, 5);
	assert_true(compacted > 0);
}

static void
busy_lives(void **state)
{
	(void)state;
	for (uint64_t seed = 5000; seed < 5000 + 8 * seeds(); seed++) {
		if (getenv("WORLD_LOG") != NULL)
			fprintf(stderr, "busy %lu\n", (unsigned long)seed);
		busy_life(seed);
	}
}

/* Cut again and again while recovering. */
static void
while_recovering(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 100 + seeds(); seed++) {
		world_start(seed, 64 << 10);
		world_open();
		work(20, 5);
		for (long cut = 1; cut < 25; cut++) {
			world_die();
			fake_power_on();
			fake_cut_at(cut);
			world_open();
			world_settle();
			if (!fake_is_off())
				world_check();
		}
		check_after_cut();
		world_end();
	}
}

/* kill -9 and power cuts in turn: what was only in the cache may go, nothing else. */
static void
killed_and_cut(void **state)
{
	(void)state;
	for (uint64_t seed = 200; seed < 200 + 3 * seeds(); seed++) {
		world_start(seed, 64 << 10);
		world_open();
		for (int life = 0; life < 6; life++) {
			work(1 + up_to(8), seed % 7);
			for (unsigned n = up_to(4); n > 0; n--)
				append_one();
			if (up_to(2) == 0)
				(void)embedded_pump(world.store);
			if (up_to(2) == 0) {
				check_after_cut();
				continue;
			}
			world_kill();
			world_open();
			world_settle();
			world_check();
		}
		world_end();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call), cmocka_unit_test(long_lives),
		cmocka_unit_test(busy_lives),
		cmocka_unit_test(while_recovering),
		cmocka_unit_test(killed_and_cut),
	};

	cmocka_set_test_filter(getenv("STORE_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
