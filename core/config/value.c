/*
 * value.c - text to typed values and back, one function per type.
 *
 * No unit is guessed and no junk is skipped: what is not understood in full is
 * refused, with words that say what would be.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/str.h"
#include "config/option.h"

#define HOST_MAX 253            /* RFC 1035 section 2.3.4, without the last dot */
#define LABEL_MAX 63

static const struct { const char *name; int64_t ms; } duration_units[] = {
	{ "w", 604800000 }, { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 },
	{ "ms", 1 },
};

/* Digits at the front: how many; *out is not written when there are none or
 * the number is too large. */
static size_t
number(struct ph_str s, uint64_t *out)
{
	size_t n = 0;

	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	return str_u64(str_head(s, n), out) == 0 ? n : 0;
}

static int64_t
duration_unit(struct ph_str *s)
{
	size_t n = 0;

	while (n < s->n && s->p[n] >= 'a' && s->p[n] <= 'z')
		n++;
	for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
		if (str_is(str_head(*s, n), duration_units[i].name)) {
			*s = str_skip(*s, n);
			return duration_units[i].ms;
		}
	}
	return 0;
}

int
value_duration(struct ph_str s, ph_duration *out, const char **why)
{
	int64_t total = 0;

	*why = "write a number and a unit, for example 5s, 2m or 500ms";
	if (str_is(s, "0")) {
		out->ms = 0;
		return 0;
	}
	if (s.n == 0)
		return PH_EINVAL;
	while (s.n > 0) {               /* 1h30m is two of them */
		uint64_t v;
		size_t n = number(s, &v);
		int64_t unit;

		if (n == 0)
			return PH_EINVAL;
		s = str_skip(s, n);
		unit = duration_unit(&s);
		if (unit == 0)
			return PH_EINVAL;
		if (v > (uint64_t)((INT64_MAX - total) / unit))
			return PH_EINVAL;
		total += (int64_t)v * unit;
	}
	out->ms = total;
	return 0;
}

int
value_size(struct ph_str s, ph_size *out, const char **why)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t v;
	size_t n = number(s, &v);
	unsigned shift;

	*why = "write bytes or a number with K, M, G or T, for example 512, 64K or 10M";
	if (n == 0 || s.n - n > 1)
		return PH_EINVAL;
	if (n == s.n) {
		out->bytes = v;
		return 0;
	}
	unit = s.p[n] != '\0' ? strchr(units, s.p[n] & ~0x20) : NULL;
	if (unit == NULL || *unit == '\0')
		return PH_EINVAL;
	shift = 10 * (unsigned)(unit - units + 1);
	if (v > UINT64_MAX >> shift)
		return PH_EINVAL;
	out->bytes = v << shift;
	return 0;
}

int
value_bool(struct ph_str s, bool *out, const char **why)
{
	static const struct { const char *name; bool value; } names[] = {
		{ "true", true }, { "yes", true }, { "on", true },
		{ "false", false }, { "no", false }, { "off", false },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (str_iis(s, names[i].name)) {
			*out = names[i].value;
			return 0;
		}
	}
	*why = "write yes or no (also true, false, on, off)";
	return PH_EINVAL;
}

int
value_int(struct ph_str s, int64_t *out, const char **why)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	uint64_t v;

	*why = "write a whole number in digits";
	if (negative)
		s = str_skip(s, 1);
	/* other readers of YAML would take 010 for eight */
	if (s.n > 1 && s.p[0] == '0') {
		*why = "write a whole number without leading zeros";
		return PH_EINVAL;
	}
	if (str_u64(s, &v) != 0 || v > (uint64_t)INT64_MAX)
		return PH_EINVAL;
	*out = negative ? -(int64_t)v : (int64_t)v;
	return 0;
}

/* 4, 6, or 0 when s is not an address. */
static uint8_t
address_family(struct ph_str s, uint8_t ip[16])
{
	char text[INET6_ADDRSTRLEN];

	if (s.n == 0 || s.n >= sizeof text || memchr(s.p, '\0', s.n) != NULL)
		return 0;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	memset(ip, 0, 16);
	if (inet_pton(AF_INET, text, ip) == 1)
		return 4;
	return inet_pton(AF_INET6, text, ip) == 1 ? 6 : 0;
}

static bool
host_valid(struct ph_str s)
{
	size_t label = 0;
	bool letter = false;

	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	if (s.n == 0 || s.n > HOST_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		/* underscores are not for hosts, yet they exist in private networks */
		if (!alpha && !(c >= '0' && c <= '9') && c != '_' && (c != '-' || label == 0))
			return false;
		letter |= alpha || c == '-' || c == '_';
		if (++label > LABEL_MAX)
			return false;
	}
	/* digits and dots alone are a mistyped address */
	return label > 0 && s.p[s.n - 1] != '-' && letter;
}

static int
port_value(struct ph_str s, int32_t *out)
{
	uint64_t v;

	if (s.n > 5 || str_u64(s, &v) != 0 || v > 65535)
		return PH_EINVAL;
	*out = (int32_t)v;
	return 0;
}

