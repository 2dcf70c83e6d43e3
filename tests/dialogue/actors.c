/*
 * actors.c - clients and next hops of a dialogue, and what a script can have
 * them do.  What they see that is not as written ends the script.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors.h"
#include "base/str.h"
#include "config/option.h"
#include "net/resolve.h"
#include "relay.h"
#include "toys.h"

enum { ACTORS_MOST = 64, SHOWN = 1500 };

struct actor {
	char name[32];
	struct fake_peer *peer;
	struct ph_addr at;              /* of a hop */
	size_t tries;                   /* connections to it when it was named */
	bool said_hello;                /* a client that submits */
	bool secure;                    /* what it sends and hears goes through the toy's seal */
	struct buf opened;              /* what it has heard, without the seal */
	struct buf talk, content;       /* of the message that a hop took last */
};

static struct actor actors[ACTORS_MOST];
static size_t nactors;

void
actors_go(void)
{
	for (size_t i = 0; i < nactors; i++) {
		fake_peer_free(&actors[i].peer);
		buf_free(&actors[i].talk);
		buf_free(&actors[i].opened);
		buf_free(&actors[i].content);
	}
	memset(actors, 0, sizeof actors);
	nactors = 0;
}

static struct actor *
find(const char *name)
{
	for (size_t i = 0; i < nactors; i++)
		if (strcmp(actors[i].name, name) == 0)
			return &actors[i];
	relay_fail("nobody is called %s", name);
}

static struct fake_peer *
peer_of(const char *name)
{
	struct actor *a = find(name);

	if (a->peer == NULL)
		relay_fail("%s is not connected", name);
	return a->peer;
}

/* A name that is used again is somebody new. */
static struct actor *
enter(const char *name)
{
	struct actor *a = NULL;

	for (size_t i = 0; i < nactors && a == NULL; i++)
		if (strcmp(actors[i].name, name) == 0)
			a = &actors[i];
	if (a == NULL) {
		if (nactors == ACTORS_MOST)
			relay_fail("too many names");
		a = &actors[nactors++];
		snprintf(a->name, sizeof a->name, "%s", name);
	}
	fake_peer_free(&a->peer);
	a->said_hello = a->secure = false;
	return a;
}

/* --- the toy's seal --- */

static struct actor *
actor_of(const struct fake_peer *p)
{
	for (size_t i = 0; i < nactors; i++)
		if (actors[i].peer == p)
			return &actors[i];
	relay_fail("nobody has that connection");
}

static struct ph_str
heard(struct fake_peer *p)
{
	struct actor *a = actor_of(p);
	struct ph_str got = fake_received(p);

	if (!a->secure)
		return got;
	buf_clear(&a->opened);
	for (size_t i = 0; i < got.n; i++)
		buf_addc(&a->opened, (char)(got.p[i] & 0x80 ? got.p[i] ^ 0x80 : got.p[i]));
	return a->opened.len > 0 ? buf_view(&a->opened) : got;
}

static void
tell(struct fake_peer *p, struct ph_str bytes)
{
	struct actor *a = actor_of(p);

	for (size_t i = 0; a->secure && i < bytes.n; i++)
		fake_send(p, (char[]){ (char)(bytes.p[i] ^ 0x80) }, 1);
	if (!a->secure)
		fake_send(p, bytes.p, bytes.n);
}

static void
tell_text(struct fake_peer *p, const char *text)
{
	tell(p, str_of(text));
}

