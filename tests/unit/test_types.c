/*
 * test_types.c - texts of codes and addresses; who is in a network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

static struct ph_addr
addr_of(const char *text)
{
	struct ph_addr a = { 0 };

	if (inet_pton(AF_INET, text, a.ip) == 1)
		a.family = 4;
	else if (inet_pton(AF_INET6, text, a.ip) == 1)
		a.family = 6;
	return a;
}

static void
codes_have_texts(void **state)
{
	(void)state;
	assert_string_equal(ph_strerror(0), "no error");
	assert_string_equal(ph_strerror(PH_ESTALE), "the object is gone or has moved on");
	assert_string_equal(ph_strerror(-ENOENT), strerror(ENOENT));
	assert_string_equal(ph_strerror(-4095), "end of file");
	assert_string_equal(ph_strerror(-3999), "unknown error");
	assert_string_equal(ph_strerror(INT32_MIN), "unknown error");
	assert_string_equal(ph_strerror(7), "unknown error");
}

static void
addresses_have_texts(void **state)
{
	static const char *const v[][2] = {
		{ "192.0.2.1", "192.0.2.1" }, { "2001:db8::1", "2001:db8::1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" }, { "::1", "::1" }, { "unix", "local" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char text[PH_ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_addr a = addr_of(v[i][0]);

		assert_string_equal(ph_addr_text(&a, text), v[i][1]);
	}
}

static void
loopback(void **state)
{
	static const struct { const char *text; bool is; } v[] = {
		{ "127.0.0.1", true }, { "127.255.255.254", true }, { "128.0.0.1", false },
		{ "::1", true }, { "::2", false }, { "::ffff:127.0.0.1", true },
		{ "::ffff:10.0.0.1", false }, { "::127.0.0.1", false }, { "local", true },
		{ "0.0.0.0", false }, { "::", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_addr a = addr_of(v[i].text);

		if (ph_addr_is_loopback(&a) != v[i].is)
			fail_msg("%s", v[i].text);
	}
}

static void
networks(void **state)
{
	static const struct { const char *net; uint8_t bits; const char *addr; bool in; } v[] = {
		{ "10.0.0.0", 8, "10.255.0.1", true }, { "10.0.0.0", 8, "11.0.0.0", false },
		{ "192.0.2.128", 25, "192.0.2.129", true }, { "192.0.2.128", 25, "192.0.2.127", false },
		{ "192.0.2.1", 32, "192.0.2.1", true }, { "192.0.2.1", 32, "192.0.2.0", false },
		{ "0.0.0.0", 0, "203.0.113.9", true }, { "0.0.0.0", 0, "::1", false },
		{ "::", 0, "2001:db8::1", true }, { "::", 0, "192.0.2.1", false },
		{ "2001:db8::", 33, "2001:db8:7fff::", true }, { "2001:db8::", 33, "2001:db8:8000::", false },
		{ "10.0.0.0", 8, "::ffff:10.1.2.3", true }, { "::ffff:10.0.0.0", 104, "10.1.2.3", true },
		{ "::ffff:10.0.0.0", 104, "11.1.2.3", false }, { "::1", 128, "::1", true },
		{ "10.0.0.0", 8, "local", false }, { "10.0.0.0", 33, "10.0.0.0", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct ph_addr a = addr_of(v[i].addr), base = addr_of(v[i].net);
		struct ph_network net = { base.family, v[i].bits, { 0 } };
		struct ph_networks nets = { &net, 1 };

		memcpy(net.ip, base.ip, sizeof net.ip);
		if (ph_network_has(&nets, &a) != v[i].in)
			fail_msg("%s/%u %s", v[i].net, v[i].bits, v[i].addr);
		nets.n = 0;
		assert_false(ph_network_has(&nets, &a));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_have_texts), cmocka_unit_test(addresses_have_texts),
		cmocka_unit_test(loopback), cmocka_unit_test(networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
