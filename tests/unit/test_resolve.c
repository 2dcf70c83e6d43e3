/*
 * test_resolve.c - names to addresses through libunbound, asked of a small
 * name server that runs on the same loop.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "net/resolve.h"

enum { A = 1, MX = 15, AAAA = 28, NXDOMAIN = 3, SERVFAIL = 2, SILENT = 100 };

static const struct record { const char *name; int type, rcode; const char *data; } zone[] = {
	{ "plain.example.org", A, 0, "192.0.2.1" },
	{ "both.example.org", A, 0, "192.0.2.1" }, { "both.example.org", A, 0, "192.0.2.2" },
	{ "both.example.org", AAAA, 0, "2001:db8::1" },
	{ "sneaky.example.org", AAAA, 0, "::ffff:127.0.0.1" },
	{ "inside.test", A, 0, "192.0.2.3" },
	{ "mx.example.org", MX, 0, "20 b.example.org" }, { "mx.example.org", MX, 0, "10 a.example.org" },
	{ "mx.example.org", MX, 0, "10 a2.example.org" }, { "mx.example.org", A, 0, "192.0.2.99" },
	{ "a.example.org", A, 0, "192.0.2.10" }, { "a2.example.org", A, 0, "192.0.2.11" },
	{ "b.example.org", A, 0, "192.0.2.20" }, { "b.example.org", AAAA, 0, "2001:db8::20" },
	{ "nullmx.example.org", MX, 0, "0 ." }, { "nullmx.example.org", A, 0, "192.0.2.98" },
	{ "sickmx.example.org", MX, SERVFAIL, "" }, { "sickmx.example.org", A, 0, "192.0.2.97" },
	{ "halfsick.example.org", A, 0, "192.0.2.96" }, { "halfsick.example.org", AAAA, SERVFAIL, "" },
	{ "deadmx.example.org", MX, 0, "5 nowhere.example.org" },
	{ "oddmx.example.org", MX, 0, "5 evil\r\nname.example.org" },
	{ "sick.example.org", A, SERVFAIL, "" }, { "sick.example.org", AAAA, SERVFAIL, "" },
	{ "lame.example.org", A, 0, "192.0.2.95" }, { "lame.example.org", AAAA, SILENT, "" },
	{ "silent.example.org", A, SILENT, "" }, { "silent.example.org", AAAA, SILENT, "" },
	{ "empty.example.org", 0, 0, "" },
};

static struct loop *l;
static struct resolver *r;
static struct watch *server;
static int server_fd;
static uint16_t server_port;
static size_t asked;

/* --- the name server --- */

static void
put_name(struct buf *b, const char *name)
{
	struct ph_str rest = str_of(name);
	while (rest.n > 0) {
		struct ph_str label = str_cut(rest, '.', &rest);
		if (label.n == 0)
			break;
		buf_u8(b, (uint8_t)label.n);
		buf_addstr(b, label);
	}
	buf_u8(b, 0);
}

static void
put16(struct buf *b, unsigned v)
{
	buf_u8(b, (uint8_t)(v >> 8));
	buf_u8(b, (uint8_t)v);
}

static void
put_record(struct buf *b, const struct record *rec)
{
	struct buf data = { 0 };
	uint8_t ip[16];
	if (rec->type == MX) {
		struct ph_str host, pref = str_cut(str_of(rec->data), ' ', &host);
		uint64_t n = 0;
		assert_int_equal(str_u64(pref, &n), 0);
		put16(&data, (unsigned)n);
		put_name(&data, host.p);
	} else {
		assert_int_equal(inet_pton(rec->type == A ? AF_INET : AF_INET6, rec->data, ip), 1);
		buf_add(&data, ip, rec->type == A ? 4 : 16);
	}
	put16(b, 0xc00c);               /* the question's name */
	put16(b, (unsigned)rec->type);
	put16(b, 1);
	put16(b, 0);
	put16(b, 300);
	put16(b, (unsigned)data.len);
	buf_addstr(b, buf_view(&data));
	buf_free(&data);
}

