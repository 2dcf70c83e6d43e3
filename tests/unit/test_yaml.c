/*
 * test_yaml.c - text to nodes: kinds, quoting, places, and the limits on
 * size, depth and number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "config/node.h"

static struct arena arena;
static struct diags diags;

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096);
	diags_init(&diags);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_reset(&arena);
	diags_free(&diags);
	return 0;
}

static struct node *
load(const char *text)
{
	return node_load_text("f", str_of(text), &arena, &diags);
}

static void
values_have_kinds(void **state)
{
	struct node *root = load(
	    "plain: some text\n"
	    "quoted: \"null\"\n"
	    "single: 'it''s'\n"
	    "escaped: \"a\\tb\\u20ac\"\n"
	    "nothing:\n"
	    "tilde: ~\n"
	    "null1: null\n"
	    "empty: \"\"\n"
	    "list: [a, [b], {c: d}]\n"
	    "block: |\n"
	    "  line one\n"
	    "  line two\n"
	    "map: {x: 1, y: {}}\n");

	(void)state;
	assert_non_null(root);
	assert_int_equal(root->kind, NODE_MAP);
	assert_true(str_is(node_get(root, "plain")->text, "some text"));
	assert_false(node_get(root, "plain")->quoted);
	assert_int_equal(node_get(root, "quoted")->kind, NODE_SCALAR);
	assert_true(node_get(root, "quoted")->quoted);
	assert_true(str_is(node_get(root, "single")->text, "it's"));
	assert_true(str_is(node_get(root, "escaped")->text, "a\tb\xE2\x82\xAC"));
	assert_int_equal(node_get(root, "nothing")->kind, NODE_NULL);
	assert_int_equal(node_get(root, "tilde")->kind, NODE_NULL);
	assert_int_equal(node_get(root, "null1")->kind, NODE_NULL);
	assert_int_equal(node_get(root, "empty")->kind, NODE_SCALAR);
	assert_int_equal(node_get(root, "empty")->text.n, 0);
	assert_int_equal(node_get(root, "list")->kind, NODE_LIST);
	assert_true(str_is(node_get(root, "list")->first->text, "a"));
	assert_int_equal(node_get(root, "list")->first->next->kind, NODE_LIST);
	assert_true(str_is(node_get(node_get(root, "list")->first->next->next, "c")->text, "d"));
	assert_true(str_is(node_get(root, "block")->text, "line one\nline two\n"));
	assert_null(node_get(node_get(root, "map"), "y")->first);
	assert_null(node_get(root, "none"));
	assert_null(node_get(node_get(root, "list"), "c"));
	assert_null(node_get(NULL, "c"));
}

static void
places_count_characters(void **state)
{
	struct node *root = load("# \xC3\xBC\na: b\n\"\xC3\xBC\xC3\xBC\": { k: \"v\xC3\xB6v\" }\n"), *n;

	(void)state;
	n = node_get(root, "a");
	assert_int_equal(n->key_place.line, 2);
	assert_int_equal(n->key_place.col, 1);
	assert_int_equal(n->place.col, 4);
	n = node_get(root, "\xC3\xBC\xC3\xBC");
	assert_int_equal(n->key_place.width, 4);
	n = node_get(n, "k");
	assert_int_equal(n->key_place.line, 3);
	assert_int_equal(n->key_place.col, 9);
	assert_int_equal(n->place.col, 12);
	assert_int_equal(n->place.width, 5);
	assert_string_equal(n->place.src->name, "f");
}

static void
nodes_outlive_the_text(void **state)
{
	char *text = strdup("a: value\n");
	struct node *root = load(text);

	(void)state;
	memset(text, 'x', strlen(text));
	free(text);
	assert_true(str_is(node_get(root, "a")->text, "value"));
	assert_true(str_is(node_get(root, "a")->place.src->text, "a: value\n"));
}

static void
a_file_has_at_most_a_mebibyte(void **state)
{
	static char text[(1 << 20) + 1];

	(void)state;
	memset(text, '#', sizeof text);
	memcpy(text, "a: b\n", 5);
	assert_non_null(node_load_text("f", str_make(text, 1 << 20), &arena, &diags));
	assert_null(node_load_text("f", str_make(text, sizeof text), &arena, &diags));
	assert_string_equal(diags.v[0].text, "larger than 1 MiB");
}

static void
depth_is_limited(void **state)
{
	(void)state;
	/* the map, and 15 lists in it */
	assert_non_null(load("a: [[[[[[[[[[[[[[[b]]]]]]]]]]]]]]]\n"));
	assert_null(load("a: [[[[[[[[[[[[[[[[b]]]]]]]]]]]]]]]]\n"));
	assert_string_equal(diags.v[0].text, "nested too deeply");
}

