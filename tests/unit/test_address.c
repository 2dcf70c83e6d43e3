/* test_address.c - paths as RFC 5321 has them, as people type them, as attackers write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mail/address.h"

enum { SENDER = ADDRESS_NULL_OK | ADDRESS_BARE_OK, RCPT = ADDRESS_POSTMASTER_OK | ADDRESS_BARE_OK };

struct row {
	const char *in;
	unsigned flags;
	int rc;
	const char *full, *local, *domain, *rest;
};

static const struct row rows[] = {
	{ "<a@b.c>", SENDER, 0, "a@b.c", "a", "b.c", "" },
	{ " <a@b.c>", SENDER, 0, "a@b.c", "a", "b.c", "" },
	{ "\t<a@b.c> SIZE=3", SENDER, 0, "a@b.c", "a", "b.c", " SIZE=3" },
	{ "a@b.c", SENDER, 0, "a@b.c", "a", "b.c", "" },
	{ " a@b.c  ", SENDER, 0, "a@b.c", "a", "b.c", "  " },
	{ "a@b.c", 0, PH_EINVAL, 0, 0, 0, 0 },
	{ "<>", SENDER, 0, "", "", "", "" },
	{ "<> BODY=7BIT", SENDER, 0, "", "", "", " BODY=7BIT" },
	{ "<>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "   ", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "<", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b.c", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "a@b.c>", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b.c>x", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "<postmaster>", RCPT, 0, "postmaster", "postmaster", "", "" },
	{ "<PostMaster>", RCPT, 0, "PostMaster", "PostMaster", "", "" },
	{ "Postmaster", RCPT, 0, "Postmaster", "Postmaster", "", "" },
	{ "<postmaster>", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "<root>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	/* quoted local parts */
	{ "<\"a b\"@c.d>", RCPT, 0, "\"a b\"@c.d", "\"a b\"", "c.d", "" },
	{ "<\"a@b\"@c.d>", RCPT, 0, "\"a@b\"@c.d", "\"a@b\"", "c.d", "" },
	{ "<\"a\\\"b>\"@c.d>", RCPT, 0, "\"a\\\"b>\"@c.d", "\"a\\\"b>\"", "c.d", "" },
	{ "<\"\"@c.d>", RCPT, 0, "\"\"@c.d", "\"\"", "c.d", "" },
	{ "\"a b\"@c.d", RCPT, 0, "\"a b\"@c.d", "\"a b\"", "c.d", "" },
	{ "<\"a\rb\"@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<\"a\\\nb\"@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<\"a\x01\"@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<\"a\x7f\"@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<\"ab@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<\"ab\\", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<\"a\"b@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	/* source routes are dropped */
	{ "<@x.y:a@b.c>", RCPT, 0, "a@b.c", "a", "b.c", "" },
	{ "<@x.y,@[192.0.2.1]:a@b.c>", RCPT, 0, "a@b.c", "a", "b.c", "" },
	{ "<@x.y:postmaster>", RCPT, 0, "postmaster", "postmaster", "", "" },
	{ "<@x.y:>", SENDER, PH_EINVAL, 0, 0, 0, 0 },
	{ "<@x.y>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<@:a@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<@x.y,:a@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<@x.y:@z:a@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "@x.y:a@b.c", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	/* what open relays fell for: one domain, behind the only unquoted @ */
	{ "<a%b.c@d.e>", RCPT, 0, "a%b.c@d.e", "a%b.c", "d.e", "" },
	{ "<b.c!a@d.e>", RCPT, 0, "b.c!a@d.e", "b.c!a", "d.e", "" },
	{ "<a@b.c@d.e>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b.c.>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@.b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b..c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a b@c.d>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<<a@b.c>>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<(x)a@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b.c(x)>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<|/bin/sh@b.c>", RCPT, 0, "|/bin/sh@b.c", "|/bin/sh", "b.c", "" },
	{ "<-oQ/tmp@b.c>", RCPT, 0, "-oQ/tmp@b.c", "-oQ/tmp", "b.c", "" },
	{ "<${run{x}}@b.c>", RCPT, 0, "${run{x}}@b.c", "${run{x}}", "b.c", "" },
	{ "<:include:/etc/passwd@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<.a@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a.@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a..b@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b.c\x00>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	/* domains */
	{ "<a@b>", RCPT, 0, "a@b", "a", "b", "" },
	{ "<a@my_host.c>", RCPT, 0, "a@my_host.c", "a", "my_host.c", "" },
	{ "<printer@192.168.1.5>", SENDER, 0, "printer@192.168.1.5", "printer", "192.168.1.5", "" },
	{ "<a@-b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b-.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b+c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@[127.0.0.1]>", RCPT, 0, "a@[127.0.0.1]", "a", "[127.0.0.1]", "" },
	{ "<a@[IPv6:2001:db8::1]>", RCPT, 0, "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", "" },
	{ "<a@[ipv6:::1]>", RCPT, 0, "a@[ipv6:::1]", "a", "[ipv6:::1]", "" },
	{ "<a@[2001:db8::1]>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@[256.0.0.1]>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@[127.0.0.1>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@[]>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@[x:y]>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	/* UTF-8 */
	{ "<j\xc3\xb6rg@b.c>", RCPT, PH_ENOTSUP, 0, 0, 0, 0 },
	{ "<j\xc3\xb6rg@b.c>", RCPT | ADDRESS_UTF8_OK, 0, "j\xc3\xb6rg@b.c", "j\xc3\xb6rg", "b.c", "" },
	{ "<a@b\xc3\xbc""cher.de>", RCPT | ADDRESS_UTF8_OK, 0, "a@b\xc3\xbc""cher.de", "a",
	  "b\xc3\xbc""cher.de", "" },
	{ "<j\xf6rg@b.c>", RCPT, PH_EINVAL, 0, 0, 0, 0 },
	{ "<j\xf6rg@b.c>", RCPT | ADDRESS_UTF8_OK, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a\xc0\xae@b.c>", RCPT | ADDRESS_UTF8_OK, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a\xc2\x85@b.c>", RCPT | ADDRESS_UTF8_OK, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a@b\xe3\x80\x82""c>", RCPT | ADDRESS_UTF8_OK, PH_EINVAL, 0, 0, 0, 0 },
	{ "<a\xef\xbc\xa0""b.c@d>", RCPT | ADDRESS_UTF8_OK, PH_EINVAL, 0, 0, 0, 0 },
};

static struct ph_str
text_of(const struct row *r)
{
	/* the one row with a NUL inside */
	return str_eq(str_of(r->in), STR("<a@b.c")) && r->flags == RCPT
	       ? STR("<a@b.c\0>") : str_of(r->in);
}

static void
paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct row *r = &rows[i];
		struct arena arena;
		struct address a;
		const char *why = NULL;
		struct ph_str in = text_of(r);
		/* an exact copy, so that a sanitizer sees any step beyond the end */
		char *copy = malloc(in.n + 1);
		int rc;

		memcpy(copy, in.p, in.n);
		in.p = copy;
		arena_init(&arena, 512);
		rc = address_parse_path(&in, r->flags, &arena, &a, &why);
		if (rc != r->rc)
			print_error("row %zu: %s\n", i, r->in);
		assert_int_equal(rc, r->rc);
		if (rc == 0) {
			assert_true(str_is(a.full, r->full));
			assert_true(str_is(a.local, r->local));
			assert_true(str_is(a.domain, r->domain));
			assert_true(str_is(in, r->rest));
			assert_int_equal(a.utf8, !str_ascii(a.full));
			assert_int_equal(a.literal, r->domain[0] == '[');
		} else {
			assert_non_null(why);
		}
		free(copy);
		arena_reset(&arena);
	}
}

static void
accepted_addresses_parse_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct arena arena;
		struct address a;

		if (rows[i].rc != 0 || rows[i].full[0] == '\0')
			continue;
		arena_init(&arena, 512);
		assert_int_equal(address_parse(str_of(rows[i].full), &arena, &a, NULL), 0);
		assert_true(str_is(a.full, rows[i].full));
		assert_true(str_is(a.domain, rows[i].domain));
		arena_reset(&arena);
	}
}

