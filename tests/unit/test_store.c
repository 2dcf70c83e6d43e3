/* test_store.c - the life of messages in the embedded store, over reopenings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../fault/world.h"
#include "base/id.h"
#include "base/mem.h"
#include "mail/content.h"

static struct ph_store_facts
facts(void)
{
	struct ph_store_facts f;

	world.store->ops->facts(world.store, &f);
	return f;
}

static void
reopen(void)
{
	world_close();
	world_open();
	world_settle();
	assert_true(world.scanned);
	assert_int_equal(world.scan_status, 0);
}

static void
sizes(void **state)
{
	static const struct { const char *name; uint32_t meta, size; bool parts; } rows[] = {
		{ "empty", 0, 0, false }, { "one byte", 1, 1, false }, { "unaligned", 13, 4099, false },
		{ "envelope only", 300, 0, false }, { "just inline", 200, 16384, false },
		{ "in memory but large", 200, 16385, false }, { "one part", 10, 5000, true },
		{ "many parts", 500, 100000, true }, { "large envelope", 20000, 10, false },
		{ "no content by parts", 7, 0, true },
	};

	(void)state;
	world_start(1, 256 << 10);
	world_open();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		world_append(rows[i].meta, rows[i].size, rows[i].parts);
		world_settle();
		if (world.v[i].state != W_STORED)
			fail_msg("%s: status %d", rows[i].name, world.v[i].status);
		assert_int_equal(world_read(i), 0);
	}
	world_check();
	reopen();
	world_check();
	reopen();       /* now from what the close before wrote */
	world_check();
	assert_int_equal(facts().live, sizeof rows / sizeof rows[0]);
	assert_int_equal(world.errors, 0);
	world_end();
}

static void
too_large(void **state)
{
	(void)state;
	world_start(2, 64 << 10);
	world_open();
	world_append(70000, 10, false);
	world_settle();
	assert_int_equal(world.v[0].state, W_REFUSED);
	assert_int_equal(world.v[0].status, PH_ELIMIT);
	world_append(10, 50000, true);
	world_append(60000, 50000, true);       /* its file goes with it */
	world_settle();
	assert_int_equal(world.v[1].state, W_STORED);
	assert_int_equal(world.v[2].status, PH_ELIMIT);
	assert_int_equal(fake_files("/spool/large/"), 1);
	reopen();
	world_check();
	world_end();
}

static void
progress_and_removal(void **state)
{
	(void)state;
	world_start(3, 64 << 10);
	world_open();
	for (int i = 0; i < 6; i++)
		world_append(100, 3000, i == 5);
	world_settle();
	world_progress(0);
	world_progress(1);
	world_progress(1);
	world_remove(2);
	world_progress(3);
	world_remove(3);
	world_remove(5);
	world_settle();
	assert_false(world.v[2].removed);       /* lazy: nothing came along */
	world_pass(49);
	assert_false(world.v[2].removed);
	world_pass(1);
	assert_true(world.v[2].removed);
	assert_true(world.v[3].removed);
	assert_int_equal(world.v[1].sure, 2);
	assert_int_equal(world_read(2), PH_ENOENT);
	assert_int_equal(fake_files("/spool/large/"), 0);
	assert_int_equal(facts().live, 3);
	reopen();
	world_check();
	assert_int_equal(facts().live, 3);
	world_progress(1);
	world_remove(0);
	world_append(1, 1, false);              /* takes the lazy ones along */
	world_settle();
	assert_true(world.v[0].removed);
	assert_int_equal(world.v[1].sure, 3);
	reopen();
	world_check();
	world_end();
}

static void
one_sync_for_all(void **state)
{
	uint64_t before;

	(void)state;
	world_start(4, 1 << 20);
	world_open();
	world_append(10, 100, false);
	world_settle();
	before = facts().syncs;
	for (int i = 0; i < 100; i++)
		world_append(100, 4000, false);
	world_settle();
	assert_int_equal(facts().syncs, before + 1);
	world_close();
	/* closing makes lazy ones durable */
	world_open();
	world_settle();
	for (size_t i = 0; i < 50; i++)
		world_remove(i);
	world_close();
	for (size_t i = 0; i < 50; i++)
		assert_true(world.v[i].removed);
	world_open();
	world_settle();
	world_check();
	assert_int_equal(facts().live, 51);
	world_end();
}

