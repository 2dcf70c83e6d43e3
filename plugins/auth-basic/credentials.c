/*
 * credentials.c - names and passwords as clients send them.  All bounds stand here, so that
 * nothing behind it ever sees a name with a line break or a password of a megabyte.
 */
#include "credentials.h"

#include <string.h>
#include <strings.h>

/* RFC 3629: shortest forms only, no surrogates; and no controls (RFC 4616 2 forbids NUL only,
 * but a control in a name is an attempt on somebody's log). */
static bool
is_text(struct ph_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	for (size_t i = 0; i < s.n;) {
		unsigned char c = p[i++];
		unsigned long v;
		unsigned more;

		if (c < 0x80) {
			if (c < 0x20 || c == 0x7F)
				return false;
			continue;
		}
		if (c < 0xC2 || c > 0xF4)
			return false;
		more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
		v = c & (0x3Fu >> more);
		if (s.n - i < more)
			return false;
		for (unsigned k = 0; k < more; k++, i++) {
			if ((p[i] & 0xC0) != 0x80)
				return false;
			v = v << 6 | (p[i] & 0x3Fu);
		}
		if ((more == 2 && (v < 0x800 || (v >= 0xD800 && v <= 0xDFFF))) ||
		    (more == 3 && (v < 0x10000 || v > 0x10FFFF)) || (v >= 0x80 && v < 0xA0))
			return false;
	}
	return true;
}

bool
name_valid(struct ph_str name)
{
	return name.n > 0 && name.n <= NAME_LIMIT && name.p[0] != ' ' &&
	       name.p[name.n - 1] != ' ' && is_text(name);
}

bool
password_valid(struct ph_str password)
{
	/* Never an empty one: directories take it for an anonymous bind (RFC 4513 5.1.2). */
	return password.n > 0 && password.n <= PASSWORD_LIMIT && is_text(password);
}

int
plain_parse(struct ph_str message, struct plain *out)
{
	const char *p = message.p, *end = message.p + message.n, *first, *second;
	struct plain v;

	if (message.n == 0 || (first = memchr(p, '\0', message.n)) == NULL ||
	    (second = memchr(first + 1, '\0', (size_t)(end - first - 1))) == NULL)
		return PH_EINVAL;
	v.authzid = (struct ph_str){ p, (size_t)(first - p) };
	v.authcid = (struct ph_str){ first + 1, (size_t)(second - first - 1) };
	v.password = (struct ph_str){ second + 1, (size_t)(end - second - 1) };
	if (!name_valid(v.authcid) || !password_valid(v.password) ||
	    (v.authzid.n > 0 && !name_valid(v.authzid)))
		return PH_EINVAL;
	*out = v;
	return 0;
}

int
name_complete(struct ph_str name, const char *default_domain, char out[NAME_LIMIT + 1])
{
	size_t n = name.n, d = default_domain != NULL ? strlen(default_domain) : 0;

	if (!name_valid(name))
		return PH_EINVAL;
	if (d > 0 && memchr(name.p, '@', n) == NULL && memchr(name.p, '\\', n) == NULL) {
		if (n + 1 + d > NAME_LIMIT)
			return PH_EINVAL;
		out[n] = '@';
		memcpy(out + n + 1, default_domain, d);
		d++;
	} else {
		d = 0;
	}
	memcpy(out, name.p, n);
	out[n + d] = '\0';
	return (int)(n + d);
}

bool
name_same(struct ph_str a, struct ph_str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}
