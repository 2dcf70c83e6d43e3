/*
 * test_job.c - leases and site identities: same words same hash, counted
 * lives, a way home.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mailbox.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/job.h"

static void
test_site_identity(void **state)
{
	static const struct { struct ph_str a, b; bool same; } cases[] = {
		{ STR("smart\0h:25"), STR("smart\0h:25"), true },
		{ STR("smart\0h:25"), STR("smart\0h:26"), false },
		{ STR("a\0b"), STR("a\0c"), false },            /* looks behind a NUL */
		{ STR(""), STR(""), true },
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct site_info *a = site_info_new(cases[i].a, STR("n"), 20, 100);
		struct site_info *b = site_info_new(cases[i].b, STR("other name"), 1, 0);

		assert_int_equal(a->hash == b->hash, cases[i].same);
		assert_int_not_equal(a->hash, 0);
		assert_string_equal(a->name, "n");
		assert_int_equal(a->connections, 20);
		assert_int_equal(a->messages_per_connection, 100);
		site_info_unref(&a);
		assert_null(a);
		site_info_unref(&b);
	}
}

static void
test_site_counts(void **state)
{
	struct site_info *a = site_info_new(STR("k"), STR("n"), 1, 1), *b = site_info_ref(a),
			 *none = NULL;
	(void)state;

	site_info_unref(&a);
	assert_null(a);
	assert_string_equal(b->name, "n");      /* still there */
	site_info_unref(&b);
	site_info_unref(&none);
	assert_null(site_info_ref(NULL));
}

static unsigned back;

static void
came_back(struct ph_note *note)
{
	struct job *j = container_of(note, struct job, note);

	back++;
	assert_int_equal(j->result, JOB_RETURNED);
	job_free(&j);
	assert_null(j);
}

static void
test_job_comes_home(void **state)
{
	struct ph_mailbox home;
	struct job *j = job_new(), *none = NULL;
	struct ph_content *content = content_new();
	uint64_t before = content_memory();
	(void)state;

	mailbox_init(&home, NULL);
	content_append(content, "x", 1, 0);
	j->home = &home;
	j->back = came_back;
	j->meta = mem_strdup("meta");
	j->content = ph_content_ref(content);
	ph_content_unref(&content);
	j->site = site_info_new(STR("k"), STR("n"), 1, 1);
	j->groups = arena_alloc(&j->arena, 2 * sizeof *j->groups);
	j->ngroups = 2;
	j->groups[0].site = site_info_ref(j->site);
	j->groups[1].site = site_info_ref(j->site);
	j->result = JOB_RETURNED;
	back = 0;
	job_return(j, NULL);
	assert_int_equal(back, 0);
	assert_int_equal(mailbox_run(&home), 1);
	assert_int_equal(back, 1);
	assert_int_equal(content_memory(), before);
	job_free(&none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_site_identity),
		cmocka_unit_test(test_site_counts),
		cmocka_unit_test(test_job_comes_home),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
