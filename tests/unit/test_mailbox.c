/*
 * test_mailbox.c - several threads post, one runs: nothing is lost, each
 * producer's order is kept, and whoever finds the mailbox empty wakes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "base/mem.h"

#define PRODUCERS 4
#define EACH      20000

static struct ph_mailbox box;
static _Atomic unsigned wakes;
static unsigned next_of[PRODUCERS], ran;

struct letter { struct ph_note note; unsigned producer, number; };

static void
letter_run(struct ph_note *note)
{
	struct letter *l = container_of(note, struct letter, note);

	if (next_of[l->producer] != l->number)
		abort();                /* cmocka cannot fail from here */
	next_of[l->producer]++;
	ran++;
	free(l);
}

static void
count_wake(struct ph_mailbox *m)
{
	(void)m;
	atomic_fetch_add(&wakes, 1);
}

static void *
produce(void *arg)
{
	unsigned producer = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		struct letter *l = mem_new(struct letter);

		l->producer = producer;
		l->number = i;
		l->note.run = letter_run;
		ph_post(&box, &l->note);
	}
	return NULL;
}

static void
many_producers_one_consumer(void **state)
{
	pthread_t threads[PRODUCERS];
	unsigned batches = 0;

	(void)state;
	mailbox_init(&box, count_wake);
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, produce, (void *)i), 0);
	while (ran < PRODUCERS * EACH) {
		if (mailbox_run(&box) > 0)
			batches++;
		else
			sched_yield();
	}
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(mailbox_run(&box), 0);
	for (int i = 0; i < PRODUCERS; i++)
		assert_int_equal(next_of[i], EACH);
	assert_int_equal(atomic_load(&wakes), batches);
}

static unsigned order[3], order_n;
static void note_a(struct ph_note *n) { (void)n; order[order_n++] = 'a'; }
static void
note_b(struct ph_note *n)
{
	order[order_n++] = 'b';
	n->run = note_a;
	ph_post(&box, n);       /* a note may post itself again */
}

static void
posting_while_running_waits_for_the_next_turn(void **state)
{
	struct ph_note a = { .run = note_a }, b = { .run = note_b };

	(void)state;
	atomic_store(&wakes, 0);
	mailbox_init(&box, count_wake);
	assert_null(mailbox_take(&box));
	ph_post(&box, &a);
	ph_post(&box, &b);
	assert_int_equal(atomic_load(&wakes), 1);
	assert_int_equal(mailbox_run(&box), 2);
	assert_int_equal(order_n, 2);
	assert_int_equal(atomic_load(&wakes), 2);
	assert_int_equal(mailbox_run(&box), 1);
	assert_int_equal(order[0], 'a');
	assert_int_equal(order[1], 'b');
	assert_int_equal(order[2], 'a');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_producers_one_consumer),
		cmocka_unit_test(posting_while_running_waits_for_the_next_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
