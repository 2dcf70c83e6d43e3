/*
 * test_map.c - both hash tables against a plain array, at random, with
 * every size from empty to a few thousand and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#define ITEMS 3000

static uint64_t seed = 88172645463325252u;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

struct item { int other; struct ph_msgid id; char key[32]; bool in; };

static struct item *
items_new(bool clustered)
{
	struct item *v = mem_calloc(ITEMS, sizeof *v);

	for (int i = 0; i < ITEMS; i++) {
		/* ids as they come (counting up), and ids that share low bits */
		v[i].id.hi = clustered ? (uint64_t)i << 40 : 0x19AB0000u + (uint64_t)i;
		v[i].id.lo = UINT64_C(0xABCDEF012) << 28;
		(void)snprintf(v[i].key, sizeof v[i].key, "host%d.example.com", i);
	}
	return v;
}

static void
idmap_against_model(bool clustered)
{
	struct item *v = items_new(clustered);
	struct idmap m;
	size_t n = 0;

	idmap_init(&m, offsetof(struct item, id));
	for (int round = 0; round < 60000; round++) {
		struct item *it = &v[next_random() % ITEMS];
		bool grow = (round / 15000) % 2 == 0 ? next_random() % 4 != 0 : next_random() % 4 == 0;

		assert_ptr_equal(idmap_get(&m, it->id), it->in ? it : NULL);
		if (grow && !it->in) {
			idmap_put(&m, it);
			it->in = true;
			n++;
		} else if (!grow) {
			assert_ptr_equal(idmap_del(&m, it->id), it->in ? it : NULL);
			n -= it->in;
			it->in = false;
		}
		assert_int_equal(m.n, n);
		if (round % 5000 == 0) {
			for (int i = 0; i < ITEMS; i++)
				assert_ptr_equal(idmap_get(&m, v[i].id), v[i].in ? &v[i] : NULL);
			size_t at = 0, seen = 0;
			void *value;
			while (idmap_next(&m, &at, &value)) {
				assert_true(((struct item *)value)->in);
				seen++;
			}
			assert_int_equal(seen, n);
		}
	}
	for (int i = 0; i < ITEMS; i++)
		(void)idmap_del(&m, v[i].id);
	assert_int_equal(m.n, 0);
	assert_true(m.cap <= 1024);     /* memory of a backlog comes back */
	idmap_free(&m);
	free(v);
}

static void
idmap_holds_ids_that_count_up(void **state)
{
	(void)state;
	idmap_against_model(false);
}

static void
idmap_holds_ids_that_collide(void **state)
{
	(void)state;
	idmap_against_model(true);
}

static void
map_agrees_with_model(void **state)
{
	struct item *v = items_new(false);
	struct map m = { 0 };
	size_t n = 0;

	(void)state;
	assert_null(map_get(&m, STR("x")));
	assert_null(map_del(&m, STR("x")));
	for (int round = 0; round < 60000; round++) {
		struct item *it = &v[next_random() % ITEMS];
		struct ph_str key = str_of(it->key);

		assert_ptr_equal(map_get(&m, key), it->in ? it : NULL);
		if (next_random() % 2) {
			assert_ptr_equal(map_put(&m, key, it), it->in ? it : NULL);
			n += !it->in;
			it->in = true;
		} else {
			assert_ptr_equal(map_del(&m, key), it->in ? it : NULL);
			n -= it->in;
			it->in = false;
		}
		assert_int_equal(m.n, n);
	}
	assert_true(m.cap <= 16384);    /* deleted slots do not make it grow */
	map_free(&m);
	free(v);
}

static void
map_allows_deletion_while_walking(void **state)
{
	struct item *v = items_new(false);
	struct map m = { 0 };
	size_t at = 0, seen = 0;
	struct ph_str key;
	void *value;

	(void)state;
	for (int i = 0; i < 500; i++)
		map_put(&m, str_of(v[i].key), &v[i]);
	while (map_next(&m, &at, &key, &value)) {
		assert_string_equal(((struct item *)value)->key, key.p);
		assert_ptr_equal(map_del(&m, key), value);
		seen++;
	}
	assert_int_equal(seen, 500);
	assert_int_equal(m.n, 0);
	map_free(&m);
	free(v);
}

static void
map_tells_what_it_replaced(void **state)
{
	struct map m = { 0 };
	int a, b;
	char key[] = "k";

	(void)state;
	assert_null(map_put(&m, STR("k"), &a));
	assert_ptr_equal(map_put(&m, str_of(key), &b), &a);
	assert_ptr_equal(map_get(&m, STR("k")), &b);
	assert_null(map_get(&m, STR("")));
	assert_null(map_put(&m, (struct ph_str){ NULL, 0 }, &a));
	assert_ptr_equal(map_get(&m, STR("")), &a);
	map_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idmap_holds_ids_that_count_up),
		cmocka_unit_test(idmap_holds_ids_that_collide),
		cmocka_unit_test(map_agrees_with_model),
		cmocka_unit_test(map_allows_deletion_while_walking),
		cmocka_unit_test(map_tells_what_it_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
