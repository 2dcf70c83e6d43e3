/*
 * address.c - the one parser of mailboxes and paths (RFC 5321 4.1.2, 6531 3.3).
 *
 * A path is read once, from left to right, and everybody uses the result: the
 * relay decision, the queue and the client never look at the text again, so
 * that no two places can disagree about the domain.  What was accepted can be
 * written between "<" and ">" on another server's command line as it stands:
 * no control characters, no bytes that are not UTF-8, no route.
 */
#include <arpa/inet.h>

#include "mail/address.h"

/* RFC 5321 4.5.3.1 asks for 64 octets of local part; bounce-tracking senders
 * (VERP, SRS) exceed them every day, so only the sum is limited. */
#define LOCAL_MAX  255
#define DOMAIN_MAX 255
#define LABEL_MAX  63
#define LITERAL_MAX 64

enum { C_ATEXT = 1, C_LABEL = 2 };

/* atext of RFC 5322 3.2.3; label characters of a domain, with the underscore
 * that RFC 5321 does not have and the world does. */
static const uint8_t classes[256] = {
	['a' ... 'z'] = C_ATEXT | C_LABEL, ['A' ... 'Z'] = C_ATEXT | C_LABEL,
	['0' ... '9'] = C_ATEXT | C_LABEL, ['-'] = C_ATEXT | C_LABEL, ['_'] = C_ATEXT | C_LABEL,
	['!'] = C_ATEXT, ['#'] = C_ATEXT, ['$'] = C_ATEXT, ['%'] = C_ATEXT, ['&'] = C_ATEXT,
	['\''] = C_ATEXT, ['*'] = C_ATEXT, ['+'] = C_ATEXT, ['/'] = C_ATEXT, ['='] = C_ATEXT,
	['?'] = C_ATEXT, ['^'] = C_ATEXT, ['`'] = C_ATEXT, ['{'] = C_ATEXT, ['|'] = C_ATEXT,
	['}'] = C_ATEXT, ['~'] = C_ATEXT,
	[0x80 ... 0xff] = C_ATEXT | C_LABEL,
};

static inline uint8_t
byte_at(struct ph_str s, size_t i)
{
	return i < s.n ? (uint8_t)s.p[i] : 0;
}

/* Bytes of the local part at the start of s; 0 and *why when there is none. */
static size_t
scan_local(struct ph_str s, const char **why)
{
	size_t i = 0;

	if (byte_at(s, 0) == '"') {
		for (i = 1; i < s.n; i++) {
			uint8_t c = (uint8_t)s.p[i];

			if (c == '"')
				return i + 1;
			if (c == '\\')          /* quoted-pairSMTP: printable ASCII only */
				c = byte_at(s, ++i) < 0x80 ? byte_at(s, i) : 0;
			if (c < 0x20 || c == 0x7f)
				break;
		}
		*why = i < s.n ? "control character in a quoted local part"
		               : "quoted local part has no end";
		return 0;
	}
	for (;;) {
		size_t start = i;

		while (i < s.n && (classes[(uint8_t)s.p[i]] & C_ATEXT))
			i++;
		if (i == start) {
			*why = "bad local part";
			return 0;
		}
		if (byte_at(s, i) != '.')
			return i;
		i++;
	}
}

/* Characters that IDNA takes for a dot or that pass for an "@": with them one
 * text would be two domains.  C1 controls have no place in a name either. */
static bool
utf8_deceives(struct ph_str s)
{
	static const char *const bad[] = {
		"\xe3\x80\x82" /* U+3002 */, "\xef\xbc\x8e" /* U+FF0E */, "\xef\xbd\xa1" /* U+FF61 */,
		"\xe2\x80\xa4" /* U+2024 */, "\xef\xb9\x92" /* U+FE52 */, "\xef\xbc\xa0" /* U+FF20 */,
		"\xef\xb9\xab" /* U+FE6B */, "\xe2\x80\xa8" /* U+2028 */,
		"\xe2\x80\xa9" /* U+2029 */,
	};

	for (size_t i = 0; i + 1 < s.n; i++) {
		const uint8_t *p = (const uint8_t *)s.p + i;

		if (p[0] == 0xc2 && p[1] < 0xa0)
			return true;
		if (p[0] < 0xe2 || i + 3 > s.n)
			continue;
		for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++)
			if (memcmp(p, bad[k], 3) == 0)
				return true;
	}
	return false;
}

/* Bytes of the address literal at the start of s, 0 when it is none.  Only
 * the two registered kinds: "[192.0.2.1]" and "[IPv6:2001:db8::1]". */
static size_t
scan_literal(struct ph_str s)
{
	char text[LITERAL_MAX];
	unsigned char ip[16];
	const char *end = memchr(s.p, ']', s.n < LITERAL_MAX ? s.n : LITERAL_MAX);
	struct ph_str in;
	int family = AF_INET;

	if (end == NULL)
		return 0;
	in = str_make(s.p + 1, (size_t)(end - s.p) - 1);
	if (str_istarts(in, "IPv6:")) {
		family = AF_INET6;
		in = str_skip(in, 5);
	}
	if (in.n == 0 || memchr(in.p, 0, in.n) != NULL)
		return 0;
	memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	return inet_pton(family, text, ip) == 1 ? (size_t)(end - s.p) + 1 : 0;
}