static void
unknown_ids(void **state)
{
	(void)state;
	world_start(5, 64 << 10);
	world_open();
	world_append(10, 10, false);
	world_settle();
	world_remove(0);
	world_pass(60);
	world_progress(0);      /* PH_ENOENT, not a new record */
	world_pass(60);
	assert_int_equal(world.open, 0);
	assert_int_equal(world_read(0), PH_ENOENT);
	world_end();
}

/* Before the scan is through, nobody is told that a message does not exist. */
static void
asked_before_scanned(void **state)
{
	(void)state;
	world_start(6, 64 << 10);
	world_open();
	for (int i = 0; i < 60; i++)
		world_append(100, 4000, false);
	world_settle();
	world_close();
	world_open();
	assert_false(world.scanned);
	world_remove(0);
	world_append(50, 500, false);   /* taken at once */
	world_read(1);
	assert_true(world.scanned);
	world_pass(60);
	assert_true(world.v[0].removed);
	assert_int_equal(world.v[60].state, W_STORED);
	reopen();
	world_check();
	world_end();
}

/* kill -9: nothing is sealed, the cache survives. */
static void
killed(void **state)
{
	(void)state;
	world_start(7, 64 << 10);
	world_open();
	for (int i = 0; i < 40; i++)
		world_append(100, 4000, i % 10 == 0);
	world_settle();
	world_append(100, 50000, true);
	(void)embedded_pump(world.store);       /* a file without a message */
	world_kill();
	world_open();
	world_settle();
	world_check();
	assert_int_equal(fake_files("/spool/large/"), 4u + world.v[40].reported);
	world_end();
}

static void
damaged(void **state)
{
	const char *path;

	(void)state;
	world_start(8, 256 << 10);
	world_open();
	for (int i = 0; i < 8; i++) {   /* a batch each */
		world_append(100, 4000, false);
		world_settle();
	}
	world_kill();
	path = fake_first("/spool/seg-");
	/* in the middle of the fourth: header and envelope stay good */
	fake_flip(path, 8192 + 3 * 4232 + 2000);
	world_open();
	world_settle();
	assert_int_equal(world.errors, 1);
	assert_int_equal(fake_files("/spool/quarantine/"), 1);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(world.v[i].reported, i != 3);
	world.v[3].remove_asked = true;         /* lost, and said */
	world_check();
	reopen();                               /* not said again */
	assert_int_equal(world.errors, 0);
	world_check();
	/* damage in a sealed segment shows when it is read */
	fake_flip(fake_first("/spool/seg-"), 8192 + 5 * 4232 + 2000);
	assert_int_equal(world_read(5), PH_ECORRUPT);
	assert_int_equal(fake_files("/spool/quarantine/"), 2);
	world_end();
}

/* A content file has its checksum in the record. */
static void
damaged_file(void **state)
{
	(void)state;
	world_start(13, 256 << 10);
	world_open();
	world_append(100, 100000, true);
	world_append(100, 100000, true);
	world_settle();
	world_check();
	fake_flip(fake_first("/spool/large/"), 70000);
	reopen();
	world.damaged = true;           /* of wrong bytes the world still says so */
	world_check();
	assert_int_equal(world.errors, 1);
	world_end();
}