bool
text_matches(struct ph_str pattern, struct ph_str text)
{
	size_t star = (size_t)-1, mark = 0, p = 0, t = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			mark = t;
		} else if (p < pattern.n && pattern.p[p] == text.p[t]) {
			p++;
			t++;
		} else if (star != (size_t)-1) {
			p = star + 1;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

bool
text_has_line(struct ph_str text, const char *pattern)
{
	struct ph_str line, rest = text;

	while (rest.p != NULL && rest.n > 0) {
		line = str_cut(rest, '\n', &rest);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (text_matches(str_of(pattern), line))
			return true;
	}
	return false;
}

static struct ph_addr
address(const char *text)
{
	struct arena a;
	struct ph_endpoint ep;
	struct ph_addr out;
	const char *why;

	arena_init(&a, 256);
	if (value_endpoint(str_of(text), &a, &ep, &why) != 0 ||
	    addr_parse(str_of(ep.host), ep.port, &out) != 0)
		relay_fail("%s is no address", text);
	arena_reset(&a);
	return out;
}

static void
unescape(const char *s, struct buf *out)
{
	for (; *s != '\0'; s++) {
		unsigned n;
		int used = 0;
		char c;
		if (*s == '{' && sscanf(s, "{%u}%c%n", &n, &c, &used) == 2 && used > 0) {
			for (unsigned i = 0; i < n; i++)
				buf_addc(out, c);
			s += used - 1;
		} else if (*s != '\\') {
			buf_addc(out, *s);
		} else if (*++s == 'x') {
			char hex[3] = { s[1], s[1] != '\0' ? s[2] : '\0', '\0' };
			buf_addc(out, (char)strtoul(hex, NULL, 16));
			s += 2;
		} else {
			buf_addc(out, *s == 'r' ? '\r' : *s == 'n' ? '\n' : *s == 't' ? '\t' :
			    *s == '0' ? '\0' : *s);
		}
	}
}

/* --- lines --- */

/* The next whole line, without its CRLF; false: there is none. */
static bool
peek(struct fake_peer *p, struct ph_str *line)
{
	struct ph_str got = heard(p);

	for (size_t i = 0; i + 1 < got.n; i++)
		if (got.p[i] == '\r' && got.p[i + 1] == '\n') {
			*line = str_head(got, i);
			return true;
		}
	return false;
}

static void
say(struct fake_peer *p, const char *text)
{
	tell_text(p, text);
	tell_text(p, "\r\n");
	relay_settle();
}

/* skipping: lines that do not match are passed over. */
static void
hear(const char *name, const char *pattern, bool skipping)
{
	struct fake_peer *p = peer_of(name);
	struct ph_str line, got = heard(p);

	if (!peek(p, &line))
		relay_fail("%s wants \"%s\" and has got %s\"%.*s\"", name, pattern,
		    got.n == 0 ? "nothing " : "", STR_ARG(str_head(got, SHOWN)));
	while (!text_matches(str_of(pattern), line)) {
		if (!skipping)
			relay_fail("%s wants \"%s\" and got \"%.*s\"", name, pattern,
			    STR_ARG(str_head(line, SHOWN)));
		fake_eat(p, line.n + 2);
		if (!peek(p, &line))
			relay_fail("%s wants a line \"%s\" and none came", name, pattern);
	}
	fake_eat(p, line.n + 2);
}

static void
hear_bytes(const char *name, const char *text)
{
	struct fake_peer *p = peer_of(name);
	struct ph_str got = heard(p);
	struct buf want = { 0 };

	unescape(text, &want);
	if (got.n < want.len || memcmp(got.p, want.data + want.head, want.len) != 0)
		relay_fail("%s wants the bytes \"%s\" and has got \"%.*s\"", name, text,
		    STR_ARG(str_head(got, SHOWN)));
	fake_eat(p, want.len);
	buf_free(&want);
}

/* --- clients --- */

static void
connects(const char *name, char *rest)
{
	struct actor *a = enter(name);
	struct ph_addr at, from;
	char *to = strstr(rest, " to ");

	if (to != NULL) {
		*to = '\0';
		at = address(to + 4);
	} else if (!relay_listens(0, &at)) {
		relay_fail("the relay listens nowhere");
	}
	from = address(rest);
	a->peer = fake_connect(&at, &from);
	if (a->peer == NULL)
		relay_fail("nobody listens there");
	relay_settle();
}

/* [CERTIFICATE]: the toy's handshake; what it sends and hears is sealed from then on. */
static void
secures(const char *name, const char *certificate)
{
	struct actor *a = find(name);
	struct fake_peer *p = peer_of(name);

	tell_text(p, certificate[0] != '\0' ? "toy " : "toy");
	tell_text(p, certificate);
	tell_text(p, "\n");
	relay_settle();
	hear_bytes(name, "ok\\n");
	a->secure = true;
}

static void
exchange(const char *name, const char *command, const char *reply)
{
	say(peer_of(name), command);
	hear(name, reply, false);
}

/* FROM TO[,TO...] [TEXT]: a whole transaction, command by command. */
static void
submits(const char *name, char *rest)
{
	struct actor *a = find(name);
	char *from = strtok_r(rest, " ", &rest), *to = strtok_r(NULL, " ", &rest), *one, *more;
	char line[1200];

	if (from == NULL || to == NULL)
		relay_fail("%s submits what?", name);
	if (!a->said_hello) {
		hear(name, "220 *", false);
		say(peer_of(name), "EHLO client.example");
		hear(name, "250 *", true);
		a->said_hello = true;
	}
	snprintf(line, sizeof line, "MAIL FROM:%s", from);
	exchange(name, line, "250 *");
	for (one = strtok_r(to, ",", &more); one != NULL; one = strtok_r(NULL, ",", &more)) {
		snprintf(line, sizeof line, "RCPT TO:%s", one);
		exchange(name, line, "250 *");
	}
	exchange(name, "DATA", "354 *");
	snprintf(line, sizeof line, "Subject: %s\r\n\r\n%s\r\n.", rest, rest);
	exchange(name, line, "250 2.0.0 *");
}

/* --- hops --- */

static void
stands_at(const char *name, const char *how, const char *where)
{
	struct actor *a = enter(name);

	a->at = address(where);
	if (strcmp(how, "refuses") == 0)
		fake_refuse(&a->at);
	else if (strcmp(how, "unreachable") == 0)
		fake_unreachable(&a->at);
	else if (strcmp(how, "silent") == 0)
		fake_silent(&a->at);
	else
		fake_serve(&a->at, NULL, NULL);
	a->tries = fake_tries(&a->at);
}

static void
accepts(const char *name, const char *hop)
{
	struct fake_peer *p = fake_arrived(&find(hop)->at);

	if (p == NULL)
		relay_fail("no connection waits at %s", hop);
	enter(name)->peer = p;
}

static void
tried(const char *name, size_t want)
{
	struct actor *a = find(name);
	size_t n = fake_tries(&a->at) - a->tries;

	if (n != want)
		relay_fail("%zu connections to %s were tried", n, name);
	a->tries += n;
}

/* [EXTENSION,...]: greets, and answers the EHLO. */
static void
greets(const char *name, char *rest)
{
	struct fake_peer *p = peer_of(name);
	char *one, *more;

	say(p, "220 hop.example ESMTP");
	hear(name, "EHLO *", false);
	tell_text(p, "250-hop.example\r\n");
	for (one = strtok_r(rest, ",", &more); one != NULL; one = strtok_r(NULL, ",", &more)) {
		tell_text(p, "250-");
		tell_text(p, one);
		tell_text(p, "\r\n");
	}
	say(p, "250 ENHANCEDSTATUSCODES");
}

/* True: the content is here, and was kept. */
static bool
keep_content(struct actor *a, bool dots, size_t octets, bool first)
{
	struct ph_str got = heard(a->peer);

	if (first)
		buf_clear(&a->content);
	if (!dots) {
		if (got.n < octets)
			return false;
		buf_add(&a->content, got.p, octets);
		fake_eat(a->peer, octets);
		return true;
	}
	for (size_t i = 0; i + 2 < got.n; i++) {
		bool at_line = i == 0 || (i > 1 && got.p[i - 2] == '\r' && got.p[i - 1] == '\n');
		if (at_line && memcmp(got.p + i, ".\r\n", 3) == 0) {
			fake_eat(a->peer, i + 3);
			return true;
		}
		if (!at_line || got.p[i] != '.')
			buf_addc(&a->content, got.p[i]);
	}
	buf_clear(&a->content);
	return false;
}

/* Answers like a host that has nothing against it, up to the end of one message. */
static void
take_one(struct actor *a)
{
	struct ph_str line;
	bool first = true;

	buf_clear(&a->talk);
	while (peek(a->peer, &line)) {
		unsigned octets = 0;
		char last[8] = "";
		buf_addstr(&a->talk, line);
		buf_addc(&a->talk, '\n');
		if (str_istarts(line, "DATA")) {
			fake_eat(a->peer, line.n + 2);
			say(a->peer, "354 Go on");
			if (!keep_content(a, true, 0, true))
				relay_fail("%s got no end of data", a->name);
			say(a->peer, "250 2.0.0 taken");
			return;
		}
		if (sscanf(line.p, "BDAT %u %7s", &octets, last) >= 1) {
			fake_eat(a->peer, line.n + 2);
			if (!keep_content(a, false, octets, first))
				relay_fail("%s got too few octets", a->name);
			first = false;
			say(a->peer, "250 2.0.0 taken");
			if (strncmp(last, "LAST", 4) == 0)
				return;
			continue;
		}
		fake_eat(a->peer, line.n + 2);
		say(a->peer, "250 2.1.0 fine");
	}
	relay_fail("%s got no message", a->name);
}

/* [N | FROM TO[,TO...]]: so many messages, or one with this envelope. */
static void
takes(const char *name, char *rest)
{
	struct actor *a = find(name);
	char *to = strchr(rest, ' '), *one, *more;
	char want[1200];
	unsigned long n = to == NULL && rest[0] != '\0' ? strtoul(rest, NULL, 10) : 1;
	size_t rcpts = 0, count = 0;

	(void)peer_of(name);
	while (n-- > 0)
		take_one(a);
	if (to == NULL)
		return;
	*to++ = '\0';
	snprintf(want, sizeof want, "MAIL FROM:%s*", rest);
	if (!text_has_line(buf_view(&a->talk), want))
		relay_fail("%s took another message:\n%.*s", name, STR_ARG(buf_view(&a->talk)));
	for (one = strtok_r(to, ",", &more); one != NULL; one = strtok_r(NULL, ",", &more)) {
		snprintf(want, sizeof want, "RCPT TO:%s*", one);
		if (!text_has_line(buf_view(&a->talk), want))
			relay_fail("%s took another message:\n%.*s", name, STR_ARG(buf_view(&a->talk)));
		rcpts++;
	}
	for (size_t i = 0; i + 4 < a->talk.len; i++)
		count += memcmp(a->talk.data + a->talk.head + i, "RCPT", 4) == 0;
	if (count != rcpts)
		relay_fail("%s took it with %zu recipients", name, count);
}

static void
content_has(const char *name, const char *pattern, bool want)
{
	struct ph_str v = buf_view(&find(name)->content);

	if (text_has_line(v, pattern) != want)
		relay_fail("%s \"%s\" in\n%.*s", want ? "no line" : "a line", pattern,
		    STR_ARG(str_head(v, SHOWN)));
}

/* --- verbs --- */

static bool
does_with_peer(const char *name, const char *verb, const char *rest)
{
	struct buf b = { 0 };
	struct ph_str got;

	if (strcmp(verb, ">") == 0) {
		say(peer_of(name), rest);
	} else if (strcmp(verb, ">>") == 0 || strcmp(verb, ">>>") == 0) {
		unescape(rest, &b);
		if (verb[2] == '>')
			fake_send(peer_of(name), b.data + b.head, b.len);
		else
			tell(peer_of(name), buf_view(&b));
		buf_free(&b);
		relay_settle();
	} else if (strcmp(verb, "<") == 0 || strcmp(verb, "<~") == 0) {
		hear(name, rest, verb[1] == '~');
	} else if (strcmp(verb, "<<") == 0) {
		hear_bytes(name, rest);
	} else if (strcmp(verb, "quiet") == 0) {
		got = heard(peer_of(name));
		if (got.n > 0)
			relay_fail("%s should hear nothing and got \"%.*s\"", name,
			    STR_ARG(str_head(got, SHOWN)));
	} else if (strcmp(verb, "secures") == 0) {
		secures(name, rest);
	} else if (strcmp(verb, "goodbye") == 0) {
		fake_send(peer_of(name), (char[]){ TOY_GOODBYE }, 1);
		relay_settle();
	} else if (strcmp(verb, "ends") == 0) {
		fake_end(peer_of(name));
		relay_settle();
	} else if (strcmp(verb, "hangs-up") == 0) {
		fake_hang_up(peer_of(name));
		relay_settle();
	} else if (strcmp(verb, "resets") == 0) {
		fake_reset(peer_of(name));
		relay_settle();
	} else if (strcmp(verb, "closed") == 0) {
		if (!fake_ended(peer_of(name)))
			relay_fail("%s is still connected", name);
	} else if (strcmp(verb, "open") == 0) {
		if (fake_ended(peer_of(name)))
			relay_fail("%s is not connected any more", name);
	} else if (strcmp(verb, "slices") == 0) {
		fake_slices(peer_of(name), strtoul(rest, NULL, 10));
	} else if (strcmp(verb, "window") == 0) {
		fake_window(peer_of(name), strtoul(rest, NULL, 10));
		relay_settle();
	} else {
		return false;
	}
	return true;
}

void
actor_does(const char *name, const char *verb, char *rest)
{
	if (does_with_peer(name, verb, rest))
		return;
	if (strcmp(verb, "connects") == 0)
		connects(name, rest);
	else if (strcmp(verb, "submits") == 0)
		submits(name, rest);
	else if (strcmp(verb, "serves") == 0 || strcmp(verb, "refuses") == 0 ||
	    strcmp(verb, "silent") == 0 || strcmp(verb, "unreachable") == 0)
		stands_at(name, verb, rest);
	else if (strcmp(verb, "accepts") == 0)
		accepts(name, rest);
	else if (strcmp(verb, "untried") == 0)
		tried(name, 0);
	else if (strcmp(verb, "tried") == 0)
		tried(name, strtoul(rest, NULL, 10));
	else if (strcmp(verb, "greets") == 0)
		greets(name, rest);
	else if (strcmp(verb, "takes") == 0)
		takes(name, rest);
	else if (strcmp(verb, "has") == 0 || strcmp(verb, "lacks") == 0)
		content_has(name, rest, verb[0] == 'h');
	else
		relay_fail("what is \"%s %s\"?", name, verb);
}
