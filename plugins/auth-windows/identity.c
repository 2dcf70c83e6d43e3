/*
 * identity.c - names of users, from what a helper says to what the rest of the
 * daemon sees.
 *
 * A name is shortened or rewritten only when its domain is one of those that
 * are configured: alice of a trusted domain must never become our alice.
 */
#include <string.h>
#include <strings.h>

#include "identity.h"

struct parts { struct ph_str user, domain; };   /* domain: short or long, {.n = 0} none */

static struct ph_str
view(const char *p, size_t n)
{
	return (struct ph_str){ p, n };
}

static void
entry_split(const char *entry, struct ph_str *netbios, struct ph_str *realm)
{
	const char *eq = strchr(entry, '=');

	*netbios = view(entry, eq != NULL ? (size_t)(eq - entry) : strlen(entry));
	*realm = eq != NULL ? view(eq + 1, strlen(eq + 1)) : view("", 0);
}

bool
identity_domain_valid(const char *entry)
{
	struct ph_str part[2];

	entry_split(entry, &part[0], &part[1]);
	for (size_t k = 0; k < 2; k++) {
		if (part[k].n == 0 || part[k].n > 200)
			return false;
		for (size_t i = 0; i < part[k].n; i++)
			if (part[k].p[i] <= 0x20 || part[k].p[i] >= 0x7F ||
			    strchr("\\@=/:*?\"<>|", part[k].p[i]) != NULL)
				return false;
	}
	return true;
}

static bool
same(struct ph_str a, struct ph_str b)
{
	return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static const char *
entry_find(const struct ph_strings *domains, struct ph_str domain)
{
	for (size_t i = 0; i < domains->n; i++) {
		struct ph_str netbios, realm;

		entry_split(domains->v[i], &netbios, &realm);
		if (domain.n == 0 || same(domain, netbios) || same(domain, realm))
			return domains->v[i];
	}
	return NULL;
}

struct ph_str
identity_realm(const struct ph_strings *domains, struct ph_str domain)
{
	const char *entry = entry_find(domains, domain);
	struct ph_str netbios, realm;

	if (entry == NULL)
		return view(NULL, 0);
	entry_split(entry, &netbios, &realm);
	return realm;
}

/* C0, DEL, and C1 as UTF-8 writes it; NUL among them. */
static bool
has_controls(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7F ||
		    (c == 0xC2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xA0))
			return true;
	}
	return false;
}

static struct parts
split(struct ph_str given, bool kerberos)
{
	const char *back = kerberos ? NULL : memchr(given.p, '\\', given.n);
	const char *at = memrchr(given.p, '@', given.n);

	if (back != NULL) {
		size_t n = (size_t)(back - given.p);

		return (struct parts){ view(back + 1, given.n - n - 1), view(given.p, n) };
	}
	if (at != NULL) {
		size_t n = (size_t)(at - given.p);

		return (struct parts){ view(given.p, n), view(at + 1, given.n - n - 1) };
	}
	return (struct parts){ given, view("", 0) };
}

static int
join(char out[IDENTITY_MAX + 1], struct ph_str a, const char *sign, struct ph_str b)
{
	size_t k = strlen(sign);

	if (a.n > IDENTITY_MAX || b.n > IDENTITY_MAX || a.n + k + b.n > IDENTITY_MAX)
		return PH_EINVAL;
	if (a.n > 0)
		memcpy(out, a.p, a.n);
	memcpy(out + a.n, sign, k);
	if (b.n > 0)
		memcpy(out + a.n + k, b.p, b.n);
	out[a.n + k + b.n] = '\0';
	return 1;
}

int
identity_make(enum identity_form form, const struct ph_strings *domains, bool kerberos,
              struct ph_str given, char out[IDENTITY_MAX + 1])
{
	struct ph_str netbios, realm, none = view("", 0);
	const char *entry;
	struct parts p;

	if (given.n == 0 || given.n > IDENTITY_MAX || has_controls(given) ||
	    (kerberos && memchr(given.p, '\\', given.n) != NULL))
		return PH_EINVAL;
	p = split(given, kerberos);
	if (p.user.n == 0)
		return PH_EINVAL;
	entry = form != IDENTITY_AS_GIVEN ? entry_find(domains, p.domain) : NULL;
	if (entry == NULL) {
		int rc = join(out, given, "", none);

		if (rc < 0 || form == IDENTITY_AS_GIVEN || (form == IDENTITY_NETBIOS && !kerberos &&
		    memchr(given.p, '\\', given.n) != NULL))
			return rc;
		return 0;
	}
	entry_split(entry, &netbios, &realm);
	if (form == IDENTITY_NETBIOS)
		return join(out, netbios, "\\", p.user);
	if (form == IDENTITY_UPN)
		return join(out, p.user, "@", realm);
	return join(out, p.user, "", none);
}