/* Index, trailer and header each can be lost without a message being lost. */
static void
damaged_index(void **state)
{
	(void)state;
	for (int what = 0; what < 4; what++) {
		const char *path;

		world_start(9, 64 << 10);
		world_open();
		for (int i = 0; i < 9; i++)
			world_append(100, 4000, false);
		world_settle();
		world_close();
		path = fake_first("/spool/seg-");
		switch (what) {
		case 0:         /* first header: the copy holds */
			fake_flip(path, 20);
			break;
		case 1:         /* both: the trailer holds */
			fake_flip(path, 20);
			fake_flip(path, 4096 + 20);
			break;
		default:        /* index */
			for (uint64_t off = 8192 + 9 * 4232; off < 65536; off += 32)
				fake_flip(path, off);
		}
		world_open();
		world_settle();
		world_check();
		world_end();
	}
}

static void
lost_header(void **state)
{
	uint8_t junk[65536];

	(void)state;
	world_start(10, 64 << 10);
	memset(junk, 'x', sizeof junk);
	fake_put("/spool/seg-0000000000000005.log", junk, sizeof junk);
	fake_put("/spool/seg-0000000000000006.log", "", 0);
	fake_put("/spool/seg-junk", "", 0);
	world_open();
	world_settle();
	assert_true(world.scanned);
	assert_int_equal(world.errors, 1);
	assert_true(fake_exists("/spool/quarantine/seg-0000000000000005.log"));
	assert_false(fake_exists("/spool/seg-0000000000000006.log"));
	world_append(10, 10, false);
	world_settle();
	assert_int_equal(world.v[0].state, W_STORED);
	assert_true(fake_exists("/spool/seg-0000000000000007.log"));
	world_end();
}

static void
readonly(void **state)
{
	(void)state;
	world_start(11, 64 << 10);
	world_open();
	for (int i = 0; i < 30; i++)
		world_append(100, 4000, i == 3);
	world_settle();
	world_kill();
	world.cfg.readonly = true;
	long calls = fake_calls();
	world_open();
	world_settle();
	world_check();
	size_t i = world_append(1, 1, false);
	world_settle();
	assert_int_equal(world.v[i].status, PH_EPERM);
	world_close();
	assert_int_equal(fake_calls(), calls);
	world_end();
}

static void
recycles(void **state)
{
	(void)state;
	world_start(12, 64 << 10);
	world_open();
	for (size_t i = 0; i < 400; i++) {
		world_append(50, 4000, false);
		world_settle();
		world_remove(i);
	}
	world_pass(60);
	/* 1.6 MB went through; what is kept is a tail and a few spares */
	assert_true(facts().segments <= 2);
	assert_true(fake_files("/spool/spare-") >= 1);
	assert_true(fake_files("/spool/spare-") <= 4);
	reopen();
	world_check();
	assert_int_equal(facts().live, 0);
	world_end();
}

/* --- on a real disk, with threads --- */
static struct {
	char dir[64];
	_Atomic unsigned added, done, failed;
	_Atomic bool scanned;
	struct ph_mailbox home;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct ph_store *store;
} real;

static void
real_added(void *arg, const struct ph_store_added *v, size_t n)
{
	(void)arg;
	(void)v;
	real.added += (unsigned)n;
}

static void
real_scanned(void *arg, int status)
{
	(void)arg;
	assert_int_equal(status, 0);
	pthread_mutex_lock(&real.lock);
	real.scanned = true;
	pthread_cond_broadcast(&real.more);
	pthread_mutex_unlock(&real.lock);
}

static void
real_room(void *arg, bool enough)
{
	(void)arg;
	(void)enough;
}

static void
real_wake(struct ph_mailbox *m)
{
	(void)m;
	pthread_mutex_lock(&real.lock);
	pthread_cond_broadcast(&real.more);
	pthread_mutex_unlock(&real.lock);
}

static void
real_done(struct ph_store_request *r)
{
	real.done++;
	real.failed += r->status != 0;
	if (r->op == PH_STORE_READ && r->status == 0)
		assert_int_equal(ph_content_size(r->content), 4000);
	ph_store_release(r);
	ph_content_unref(&r->content);
	free(r);
}