static void
deep_nesting_of_any_length_ends_quickly(void **state)
{
	static char text[1 << 20];

	(void)state;
	memset(text, '[', sizeof text);
	assert_null(node_load_text("f", str_make(text, sizeof text), &arena, &diags));
	for (size_t i = 0; i + 1 < sizeof text; i += 2)
		memcpy(text + i, "- ", 2);
	assert_null(node_load_text("f", str_make(text, sizeof text), &arena, &diags));
	memset(text, '{', sizeof text);
	assert_null(node_load_text("f", str_make(text, sizeof text), &arena, &diags));
}

static void
the_number_of_nodes_is_limited(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_adds(&b, "a: [");
	for (int i = 0; i < 99990; i++)
		buf_adds(&b, "x,");
	buf_adds(&b, "x]\n");
	assert_non_null(node_load_text("f", buf_view(&b), &arena, &diags));
	buf_clear(&b);
	buf_adds(&b, "a: [");
	for (int i = 0; i < 100000; i++)
		buf_adds(&b, "x,");
	buf_adds(&b, "x]\n");
	assert_null(node_load_text("f", buf_view(&b), &arena, &diags));
	assert_string_equal(diags.v[0].text, "too many settings");
	buf_free(&b);
}

static void
many_keys_are_compared_quickly(void **state)
{
	struct buf b = { 0 };
	struct node *root;

	(void)state;
	for (int i = 0; i < 60000; i++)
		buf_printf(&b, "k%d: v\n", i);
	root = node_load_text("f", buf_view(&b), &arena, &diags);
	assert_non_null(root);
	assert_non_null(node_get(root, "k59999"));
	buf_adds(&b, "k5: again\n");
	assert_null(node_load_text("f", buf_view(&b), &arena, &diags));
	assert_int_equal(diags.n, 1);
	assert_string_equal(diags.v[0].text, "written twice");
	assert_int_equal(diags.v[0].place.line, 60001);
	buf_free(&b);
}

static void
names_are_short(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_adds(&b, "? ");
	for (int i = 0; i < 100000; i++)
		buf_addc(&b, 'k');
	buf_adds(&b, "\n: 5\n");
	assert_null(node_load_text("f", buf_view(&b), &arena, &diags));
	assert_string_equal(diags.v[0].text, "the name is too long");
	assert_true(strlen(diags.v[0].path) <= 128);
	buf_free(&b);
}

/* Every beginning of a good file gives a tree or a message, never both or none. */
static void
every_beginning_is_judged(void **state)
{
	static const char text[] =
	    "hostname: relay\n"
	    "listen:\n"
	    "  - address: \"127.0.0.1:25\"\n"
	    "    max-line: 512 # enough\n"
	    "queue: { retry: [5m, '6m'], expire: 2d }\n"
	    "text: |\n"
	    "  a\n"
	    "  b\n";

	(void)state;
	for (size_t n = 0; n <= sizeof text - 1; n++) {
		size_t errors = diags.errors;
		struct node *root = node_load_text("f", str_make(text, n), &arena, &diags);

		if ((root != NULL) != (diags.errors == errors))
			fail_msg("%zu bytes", n);
	}
}

static void
other_encodings_are_refused(void **state)
{
	static const struct ph_str v[] = {
		{ "\xFF\xFE" "a\0:\0 \0b\0\n\0", 12 }, { "\xFE\xFF" "\0a\0:\0 \0b\0\n", 12 },
		{ "a\0:\0 \0b\0\n\0", 10 }, { "a: \xC3\x28\n", 6 }, { "a: \xED\xA0\x80\n", 7 },
		{ "a: b\xE2\x80\xA8" "c: d\n", 12 }, { "a: \x1B[m\n", 7 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		size_t errors = diags.errors;

		if (node_load_text("f", v[i], &arena, &diags) != NULL || diags.errors == errors)
			fail_msg("row %zu", i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values_have_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(places_count_characters, setup, teardown),
		cmocka_unit_test_setup_teardown(nodes_outlive_the_text, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_has_at_most_a_mebibyte, setup, teardown),
		cmocka_unit_test_setup_teardown(depth_is_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_nesting_of_any_length_ends_quickly, setup, teardown),
		cmocka_unit_test_setup_teardown(the_number_of_nodes_is_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(many_keys_are_compared_quickly, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_short, setup, teardown),
		cmocka_unit_test_setup_teardown(every_beginning_is_judged, setup, teardown),
		cmocka_unit_test_setup_teardown(other_encodings_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
