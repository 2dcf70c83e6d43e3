/*
 * test_dial.c - which of a next hop's addresses is connected to, on the fake
 * loop with fake names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "net/dial.h"
#include "../dialogue/fake_loop.h"
#include "../dialogue/fake_resolve.h"

static struct loop *l;
static struct resolver *r;
static struct dial *d;
static int calls, status;
static size_t host_index;
static char host[128], addr[PH_ADDR_TEXT + 8], why[256];

static void
dialed(void *arg, const struct dial_result *res)
{
	char text[PH_ADDR_TEXT];
	(void)arg;
	calls++;
	status = res->status;
	host_index = res->host_index;
	snprintf(why, sizeof why, "%s", res->why);
	if (res->status == 0) {
		struct stream *s = res->stream;
		assert_non_null(s);
		assert_int_equal(stream_connected(s), 0);
		snprintf(host, sizeof host, "%s", res->host);
		snprintf(addr, sizeof addr, "%s %u", ph_addr_text(&res->addr, text), res->addr.port);
		stream_close(&s);
	} else {
		assert_null(res->stream);
	}
	dial_cancel(&d);        /* inside its own callback: harmless */
}

static int
setup(void **state)
{
	const struct resolver_config cfg = { .limit = { 20000 } };
	(void)state;
	l = loop_new();
	r = resolver_new(l, &cfg);
	calls = status = 0;
	host[0] = addr[0] = why[0] = '\0';
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	dial_cancel(&d);
	resolver_free(&r);
	loop_free(&l);
	fake_reset_world();
	fake_names_forget();
	return 0;
}

static struct ph_addr
at(const char *text, uint16_t port)
{
	struct ph_addr a;
	assert_int_equal(addr_parse(str_of(text), port, &a), 0);
	return a;
}

static void
serve(const char *text, uint16_t port)
{
	struct ph_addr a = at(text, port);
	fake_serve(&a, NULL, NULL);
}

static void
dial(const struct ph_next_hop *hop, size_t first)
{
	calls = 0;
	d = dial_start(l, r, hop, first, (ph_duration){ 10000 }, dialed, NULL);
	assert_int_equal(calls, 0);
	fake_run_until_idle();
}

static struct ph_next_hop
hop_of(const struct ph_endpoint *v, size_t n)
{
	return (struct ph_next_hop){ .size = sizeof(struct ph_next_hop), .name = "test", .hosts = { v, n } };
}

static void
the_first_that_answers_is_taken(void **state)
{
	(void)state;
	const struct ph_endpoint v[] = {
		{ "192.0.2.1", 2525, true }, { "mx.example", 0, true }, { "192.0.2.9", 0, true },
	};
	struct ph_next_hop hop = hop_of(v, 3);
	hop.default_port = 587;
	fake_name("mx.example", "2001:db8::1 192.0.2.2 192.0.2.3");
	serve("192.0.2.3", 587);
	dial(&hop, 0);
	assert_int_equal(calls, 1);
	assert_int_equal(status, 0);
	assert_string_equal(host, "mx.example");
	assert_string_equal(addr, "192.0.2.3 587");
	assert_int_equal(host_index, 1);
	struct ph_addr first = at("192.0.2.1", 2525), six = at("2001:db8::1", 587), last = at("192.0.2.9", 587);
	assert_int_equal(fake_tries(&first), 1);
	assert_int_equal(fake_tries(&six), 1);
	assert_int_equal(fake_tries(&last), 0);
}

static void
mx_hosts_count_only_for_names_that_want_it(void **state)
{
	static const struct { const char *name; struct ph_endpoint e; const char *addr, *host; } cases[] = {
		{ "mx", { "example.org", 0, false }, "192.0.2.5 25", "in.example.org" },
		{ "no mx wanted", { "example.org", 0, true }, "192.0.2.4 25", "example.org" },
		{ "brackets kept", { "[example.org]", 0, true }, "192.0.2.4 25", "example.org" },
		{ "no mx there", { "bare.example.org", 26, false }, "192.0.2.6 26", "bare.example.org" },
		{ "address in brackets", { "[192.0.2.6]", 26, true }, "192.0.2.6 26", "192.0.2.6" },
	};
	(void)state;
	fake_name("example.org", "192.0.2.4");
	fake_mx("example.org", "in.example.org");
	fake_name("in.example.org", "192.0.2.5");
	fake_name("bare.example.org", "192.0.2.6");
	serve("192.0.2.4", 25);
	serve("192.0.2.5", 25);
	serve("192.0.2.6", 26);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_next_hop hop = hop_of(&cases[i].e, 1);
		dial(&hop, 0);
		assert_int_equal(status, 0);
		assert_string_equal(addr, cases[i].addr);
		assert_string_equal(host, cases[i].host);
	}
}