static void
server_ready(void *arg, unsigned ready)
{
	uint8_t q[512];
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	(void)arg;
	(void)ready;
	ssize_t n = recvfrom(server_fd, q, sizeof q, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
	if (n < 17)
		return;
	char name[256];
	size_t at = 12, o = 0;
	while (q[at] != 0 && at + q[at] + 1u < (size_t)n) {
		memcpy(name + o, q + at + 1, q[at]);
		o += q[at];
		name[o++] = '.';
		at += q[at] + 1u;
	}
	name[o > 0 ? o - 1 : 0] = '\0';
	at++;
	int type = q[at] << 8 | q[at + 1], rcode = NXDOMAIN;
	size_t end = at + 4, answers = 0;
	struct buf records = { 0 }, b = { 0 };
	asked++;
	for (size_t i = 0; i < sizeof zone / sizeof zone[0]; i++) {
		if (strcasecmp(zone[i].name, name) != 0)
			continue;
		if (rcode == NXDOMAIN)
			rcode = 0;
		if (zone[i].type == type && zone[i].rcode == 0) {
			put_record(&records, &zone[i]);
			answers++;
		} else if (zone[i].type == type)
			rcode = zone[i].rcode;
	}
	if (rcode != SILENT) {
		buf_add(&b, q, 2);
		put16(&b, 0x8180u | (unsigned)rcode);
		put16(&b, 1);
		put16(&b, (unsigned)answers);
		put16(&b, 0);
		put16(&b, 0);
		buf_add(&b, q + 12, end - 12);
		buf_addstr(&b, buf_view(&records));
		assert_true(sendto(server_fd, b.data + b.head, b.len, 0, (struct sockaddr *)&from, len) > 0);
	}
	buf_free(&records);
	buf_free(&b);
}

/* --- asking --- */

static int calls, status;
static char got[1024], why[512];

static void
answered(void *arg, const struct resolve_answer *a)
{
	char text[PH_ADDR_TEXT];
	(void)arg;
	calls++;
	status = a->status;
	got[0] = '\0';
	snprintf(why, sizeof why, "%s", a->why);
	for (size_t i = 0; i < a->n; i++) {
		size_t at = strlen(got);
		assert_int_equal(a->addrs[i].port, 25);
		snprintf(got + at, sizeof got - at, "%s%s/%s", i ? " " : "", a->names[i],
		         ph_addr_text(&a->addrs[i], text));
	}
	loop_stop(l);
}

static void
overdue(struct timer *t)
{
	(void)t;
	fail_msg("no answer");
}

static void
ask(const char *name, bool mx)
{
	struct timer t = { .fn = overdue };
	calls = 0;
	assert_non_null(resolve_start(r, name, 25, mx, answered, NULL));
	assert_int_equal(calls, 0);     /* never from inside */
	timer_start(l, &t, 20000);
	loop_run(l);
	timer_stop(l, &t);
	assert_int_equal(calls, 1);
}

static int
setup(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	char text[64];
	(void)state;
	l = loop_new();
	server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(server_fd, (struct sockaddr *)&in, sizeof in) != 0 ||
	    getsockname(server_fd, (struct sockaddr *)&in, &len) != 0)
		return 1;
	server_port = ntohs(in.sin_port);
	server = watch_open(l, server_fd, STREAM_READ, server_ready, NULL);
	snprintf(text, sizeof text, "127.0.0.1@%u", server_port);
	const char *const v[] = { text };
	const struct resolver_config cfg = { .servers = { v, 1 }, .limit = { 3000 } };
	r = resolver_new(l, &cfg);
	asked = 0;
	return server == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	resolver_free(&r);
	watch_close(&server);
	loop_free(&l);
	close(server_fd);
	return 0;
}

