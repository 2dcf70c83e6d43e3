/*
 * test_secret.c - a secret's pages: kept out of core dumps, read-only, and
 * wiped and gone when it is given back, which the configuration does for its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/str.h"
#include "config/option.h"

/* The flags of the mapping that p lies in, as /proc/self/smaps tells them; "" when it is none. */
static void
flags_of(const void *p, char out[256])
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	bool inside = false;

	out[0] = '\0';
	assert_non_null(f);
	while (fgets(line, sizeof line, f) != NULL) {
		unsigned long from, to;
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(out, 256, "%.250s ", line + 8);
	}
	fclose(f);
	for (char *c = out; *c != '\0'; c++)
		if (*c == '\n')
			*c = ' ';
}

static bool
has_flag(const char *flags, const char *one)
{
	char word[8];

	snprintf(word, sizeof word, " %s ", one);
	return strstr(flags, word) != NULL;
}

static void
its_pages_are_not_dumped(void **state)
{
	static char long_one[10000];
	const struct ph_str texts[] = { STR("hunter2"), { "", 0 }, { long_one, sizeof long_one } };
	char flags[256], heap[256], *ordinary = malloc(100);

	(void)state;
	memset(long_one, 'x', sizeof long_one);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct ph_secret s = secret_keep(texts[i]);
		const char *p = s.p;

		assert_true(str_eq(str_make(s.p, s.n), texts[i]));
		assert_int_equal(s.p[s.n], '\0');
		flags_of(p, flags);
		if (flags[0] != '\0') {         /* a kernel that tells */
			assert_true(has_flag(flags, "dd"));
			assert_true(has_flag(flags, "rd"));
			assert_false(has_flag(flags, "wr"));
			flags_of(p + s.n, flags);
			assert_true(has_flag(flags, "dd"));
		}
		secret_drop(&s);
		assert_null(s.p);
		flags_of(p, flags);
		assert_false(has_flag(flags, "dd"));
		secret_drop(&s);                /* nothing is left to do */
	}
	flags_of(ordinary, heap);
	assert_false(has_flag(heap, "dd"));
	free(ordinary);
}

struct cfg { struct ph_secret password; };
static const struct ph_option rows[] = {
	PH_OPT(struct cfg, password, "password", .doc = "A password."),
	PH_OPT_END
};

static void
the_configuration_keeps_them_so(void **state)
{
	struct cfg cfg = { 0 };
	struct arena a;
	struct diags d;
	char flags[256];
	const char *p;

	(void)state;
	assert_int_equal(setenv("TEST_SECRET", "correct horse", 1), 0);
	arena_init(&a, 256);
	diags_init(&d);
	const struct node *n = node_load_text("t", STR("password: env:TEST_SECRET\n"), &a, &d);
	assert_non_null(n);
	assert_int_equal(option_apply(rows, n, "t", &cfg, &a, &d), 0);
	assert_string_equal(cfg.password.p, "correct horse");
	p = cfg.password.p;
	flags_of(p, flags);
	if (flags[0] != '\0')
		assert_true(has_flag(flags, "dd"));
	option_wipe(rows, &cfg);
	assert_null(cfg.password.p);
	flags_of(p, flags);
	assert_false(has_flag(flags, "dd"));
	diags_free(&d);
	arena_reset(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_pages_are_not_dumped),
		cmocka_unit_test(the_configuration_keeps_them_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
