/*
 * senders.c - the file that says which login may use which sender address.
 */
#include "senders.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "credentials.h"

enum { LINES_MAX = 1000 * 1000, LINE_MAX_OCTETS = 16 << 10 };

struct entry { struct ph_str login, addresses; size_t number; };

struct senders {
	atomic_uint refs;
	char *text;
	struct entry *v;                /* by login */
	size_t n;
};

/* --- a line --- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == ',' || c == '\r';
}

bool
senders_word(struct ph_str *rest, struct ph_str *word)
{
	const char *p = rest->p, *end = rest->p + rest->n;

	while (p < end && is_blank(*p))
		p++;
	*word = (struct ph_str){ p, 0 };
	while (p < end && !is_blank(*p))
		p++;
	word->n = (size_t)(p - word->p);
	*rest = (struct ph_str){ p, (size_t)(end - p) };
	return word->n > 0;
}

static const char *
address_problem(struct ph_str a)
{
	const char *at = NULL;

	if (a.n == 1 && a.p[0] == '*')
		return NULL;
	for (size_t i = 0; i < a.n; i++)
		if (a.p[i] == '@')
			at = a.p + i;
	if (at == NULL || at == a.p + a.n - 1 || a.p[0] == '<' || a.p[a.n - 1] == ':')
		return "what follows the login is no address; write bob@example.com, @example.com, "
		       "@.example.com or *";
	return name_valid(a) || a.n > NAME_LIMIT ? NULL : "an address is not text";
}

int
senders_line(struct ph_str line, struct ph_str *login, struct ph_str *addresses, const char **why)
{
	struct ph_str rest = line, word, l;
	size_t count = 0;

	while (rest.n > 0 && is_blank(rest.p[0]))
		rest = (struct ph_str){ rest.p + 1, rest.n - 1 };
	if (rest.n == 0 || rest.p[0] == '#')
		return 0;
	if (rest.p[0] == '"') {
		const char *end = memchr(rest.p + 1, '"', rest.n - 1);

		if (end == NULL) {
			*why = "there is no second \" behind the login";
			return PH_EINVAL;
		}
		l = (struct ph_str){ rest.p + 1, (size_t)(end - rest.p) - 1 };
		rest = (struct ph_str){ end + 1, rest.n - l.n - 2 };
	} else {
		(void)senders_word(&rest, &l);
	}
	if (!name_valid(l)) {
		*why = "the login is empty, too long or not text";
		return PH_EINVAL;
	}
	*login = l;
	*addresses = rest;
	while (senders_word(&rest, &word)) {
		if (word.p[0] == '#')
			break;
		if ((*why = address_problem(word)) != NULL)
			return PH_EINVAL;
		count++;
	}
	/* a comment at the end is none of the addresses */
	addresses->n = (size_t)(word.p - addresses->p);
	if (count == 0) {
		*why = "there is no address behind the login";
		return PH_EINVAL;
	}
	return 1;
}

/* --- asking --- */

static struct ph_str
domain_of(struct ph_str address)
{
	for (size_t i = address.n; i-- > 0;)
		if (address.p[i] == '@')
			return (struct ph_str){ address.p + i + 1, address.n - i - 1 };
	return (struct ph_str){ "", 0 };
}

bool
sender_matches(struct ph_str pattern, struct ph_str sender)
{
	struct ph_str domain = domain_of(sender), tail;

	if (pattern.n == 1 && pattern.p[0] == '*')
		return true;
	if (pattern.n == 0 || pattern.p[0] != '@')
		return name_same(pattern, sender);
	tail = (struct ph_str){ pattern.p + 1, pattern.n - 1 };
	if (tail.n == 0 || tail.p[0] != '.')
		return name_same(tail, domain);
	return domain.n > tail.n && name_same(tail,
	    (struct ph_str){ domain.p + domain.n - tail.n, tail.n });
}

static int
compare(struct ph_str a, struct ph_str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n > 0 ? strncasecmp(a.p, b.p, n) : 0;

	return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* All lines of that very name. */
static bool
listed(const struct senders *s, struct ph_str login, struct ph_str sender)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(s->v[mid].login, login) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < s->n && compare(s->v[low].login, login) == 0; low++) {
		struct ph_str rest = s->v[low].addresses, word;

		while (senders_word(&rest, &word))
			if (sender_matches(word, sender))
				return true;
	}
	return false;
}

bool
senders_allow(const struct senders *s, struct ph_str login, const char *default_domain,
              struct ph_str sender)
{
	size_t d = default_domain != NULL ? strlen(default_domain) : 0;
	char complete[NAME_LIMIT + 1];
	int n;

	if (listed(s, login, sender) || listed(s, (struct ph_str){ "*", 1 }, sender))
		return true;
	if (d == 0)
		return false;
	if (login.n > d + 1 && login.p[login.n - d - 1] == '@' && name_same(
	    (struct ph_str){ login.p + login.n - d, d }, (struct ph_str){ default_domain, d }))
		return listed(s, (struct ph_str){ login.p, login.n - d - 1 }, sender);
	n = name_complete(login, default_domain, complete);
	return n > 0 && listed(s, (struct ph_str){ complete, (size_t)n }, sender);
}

/* --- the file --- */

static int
by_login(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = compare(x->login, y->login);

	return c != 0 ? c : x->number < y->number ? -1 : x->number > y->number;
}

static int
add(struct senders *s, size_t *room, struct entry e)
{
	struct entry *v;

	if (s->n == *room) {
		*room = *room == 0 ? 64 : 2 * *room;
		if (*room > LINES_MAX || (v = realloc(s->v, *room * sizeof *v)) == NULL)
			return PH_ELIMIT;
		s->v = v;
	}
	s->v[s->n++] = e;
	return 0;
}

static int
parse(struct textfile *f, struct senders *s)
{
	struct ph_str line;
	size_t room = 0;

	while (textfile_line(f, &line)) {
		struct entry e = { .number = f->number };
		const char *why = NULL;
		int rc;

		if (line.n > LINE_MAX_OCTETS) {
			textfile_complain(f, f->number, "the line is longer than %d octets; write "
			    "several lines for one login", LINE_MAX_OCTETS);
			continue;
		}
		if ((rc = senders_line(line, &e.login, &e.addresses, &why)) < 0) {
			textfile_complain(f, f->number, "%s", why);
		} else if (rc > 0 && add(s, &room, e) != 0) {
			textfile_complain(f, f->number, "there are more lines than can be kept");
			return PH_ELIMIT;
		}
	}
	if (s->n > 0)
		qsort(s->v, s->n, sizeof *s->v, by_login);
	return f->said > 0 ? PH_EINVAL : 0;
}

int
senders_read(const char *path, struct senders **out, text_say say, void *arg)
{
	struct textfile f = { .path = path, .say = say, .arg = arg };
	struct senders *s;
	int rc = textfile_load(&f, 0022);

	if (rc != 0)
		return rc;
	s = calloc(1, sizeof *s);
	rc = PH_ENOMEM;
	if (s != NULL) {
		atomic_init(&s->refs, 1);
		rc = parse(&f, s);
	}
	if (rc == 0) {
		s->text = textfile_take(&f);
		*out = s;
	} else {
		senders_unref(&s);
	}
	textfile_free(&f);
	return rc;
}

struct senders *
senders_ref(struct senders *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void
senders_unref(struct senders **sp)
{
	struct senders *s = *sp;

	*sp = NULL;
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(s->text);
	free(s->v);
	free(s);
}

size_t
senders_count(const struct senders *s)
{
	return s->n;
}
