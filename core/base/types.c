/*
 * types.c - the functions of posthouse/types.h: texts for codes, addresses
 * and networks.
 */
#include <arpa/inet.h>
#include <string.h>

#include <posthouse/types.h>

const char *
ph_strerror(int code)
{
	switch (code) {
	case 0:
		return "no error";
#define X(name, value, text) case name: return text;
	PH_ERRORS(X)
#undef X
	case -4095:                     /* libuv's end of file */
		return "end of file";
	default:
		break;
	}
	if (code < 0 && code > -4000) {
#ifdef __GLIBC__
		const char *text = strerrordesc_np(-code);
#else
		const char *text = strerror(-code);
#endif
		if (text != NULL)
			return text;
	}
	return "unknown error";
}

/* RFC 4291 section 2.5.5.2: ::ffff:a.b.c.d is an IPv4 address in disguise. */
static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

/* The bytes that count and the family they belong to. */
static const uint8_t *
plain_address(uint8_t family, const uint8_t ip[16], uint8_t *out_family)
{
	if (family == 6 && memcmp(ip, mapped, sizeof mapped) == 0) {
		*out_family = 4;
		return ip + sizeof mapped;
	}
	*out_family = family;
	return ip;
}

const char *
ph_addr_text(const struct ph_addr *a, char out[PH_ADDR_TEXT])
{
	uint8_t family;
	const uint8_t *ip = plain_address(a->family, a->ip, &family);

	if (family != 4 && family != 6)
		return memcpy(out, "local", sizeof "local");
	if (inet_ntop(family == 4 ? AF_INET : AF_INET6, ip, out, PH_ADDR_TEXT) == NULL)
		out[0] = '\0';          /* cannot be: the buffer is larger than any address */
	return out;
}

bool
ph_addr_is_loopback(const struct ph_addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };
	uint8_t family;
	const uint8_t *ip = plain_address(a->family, a->ip, &family);

	switch (family) {
	case 0:
		return true;            /* a local socket cannot come from elsewhere */
	case 4:
		return ip[0] == 127;
	case 6:
		return memcmp(ip, one, sizeof one) == 0;
	default:
		return false;
	}
}

static bool
network_has(const struct ph_network *net, uint8_t family, const uint8_t *ip)
{
	const uint8_t *base = net->ip;
	unsigned bits = net->bits, whole;
	uint8_t net_family = net->family;

	/* ::ffff:192.0.2.0/120 means 192.0.2.0/24 */
	if (net_family == 6 && bits >= 96)
		base = plain_address(6, net->ip, &net_family);
	if (net_family != family)
		return false;
	if (base != net->ip)
		bits -= 96;
	if (bits > (family == 4 ? 32u : 128u))
		return false;
	whole = bits / 8;
	if (memcmp(base, ip, whole) != 0)
		return false;
	bits %= 8;
	return bits == 0 || (base[whole] ^ ip[whole]) >> (8 - bits) == 0;
}

bool
ph_network_has(const struct ph_networks *nets, const struct ph_addr *a)
{
	uint8_t family;
	const uint8_t *ip = plain_address(a->family, a->ip, &family);

	if (family != 4 && family != 6)
		return false;
	for (size_t i = 0; i < nets->n; i++)
		if (network_has(&nets->v[i], family, ip))
			return true;
	return false;
}
