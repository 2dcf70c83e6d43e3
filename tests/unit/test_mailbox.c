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
	(void)state;
	atomic_store(&wakes, 0);
	mailbox_init(&box, count_wake);
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, produce, (void *)i), 0);
	while (ran < PRODUCERS * EACH)
		if (mailbox_run(&box) == 0)
			sched_yield();
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(mailbox_run(&box), 0);
	for (int i = 0; i < PRODUCERS; i++)
		assert_int_equal(next_of[i], EACH);
	/* whether to wake is the mailbox owner's decision: it is asked each time */
	assert_int_equal(atomic_load(&wakes), PRODUCERS * EACH);
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
	assert_int_equal(atomic_load(&wakes), 2);
	assert_int_equal(mailbox_run(&box), 2);
	assert_int_equal(order_n, 2);
	assert_int_equal(atomic_load(&wakes), 3);
	assert_int_equal(mailbox_run(&box), 1);
	assert_int_equal(order[0], 'a');
	assert_int_equal(order[1], 'b');
	assert_int_equal(order[2], 'a');
}

static void
an_outbox_keeps_its_order_and_wakes_once(void **state)
{
	struct ph_note a = { .run = note_a }, b = { .run = note_a }, c = { .run = note_a };
	struct outbox out = { 0 };
	struct ph_note *first;

	(void)state;
	atomic_store(&wakes, 0);
	mailbox_init(&box, count_wake);
	outbox_post(&out, &box);
	assert_int_equal(atomic_load(&wakes), 0);
	mailbox_post_quiet(&box, &a);
	assert_int_equal(atomic_load(&wakes), 0);
	outbox_add(&out, &b);
	outbox_add(&out, &c);
	outbox_post(&out, &box);
	assert_int_equal(atomic_load(&wakes), 1);
	first = mailbox_take(&box);
	assert_ptr_equal(first, &a);
	assert_ptr_equal(first->next, &b);
	assert_ptr_equal(first->next->next, &c);
	assert_null(c.next);
	assert_null(out.newest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_producers_one_consumer),
		cmocka_unit_test(an_outbox_keeps_its_order_and_wakes_once),
		cmocka_unit_test(posting_while_running_waits_for_the_next_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