static void
lengths(void **state)
{
	struct arena arena;
	struct address a;
	char text[70000];

	(void)state;
	arena_init(&arena, 512);
	/* a long local part passes (VERP), a huge one does not */
	snprintf(text, sizeof text, "%0200d@b.c", 1);
	assert_int_equal(address_parse(str_of(text), &arena, &a, NULL), 0);
	snprintf(text, sizeof text, "%0256d@b.c", 1);
	assert_int_equal(address_parse(str_of(text), &arena, &a, NULL), PH_EINVAL);
	snprintf(text, sizeof text, "a@%063d.c", 1);
	assert_int_equal(address_parse(str_of(text), &arena, &a, NULL), 0);
	snprintf(text, sizeof text, "a@%064d.c", 1);
	assert_int_equal(address_parse(str_of(text), &arena, &a, NULL), PH_EINVAL);
	for (size_t i = 0; i < 65000; i += 2)
		memcpy(text + i, i == 0 ? "<@" : ",@", 2);
	text[65000] = '\0';
	struct ph_str in = str_of(text);
	assert_int_equal(address_parse_path(&in, RCPT, &arena, &a, NULL), PH_EINVAL);
	memset(text, '"', 65000);
	text[0] = '<';
	in = str_of(text);
	assert_int_equal(address_parse_path(&in, RCPT, &arena, &a, NULL), PH_EINVAL);
	memset(text + 1, '<', 64999);
	in = str_of(text);
	assert_int_equal(address_parse_path(&in, RCPT, &arena, &a, NULL), PH_EINVAL);
	arena_reset(&arena);
}

static void
domains(void **state)
{
	(void)state;
	assert_true(address_domain_valid(STR("example.com")));
	assert_true(address_domain_valid(STR("[192.0.2.1]")));
	assert_true(address_domain_valid(STR("b\xc3\xbc""cher.de")));
	assert_false(address_domain_valid(STR("")));
	assert_false(address_domain_valid(STR("example.com.")));
	assert_false(address_domain_valid(STR("a b")));
	assert_false(address_domain_valid(STR("b\xfc""cher.de")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(accepted_addresses_parse_again),
		cmocka_unit_test(lengths),
		cmocka_unit_test(domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