static void
dns_must_not_lead_home(void **state)
{
	static const struct { const char *addr; bool refused; } cases[] = {
		{ "127.0.0.1", true }, { "127.8.9.1", true }, { "::1", true }, { "0.0.0.0", true },
		{ "0.1.2.3", true }, { "::", true }, { "::127.0.0.1", true }, { "::ffff:127.0.0.1", true },
		{ "169.254.1.1", true }, { "fe80::1", true }, { "febf::1", true }, { "224.0.0.1", true },
		{ "255.255.255.255", true }, { "ff02::1", true },
		{ "10.0.0.1", false }, { "192.0.2.1", false }, { "fd00::1", false }, { "2001:db8::1", false },
	};
	(void)state;
	const struct ph_endpoint e = { "evil.example", 25, true };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_addr a = at(cases[i].addr, 25);
		struct ph_next_hop hop = hop_of(&e, 1);
		fake_name("evil.example", cases[i].addr);
		fake_serve(&a, NULL, NULL);
		size_t before = fake_tries(&a);
		dial(&hop, 0);
		assert_int_equal(calls, 1);
		assert_int_equal(status, cases[i].refused ? PH_EPERM : 0);
		assert_int_equal(fake_tries(&a) - before, !cases[i].refused);
		hop.allow_loopback = true;
		dial(&hop, 0);
		assert_int_equal(status, 0);
		/* What the operator wrote is obeyed. */
		const struct ph_endpoint written = { cases[i].addr, 25, true };
		hop = hop_of(&written, 1);
		dial(&hop, 0);
		assert_int_equal(status, 0);
	}
}

static void
a_name_of_this_machine_needs_permission(void **state)
{
	(void)state;
	/* The fake loop's own address: what a connection comes from. */
	const struct ph_endpoint e = { "me.example", 25, true };
	struct ph_next_hop hop = hop_of(&e, 1);
	fake_name("me.example", "192.0.2.200");
	serve("192.0.2.200", 25);
	dial(&hop, 0);
	assert_int_equal(status, PH_EPERM);
	assert_string_equal(why, "me.example[192.0.2.200]:25: DNS leads back to this machine; refused");
	hop.allow_loopback = true;
	dial(&hop, 0);
	assert_int_equal(status, 0);
}

static void
each_address_has_its_own_limit(void **state)
{
	(void)state;
	const struct ph_endpoint v[] = { { "192.0.2.1", 25, true }, { "192.0.2.2", 25, true },
	                                 { "192.0.2.3", 25, true } };
	struct ph_next_hop hop = hop_of(v, 3);
	struct ph_addr a = at("192.0.2.1", 25), b = at("192.0.2.2", 25);
	fake_silent(&a);
	fake_silent(&b);
	serve("192.0.2.3", 25);
	dial(&hop, 0);
	fake_loop_advance(9999);
	assert_int_equal(fake_tries(&b), 0);
	fake_loop_advance(1);
	assert_int_equal(fake_tries(&b), 1);
	fake_loop_advance(9999);
	assert_int_equal(calls, 0);
	fake_loop_advance(1);
	assert_int_equal(calls, 1);
	assert_string_equal(addr, "192.0.2.3 25");
	assert_int_equal(host_index, 2);
}