/* Bytes of the domain at the start of s, 0 and *why when there is none. */
static size_t
scan_domain(struct ph_str s, const char **why)
{
	size_t i = 0;

	if (byte_at(s, 0) == '[') {
		size_t n = scan_literal(s);

		if (n == 0)
			*why = "bad address literal";
		return n;
	}
	for (;;) {
		size_t start = i;

		while (i < s.n && (classes[(uint8_t)s.p[i]] & C_LABEL))
			i++;
		if (i == start || s.p[start] == '-' || s.p[i - 1] == '-' || i - start > LABEL_MAX) {
			*why = "bad domain";
			return 0;
		}
		if (byte_at(s, i) != '.')
			break;
		i++;
	}
	if (i > DOMAIN_MAX) {
		*why = "domain too long";
		return 0;
	}
	return i;
}

/* "@a,@b:" in front of a mailbox: read and forgotten (RFC 5321 4.1.1.3, C). */
static int
skip_route(struct ph_str *in, const char **why)
{
	for (;;) {
		size_t n;

		if (byte_at(*in, 0) != '@') {
			*why = "bad source route";
			return PH_EINVAL;
		}
		*in = str_skip(*in, 1);
		n = scan_domain(*in, why);
		if (n == 0)
			return PH_EINVAL;
		*in = str_skip(*in, n);
		if (byte_at(*in, 0) == ':') {
			*in = str_skip(*in, 1);
			return 0;
		}
		if (byte_at(*in, 0) != ',') {
			*why = "bad source route";
			return PH_EINVAL;
		}
		*in = str_skip(*in, 1);
	}
}

/* A mailbox at the start of *in: checks it, copies it, moves *in behind it. */
static int
parse_mailbox(struct ph_str *in, unsigned flags, struct arena *arena, struct address *out,
              const char **why)
{
	size_t local, domain = 0;
	struct ph_str full;
	bool utf8;

	local = scan_local(*in, why);
	if (local == 0)
		return PH_EINVAL;
	if (local > LOCAL_MAX) {
		*why = "local part too long";
		return PH_EINVAL;
	}
	full = str_head(*in, local);
	if (byte_at(*in, local) == '@') {
		domain = scan_domain(str_skip(*in, local + 1), why);
		if (domain == 0)
			return PH_EINVAL;
		full = str_head(*in, local + 1 + domain);
	} else if (!(flags & ADDRESS_POSTMASTER_OK) || !str_iis(full, "postmaster")) {
		*why = "address has no domain";
		return PH_EINVAL;
	}
	utf8 = !str_ascii(full);
	if (utf8 && (!str_utf8_valid(full) || utf8_deceives(full))) {
		*why = "address is not valid UTF-8";
		return PH_EINVAL;
	}
	if (utf8 && !(flags & ADDRESS_UTF8_OK)) {
		*why = "address needs SMTPUTF8";
		return PH_ENOTSUP;
	}
	*in = str_skip(*in, full.n);
	full = arena_str(arena, full);
	*out = (struct address){
		.full = full,
		.local = str_head(full, local),
		.domain = domain != 0 ? str_skip(full, local + 1) : STR(""),
		.utf8 = utf8,
		.literal = domain != 0 && full.p[local + 1] == '[',
	};
	return 0;
}

int
address_parse_path(struct ph_str *in, unsigned flags, struct arena *arena,
                   struct address *out, const char **why)
{
	const char *unused;
	struct ph_str s = *in;
	int rc;

	if (why == NULL)
		why = &unused;
	while (byte_at(s, 0) == ' ' || byte_at(s, 0) == '\t')
		s = str_skip(s, 1);
	if (s.n == 0) {
		*why = "no address";
		return PH_EINVAL;
	}
	if (s.p[0] != '<') {
		if (!(flags & ADDRESS_BARE_OK)) {
			*why = "address is not in < >";
			return PH_EINVAL;
		}
		rc = parse_mailbox(&s, flags, arena, out, why);
		if (rc != 0)
			return rc;
	} else {
		s = str_skip(s, 1);
		if (byte_at(s, 0) == '>') {
			if (!(flags & ADDRESS_NULL_OK)) {
				*why = "null address";
				return PH_EINVAL;
			}
			*out = (struct address){ STR(""), STR(""), STR(""), false, false };
		} else {
			if (byte_at(s, 0) == '@' && (rc = skip_route(&s, why)) != 0)
				return rc;
			rc = parse_mailbox(&s, flags, arena, out, why);
			if (rc != 0)
				return rc;
		}
		if (byte_at(s, 0) != '>') {
			*why = "junk in the address";
			return PH_EINVAL;
		}
		s = str_skip(s, 1);
	}
	if (s.n != 0 && s.p[0] != ' ' && s.p[0] != '\t') {
		*why = "junk behind the address";
		return PH_EINVAL;
	}
	*in = s;
	return 0;
}

int
address_parse(struct ph_str s, struct arena *arena, struct address *out, const char **why)
{
	const char *unused;
	struct address a;
	int rc;

	if (why == NULL)
		why = &unused;
	rc = parse_mailbox(&s, ADDRESS_POSTMASTER_OK | ADDRESS_UTF8_OK, arena, &a, why);
	if (rc != 0)
		return rc;
	if (s.n != 0) {
		*why = "junk behind the address";
		return PH_EINVAL;
	}
	*out = a;
	return 0;
}

bool
address_domain_valid(struct ph_str domain)
{
	const char *why;

	return domain.n != 0 && scan_domain(domain, &why) == domain.n &&
	       (str_ascii(domain) || (str_utf8_valid(domain) && !utf8_deceives(domain)));
}