/* Splits host and port; an address with colons and no brackets is all host.
 * *out_port -1: none was written. */
static int
split_port(struct ph_str s, struct ph_str *host, bool *bracket, int32_t *out_port)
{
	struct ph_str rest;
	uint8_t ip[16];

	*out_port = -1;
	*bracket = s.n > 0 && s.p[0] == '[';
	if (*bracket) {
		*host = str_cut(str_skip(s, 1), ']', &rest);
		if (rest.p == NULL)
			return PH_EINVAL;
		if (rest.n == 0)
			return 0;
		if (rest.p[0] != ':')
			return PH_EINVAL;
		return port_value(str_skip(rest, 1), out_port);
	}
	if (address_family(s, ip) == 6) {
		*host = s;
		return 0;
	}
	*host = str_cut(s, ':', &rest);
	return rest.p == NULL ? 0 : port_value(rest, out_port);
}

int
value_endpoint(struct ph_str s, struct arena *a, struct ph_endpoint *out, const char **why)
{
	struct ph_str host;
	int32_t port;
	uint8_t ip[16], family;
	bool bracket;

	*why = "write host:port, for example smtp.example.com:25, 192.0.2.1:25, \"[::1]:25\" or "
	    "\"[smtp.example.com]\" (a name in brackets skips the MX look-up)";
	if (split_port(s, &host, &bracket, &port) != 0 || port == 0)
		return PH_EINVAL;
	family = address_family(host, ip);
	if (family == 0 && !host_valid(host))
		return PH_EINVAL;
	if (host.p[host.n - 1] == '.')
		host.n--;
	out->host = arena_strndup(a, host.p, host.n);
	out->port = port > 0 ? (uint16_t)port : 0;
	out->literal = bracket || family != 0;
	return 0;
}

int
value_listen(struct ph_str s, struct ph_addr *out, const char **why)
{
	struct ph_addr addr = { 0 };
	struct ph_str host;
	int32_t port;
	bool bracket;

	*why = "write address:port, for example 127.0.0.1:25, \"[::1]:25\", or \"*:25\" for all "
	    "addresses";
	if (split_port(s, &host, &bracket, &port) != 0 || port < 0)
		return PH_EINVAL;
	addr.port = (uint16_t)port;
	if (bracket || !str_is(host, "*")) {
		addr.family = address_family(host, addr.ip);
		if (addr.family == 0 || (addr.family == 6) != bracket)
			return PH_EINVAL;
	}
	*out = addr;
	return 0;
}

int
value_network(struct ph_str s, struct ph_network *out, const char **why)
{
	static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };
	struct ph_network net = { 0 };
	struct ph_str bits, addr = str_cut(s, '/', &bits);
	unsigned widest;
	uint64_t v;

	*why = "write an address or a network, for example 192.0.2.1, 10.0.0.0/8 or \"2001:db8::/32\"";
	net.family = address_family(addr, net.ip);
	if (net.family == 0)
		return PH_EINVAL;
	widest = net.family == 4 ? 32 : 128;
	v = widest;
	if (bits.p != NULL && (bits.n > 3 || str_u64(bits, &v) != 0 || v > widest))
		return PH_EINVAL;
	net.bits = (uint8_t)v;
	for (unsigned i = net.bits; i < widest; i++) {
		if (net.ip[i / 8] & (0x80 >> i % 8)) {
			*why = "the part of the address behind the prefix length must be zero, "
			    "for example 10.0.0.0/8 rather than 10.1.2.3/8";
			return PH_EINVAL;
		}
	}
	if (net.family == 6 && net.bits >= 96 && memcmp(net.ip, mapped, sizeof mapped) == 0) {
		memmove(net.ip, net.ip + 12, 4);
		memset(net.ip + 4, 0, 12);
		net.family = 4;
		net.bits = (uint8_t)(net.bits - 96);
	}
	*out = net;
	return 0;
}

void
value_duration_text(ph_duration d, struct buf *out)
{
	int64_t ms = d.ms;

	if (ms <= 0) {
		buf_adds(out, "0");
		return;
	}
	/* the largest unit that leaves nothing over, else 1h30m: never a rounded number;
	 * weeks only where days would be many */
	for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
		int64_t unit = duration_units[i].ms;

		if (i == 0 && (ms % unit != 0 || ms < 2 * unit))
			continue;
		if (ms / unit == 0)
			continue;
		buf_printf(out, "%lld%s", (long long)(ms / unit), duration_units[i].name);
		ms %= unit;
	}
}

void
value_size_text(ph_size s, struct buf *out)
{
	static const char *const units[] = { "", "K", "M", "G", "T" };
	uint64_t v = s.bytes;
	size_t i = 0;

	while (v != 0 && v % 1024 == 0 && i + 1 < sizeof units / sizeof units[0]) {
		v /= 1024;
		i++;
	}
	buf_printf(out, "%llu%s", (unsigned long long)v, units[i]);
}