static void
the_last_failure_says_why(void **state)
{
	(void)state;
	const struct ph_endpoint refuses = { "192.0.2.1", 25, true }, far = { "2001:db8::7", 25, true };
	const struct ph_endpoint slow = { "slow.example", 25, true }, gone = { "gone.example", 25, true };
	const struct ph_endpoint null_mx = { "no-mail.example", 0, false }, sick = { "sick.example", 0, true };
	const struct ph_endpoint both[] = { refuses, gone };
	const struct { const struct ph_endpoint *v; size_t n; int status; const char *why; } cases[] = {
		{ &refuses, 1, PH_EREFUSED, "192.0.2.1:25: connection refused" },
		{ &far, 1, PH_EUNREACH, "[2001:db8::7]:25: host or network unreachable" },
		{ &slow, 1, PH_ETIMEOUT, "slow.example[192.0.2.8]:25: connection timed out" },
		{ &gone, 1, PH_ENOENT, "gone.example: not found" },
		{ &null_mx, 1, PH_ENOTSUP, "no-mail.example: not supported" },
		{ &sick, 1, PH_EDNS, "sick.example: name cannot be resolved" },
		/* a host that may be back tomorrow outweighs one that does not exist */
		{ both, 2, PH_EREFUSED, "192.0.2.1:25: connection refused" },
		{ NULL, 0, PH_EUNREACH, "no further host to try" },
	};
	struct ph_addr a = at("2001:db8::7", 25), s = at("192.0.2.8", 25);
	fake_unreachable(&a);
	fake_silent(&s);
	fake_name("slow.example", "192.0.2.8");
	fake_mx("no-mail.example", ".");
	fake_name_fails("sick.example", PH_EDNS);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_next_hop hop = hop_of(cases[i].v, cases[i].n);
		dial(&hop, 0);
		fake_loop_advance(10000);
		assert_int_equal(calls, 1);
		assert_int_equal(status, cases[i].status);
		assert_string_equal(why, cases[i].why);
	}
}

static void
going_on_behind_a_host_that_did_not_serve(void **state)
{
	(void)state;
	const struct ph_endpoint v[] = { { "mx.example", 25, true }, { "192.0.2.3", 25, true } };
	struct ph_next_hop hop = hop_of(v, 2);
	fake_name("mx.example", "192.0.2.1 192.0.2.2");
	serve("192.0.2.1", 25);
	serve("192.0.2.2", 25);
	serve("192.0.2.3", 25);
	static const char *const order[] = { "192.0.2.1 25", "192.0.2.2 25", "192.0.2.3 25" };
	for (size_t tried = 0; tried < 4; tried++) {
		calls = 0;
		d = dial_start(l, r, &hop, 0, (ph_duration){ 10000 }, dialed, NULL);
		for (size_t i = 0; i < tried; i++) {
			struct ph_addr skip = at((const char *[]){ "192.0.2.1", "192.0.2.2", "192.0.2.3" }[i], 25);
			dial_skip(d, &skip);
		}
		fake_run_until_idle();
		assert_int_equal(status, tried < 3 ? 0 : PH_EUNREACH);
		if (tried < 3)
			assert_string_equal(addr, order[tried]);
	}
	dial(&hop, 1);
	assert_string_equal(addr, "192.0.2.3 25");
	dial(&hop, 2);
	assert_int_equal(status, PH_EUNREACH);
}

static void
a_cancel_holds_at_every_step(void **state)
{
	(void)state;
	const struct ph_endpoint v[] = { { "slow.example", 25, true } };
	struct ph_next_hop hop = hop_of(v, 1);
	struct ph_addr s = at("192.0.2.8", 25);
	fake_silent(&s);
	fake_name("slow.example", "192.0.2.8");
	for (int when = 0; when < 3; when++) {
		calls = 0;
		if (when == 1)
			fake_name_silent("slow.example");
		else
			fake_name("slow.example", "192.0.2.8");
		d = dial_start(l, r, &hop, 0, (ph_duration){ 10000 }, dialed, NULL);
		if (when > 0)
			fake_run_until_idle();
		dial_cancel(&d);
		assert_null(d);
		fake_loop_advance(60000);
		assert_int_equal(calls, 0);
		assert_int_equal(loop_busy(l), 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_that_answers_is_taken), T(mx_hosts_count_only_for_names_that_want_it),
		T(dns_must_not_lead_home), T(a_name_of_this_machine_needs_permission),
		T(each_address_has_its_own_limit), T(the_last_failure_says_why),
		T(going_on_behind_a_host_that_did_not_serve), T(a_cancel_holds_at_every_step),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
