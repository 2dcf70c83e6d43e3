/*
 * test_heap.c - the heap against a plain array: insert, move, remove, take the
 * smallest, at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/heap.h"

#define NODES 400

static uint64_t seed = 2463534242u;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static int64_t
smallest(const struct heap_node *v, bool *any)
{
	int64_t least = INT64_MAX;

	*any = false;
	for (int i = 0; i < NODES; i++) {
		if (heap_has(&v[i])) {
			*any = true;
			least = v[i].key < least ? v[i].key : least;
		}
	}
	return least;
}

static void
heap_agrees_with_model(void **state)
{
	static struct heap_node v[NODES];
	struct heap h = { 0 };

	(void)state;
	for (int round = 0; round < 40000; round++) {
		struct heap_node *n = &v[next_random() % NODES];
		int64_t least;
		bool any;

		if (next_random() % 3 != 0)
			heap_put(&h, n, (int64_t)(next_random() % 1000) - 500);
		else
			heap_del(&h, n);
		least = smallest(v, &any);
		assert_int_equal(heap_min(&h) != NULL, any);
		if (any)
			assert_int_equal(heap_min(&h)->key, least);
		for (uint32_t i = 2; round % 1000 == 0 && i <= h.n; i++)
			assert_true(h.v[i / 2]->key <= h.v[i]->key);
	}
	heap_free(&h);
	for (int i = 0; i < NODES; i++)
		assert_false(heap_has(&v[i]));
}

static void
heap_sorts(void **state)
{
	static struct heap_node v[NODES];
	struct heap h = { 0 };
	int64_t last = INT64_MIN;
	int taken = 0;

	(void)state;
	memset(v, 0, sizeof v);
	for (int i = 0; i < NODES; i++)
		heap_put(&h, &v[i], (int64_t)(next_random() >> 1));
	for (struct heap_node *n; (n = heap_min(&h)) != NULL; taken++) {
		assert_true(n->key >= last);
		last = n->key;
		heap_del(&h, n);
		heap_del(&h, n);        /* harmless */
	}
	assert_int_equal(taken, NODES);
	heap_free(&h);
}

static void
heap_takes_extreme_keys(void **state)
{
	struct heap_node a = { 0 }, b = { 0 }, c = { 0 };
	struct heap h = { 0 };

	(void)state;
	assert_null(heap_min(&h));
	heap_put(&h, &a, INT64_MAX);
	heap_put(&h, &b, INT64_MIN);
	heap_put(&h, &c, 0);
	assert_ptr_equal(heap_min(&h), &b);
	heap_put(&h, &b, INT64_MAX);    /* moves */
	assert_ptr_equal(heap_min(&h), &c);
	assert_int_equal(h.n, 3);
	heap_free(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heap_agrees_with_model),
		cmocka_unit_test(heap_sorts),
		cmocka_unit_test(heap_takes_extreme_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