static void
real_wait(unsigned done)
{
	pthread_mutex_lock(&real.lock);
	while (real.done < done) {
		if (real.home.top == NULL) {
			pthread_cond_wait(&real.more, &real.lock);
			continue;
		}
		pthread_mutex_unlock(&real.lock);
		(void)mailbox_run(&real.home);
		pthread_mutex_lock(&real.lock);
	}
	pthread_mutex_unlock(&real.lock);
}

static void
real_ask(enum ph_store_op op, struct ph_msgid id)
{
	struct ph_store_request *r = mem_new(struct ph_store_request);
	char bytes[4000];

	r->op = op;
	r->id = id;
	r->home = &real.home;
	r->done = real_done;
	if (op == PH_STORE_APPEND) {
		memset(bytes, 'b', sizeof bytes);
		r->meta = (struct ph_str){ "envelope", 8 };
		r->content = content_new();
		content_append(r->content, bytes, sizeof bytes, sizeof bytes);
	}
	real.store->ops->submit(real.store, r);
}

static void
real_open(void)
{
	static const struct ph_store_events ev = { sizeof(ev), real_added, real_scanned, real_room };
	struct store_config cfg = { .dir = real.dir, .segment_size = 1 << 20, .threads = true };
	char why[200];

	real.scanned = false;
	real.added = 0;
	assert_int_equal(embedded_open(&cfg, &ev, NULL, &real.store, why, sizeof why), 0);
	pthread_mutex_lock(&real.lock);
	while (!real.scanned)
		pthread_cond_wait(&real.more, &real.lock);
	pthread_mutex_unlock(&real.lock);
}

static void
threads(void **state)
{
	enum { N = 2000 };
	struct ph_msgid *ids = calloc(N, sizeof(*ids));
	struct ph_store *second;
	char why[200], command[100];

	(void)state;
	id_use_random(NULL);
	pthread_mutex_init(&real.lock, NULL);
	pthread_cond_init(&real.more, NULL);
	mailbox_init(&real.home, real_wake);
	strcpy(real.dir, "/tmp/ph-store-XXXXXX");
	assert_non_null(mkdtemp(real.dir));
	real_open();
	{
		static const struct ph_store_events ev = { .size = sizeof(ev) };
		struct store_config cfg = { .dir = real.dir, .threads = true };

		assert_int_equal(embedded_open(&cfg, &ev, NULL, &second, why, sizeof why), PH_EBUSY);
		assert_non_null(strstr(why, "in use"));
	}
	for (unsigned i = 0; i < N; i++)
		real_ask(PH_STORE_APPEND, ids[i] = id_new());
	real_wait(N);
	assert_int_equal(real.added, N);
	for (unsigned i = 0; i < N; i++)
		real_ask(PH_STORE_READ, ids[i]);
	real_wait(2 * N);
	for (unsigned i = 0; i < N; i += 2)
		real_ask(PH_STORE_REMOVE, ids[i]);
	real_wait(2 * N + N / 2);
	assert_int_equal(real.failed, 0);
	real.store->ops->close(real.store);
	real_open();
	assert_int_equal(real.added, N / 2);
	real.store->ops->close(real.store);
	assert_int_equal(chmod(real.dir, 0777), 0);
	{
		static const struct ph_store_events ev = { .size = sizeof(ev) };
		struct store_config cfg = { .dir = real.dir };

		assert_int_equal(embedded_open(&cfg, &ev, NULL, &second, why, sizeof why), PH_EPERM);
		assert_non_null(strstr(why, "writable"));
	}
	(void)snprintf(command, sizeof command, "rm -rf %s", real.dir);
	assert_int_equal(system(command), 0);
	free(ids);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes), cmocka_unit_test(too_large),
		cmocka_unit_test(progress_and_removal), cmocka_unit_test(one_sync_for_all),
		cmocka_unit_test(unknown_ids), cmocka_unit_test(asked_before_scanned),
		cmocka_unit_test(killed), cmocka_unit_test(damaged), cmocka_unit_test(damaged_index),
		cmocka_unit_test(damaged_file),
		cmocka_unit_test(lost_header), cmocka_unit_test(readonly), cmocka_unit_test(recycles),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