static void
names_become_addresses(void **state)
{
	static const struct { const char *name; bool mx; int status; const char *got; } cases[] = {
		{ "192.0.2.7", false, 0, "192.0.2.7/192.0.2.7" },
		{ "::1", true, 0, "::1/::1" },
		{ "plain.example.org", false, 0, "plain.example.org/192.0.2.1" },
		{ "PLAIN.Example.org.", false, 0, "PLAIN.Example.org./192.0.2.1" },
		{ "plain.example.org", true, 0, "plain.example.org/192.0.2.1" },        /* no MX: itself */
		{ "inside.test", false, 0, "inside.test/192.0.2.3" },
		{ "sneaky.example.org", false, 0, "sneaky.example.org/127.0.0.1" },
		{ "halfsick.example.org", false, 0, "halfsick.example.org/192.0.2.96" },
		{ "lame.example.org", false, 0, "lame.example.org/192.0.2.95" },        /* AAAA never comes */
		{ "nowhere.example.org", false, PH_ENOENT, "" },
		{ "nowhere.example.org", true, PH_ENOENT, "" },
		{ "empty.example.org", false, PH_ENOENT, "" },
		{ "sick.example.org", false, PH_EDNS, "" },
		{ "nullmx.example.org", true, PH_ENOTSUP, "" },
		{ "nullmx.example.org", false, 0, "nullmx.example.org/192.0.2.98" },
		{ "sickmx.example.org", true, PH_EDNS, "" },    /* not the A record: RFC 5321 5.1 */
		{ "deadmx.example.org", true, PH_ENOENT, "" },
		{ "oddmx.example.org", true, PH_EDNS, "" },
		{ "", false, PH_ENOENT, "" },
		{ "double..dot", false, PH_ENOENT, "" },
		{ "double..dot", true, PH_ENOENT, "" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ask(cases[i].name, cases[i].mx);
		if (status != cases[i].status || strcmp(got, cases[i].got) != 0)
			fail_msg("%s%s: status %d \"%s\" (%s)", cases[i].name, cases[i].mx ? " MX" : "",
			         status, got, why);
		if (status != 0)
			assert_true(why[0] != '\0');
		assert_null(strpbrk(why, "\r\n"));
	}
}

static void
families_take_turns(void **state)
{
	(void)state;
	ask("both.example.org", false);
	assert_int_equal(status, 0);
	/* the order among A records is the server's business */
	static const char *const either[] = {
		"both.example.org/2001:db8::1 both.example.org/192.0.2.1 both.example.org/192.0.2.2",
		"both.example.org/2001:db8::1 both.example.org/192.0.2.2 both.example.org/192.0.2.1",
	};
	assert_true(strcmp(got, either[0]) == 0 || strcmp(got, either[1]) == 0);
}

static void
mx_hosts_come_by_preference_equals_by_chance(void **state)
{
	static const char tail[] = " b.example.org/2001:db8::20 b.example.org/192.0.2.20";
	int first_a = 0, first_a2 = 0;
	(void)state;
	for (int i = 0; i < 64 && (first_a == 0 || first_a2 == 0); i++) {
		ask("mx.example.org", true);
		assert_int_equal(status, 0);
		size_t n = strlen(got);
		assert_true(n > sizeof tail);
		assert_string_equal(got + n - (sizeof tail - 1), tail);
		first_a += strncmp(got, "a.example.org/", 14) == 0;
		first_a2 += strncmp(got, "a2.example.org/", 15) == 0;
	}
	assert_true(first_a > 0 && first_a2 > 0);       /* 2^-63 */
}

static void
silence_ends_at_the_limit(void **state)
{
	(void)state;
	int64_t before = loop_now(l);
	ask("silent.example.org", false);
	assert_int_equal(status, PH_EDNS);
	assert_true(loop_now(l) - before >= 2900);
	assert_true(loop_now(l) - before < 6000);
}

static void
addresses_ask_nobody(void **state)
{
	(void)state;
	size_t busy = loop_busy(l);
	ask("192.0.2.7", true);
	assert_int_equal(asked, 0);
	assert_int_equal(loop_busy(l), busy);   /* libunbound was not even started */
}

static void
a_cancelled_question_is_not_answered(void **state)
{
	(void)state;
	calls = 0;
	struct resolve *q = resolve_start(r, "both.example.org", 25, false, answered, NULL);
	struct resolve *n = resolve_start(r, "192.0.2.1", 25, false, answered, NULL);
	resolve_cancel(&q);
	resolve_cancel(&n);
	assert_null(q);
	ask("plain.example.org", false);
	assert_string_equal(got, "plain.example.org/192.0.2.1");
	/* and one that is being asked when its resolver goes */
	(void)resolve_start(r, "silent.example.org", 25, true, answered, NULL);
	calls = 0;
	resolver_free(&r);
	assert_int_equal(calls, 0);
}

static void
the_hosts_file_counts_when_asked_for(void **state)
{
	char text[64];
	(void)state;
	snprintf(text, sizeof text, "127.0.0.1@%u", server_port);
	const char *const v[] = { text };
	const struct resolver_config cfg = { .servers = { v, 1 }, .limit = { 3000 }, .use_hosts = true };
	resolver_free(&r);
	r = resolver_new(l, &cfg);
	ask("localhost", false);
	assert_int_equal(status, 0);
	assert_non_null(strstr(got, "localhost/127.0.0.1"));
	ask("plain.example.org", false);
	assert_string_equal(got, "plain.example.org/192.0.2.1");
}

static void
written_addresses_are_read(void **state)
{
	static const struct { const char *in; int status; const char *out; } cases[] = {
		{ "192.0.2.1", 0, "192.0.2.1" }, { "[192.0.2.1]", 0, "192.0.2.1" }, { "::1", 0, "::1" },
		{ "[2001:DB8::1]", 0, "2001:db8::1" }, { "::ffff:192.0.2.1", 0, "192.0.2.1" },
		{ "", PH_EINVAL, "" }, { "[]", PH_EINVAL, "" }, { "192.0.2", PH_EINVAL, "" },
		{ "192.0.2.256", PH_EINVAL, "" }, { "192.0.2.1 ", PH_EINVAL, "" }, { "0x7f.1", PH_EINVAL, "" },
		{ "example.org", PH_EINVAL, "" }, { "fe80::1%eth0", PH_EINVAL, "" }, { "1:2:3", PH_EINVAL, "" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_addr a = { 0 };
		char text[PH_ADDR_TEXT];
		assert_int_equal(addr_parse(str_of(cases[i].in), 25, &a), cases[i].status);
		if (cases[i].status == 0) {
			assert_string_equal(ph_addr_text(&a, text), cases[i].out);
			assert_int_equal(a.port, 25);
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(names_become_addresses), T(families_take_turns),
		T(mx_hosts_come_by_preference_equals_by_chance), T(silence_ends_at_the_limit),
		T(addresses_ask_nobody), T(a_cancelled_question_is_not_answered),
		T(the_hosts_file_counts_when_asked_for),
		cmocka_unit_test(written_addresses_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
