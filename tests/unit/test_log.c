/*
 * test_log.c - one event, one line: form, escaping, levels, when lines leave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

static char got[100000];
static size_t got_n, writes;

static void
keep(const char *p, size_t n)
{
	if (n > sizeof got - got_n - 1)
		n = sizeof got - got_n - 1;
	memcpy(got + got_n, p, n);
	got_n += n;
	got[got_n] = '\0';
	writes++;
}

static int64_t
wall(void)
{
	return 1764000000123456;        /* 2025-11-24T16:00:00.123 */
}

static int
setup(void **state)
{
	static const struct clock c = { wall, wall };

	(void)state;
	clock_use(&c);
	log_use(keep);
	log_level = PH_INFO;
	got_n = writes = 0;
	got[0] = '\0';
	return 0;
}

static void
a_line_has_its_parts_in_order(void **state)
{
	struct log_ctx worker = { NULL, "worker=0" }, session = { &worker, "sid=7" };
	struct ph_addr addr = { 4, 25, { 192, 0, 2, 1 } };

	(void)state;
	log_event(PH_INFO, &session, "smtp.accepted", LOG_C("from", "a@b.c"), LOG_I("size", -12),
	    LOG_A("peer", &addr), LOG_ID("mid", ((struct ph_msgid){ 0, 0 })), LOG_S("none", STR("")));
	assert_int_equal(writes, 0);
	log_flush();
	assert_string_equal(got, "2025-11-24T16:00:00.123Z info event=smtp.accepted worker=0 sid=7 "
	    "from=a@b.c size=-12 peer=192.0.2.1 mid=00000000000000000000 none=\"\"\n");
	assert_int_equal(writes, 1);
	log_flush();
	assert_int_equal(writes, 1);
}

static void
warnings_leave_at_once_with_what_was_before(void **state)
{
	(void)state;
	log_event(PH_INFO, NULL, "a.b", LOG_I("n", 1));
	log_event(PH_DEBUG, NULL, "not.shown", LOG_I("n", 2));
	log_event(PH_WARN, NULL, "c.d", LOG_I("n", INT64_MIN));
	assert_int_equal(writes, 1);
	assert_string_equal(got, "2025-11-24T16:00:00.123Z info event=a.b n=1\n"
	    "2025-11-24T16:00:00.123Z warn event=c.d n=-9223372036854775808\n");
}

static void
a_full_buffer_leaves(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++)
		log_event(PH_INFO, NULL, "fill", LOG_I("n", i));
	assert_true(writes >= 1 && writes < 10);
	log_flush();
	assert_int_equal(got[got_n - 1], '\n');
}

static void
values_are_escaped(void **state)
{
	static const struct { struct ph_str in; const char *out; } v[] = {
		{ STR("plain"), "plain" }, { STR("a=b;c,d"), "a=b;c,d" }, { STR(""), "\"\"" },
		{ STR("two words"), "\"two words\"" }, { STR("a\"b"), "\"a\\\"b\"" },
		{ STR("a\\b"), "\"a\\\\b\"" }, { STR("a\r\nb\tc"), "\"a\\r\\nb\\tc\"" },
		{ STR("\0\x01\x1B[31m\x7F"), "\"\\x00\\x01\\x1b[31m\\x7f\"" },
		{ STR("gr\xC3\xBCn"), "\"gr\xC3\xBCn\"" }, { STR("\xFF\xC3"), "\"\\xff\\xc3\"" },
		{ STR("\xC2\x9B"), "\"\\xc2\\x9b\"" },                      /* CSI of C1 */
		{ STR("\xE2\x80\xAE"), "\"\\xe2\\x80\\xae\"" },               /* right to left */
		{ STR("\xE2\x80\xA8"), "\"\\xe2\\x80\\xa8\"" },               /* line separator */
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct buf b = { 0 };

		log_escape(&b, v[i].in);
		buf_addc(&b, '\0');
		assert_string_equal(b.data, v[i].out);
		buf_free(&b);
	}
}

/* No input makes a second line, and all of them stay short. */
static void
peers_cannot_forge_lines(void **state)
{
	char in[3000];

	(void)state;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (char)(i * 31 + i / 256);
	log_event(PH_INFO, NULL, "x", LOG_S("v", str_make(in, sizeof in)), LOG_I("last", 1));
	log_flush();
	assert_ptr_equal(strchr(got, '\n'), got + got_n - 1);
	assert_non_null(strstr(got, "\"... last=1\n"));
	assert_true(got_n < 1024 * 4 + 200);
	for (size_t i = 0; i < got_n - 1; i++)
		assert_true((unsigned char)got[i] >= ' ' && got[i] != 0x7F);
}

static void *
log_one(void *arg)
{
	(void)arg;
	log_event(PH_INFO, NULL, "from.thread", LOG_I("n", 1));
	return NULL;
}

static void
a_thread_that_ends_leaves_its_lines(void **state)
{
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, log_one, NULL), 0);
	pthread_join(t, NULL);
	assert_non_null(strstr(got, "event=from.thread n=1\n"));
}

static void
levels_have_names(void **state)
{
	enum ph_level level;

	(void)state;
	assert_int_equal(log_level_parse(STR("error"), &level), 0);
	assert_int_equal(level, PH_ERROR);
	assert_int_equal(log_level_parse(STR("TRACE"), &level), 0);
	assert_int_equal(level, PH_TRACE);
	assert_int_equal(log_level_parse(STR("loud"), &level), PH_EINVAL);
	assert_int_equal(log_level_parse(STR(""), &level), PH_EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_line_has_its_parts_in_order, setup),
		cmocka_unit_test_setup(warnings_leave_at_once_with_what_was_before, setup),
		cmocka_unit_test_setup(a_full_buffer_leaves, setup),
		cmocka_unit_test_setup(values_are_escaped, setup),
		cmocka_unit_test_setup(peers_cannot_forge_lines, setup),
		cmocka_unit_test_setup(a_thread_that_ends_leaves_its_lines, setup),
		cmocka_unit_test_setup(levels_have_names, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
