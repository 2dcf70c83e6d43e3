/*
 * text.c - text that may hold secrets, base64url, and the clock of tokens.
 */
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MOST = 1 << 20 };

static bool
text_room(struct oauth_text *t, size_t more)
{
	size_t most = t->most > 0 ? t->most : TEXT_MOST, room = t->room > 0 ? t->room : 256;
	char *p;

	if (t->failed || more > most || t->n > most - more) {
		t->failed = true;
		return false;
	}
	if (t->n + more < t->room)
		return true;
	while (room <= t->n + more)
		room *= 2;
	p = malloc(room);
	if (p == NULL) {
		t->failed = true;
		return false;
	}
	/* realloc might leave the old bytes behind. */
	if (t->p != NULL) {
		memcpy(p, t->p, t->n + 1);
		ph_wipe(t->p, t->room);
		free(t->p);
	}
	t->p = p;
	t->room = room;
	return true;
}

void
oauth_text_add(struct oauth_text *t, const void *p, size_t n)
{
	if (!text_room(t, n))
		return;
	if (n > 0)
		memcpy(t->p + t->n, p, n);
	t->n += n;
	t->p[t->n] = '\0';
}

void
oauth_text_adds(struct oauth_text *t, const char *s)
{
	oauth_text_add(t, s, strlen(s));
}

static bool
is_unreserved(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    c == '-' || c == '.' || c == '_' || c == '~';
}

void
oauth_text_escape(struct oauth_text *t, const char *value, size_t n)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)value[i];
		char code[3] = { '%', hex[c >> 4], hex[c & 15] };

		oauth_text_add(t, is_unreserved(c) ? value + i : code, is_unreserved(c) ? 1 : 3);
	}
}

void
oauth_text_form(struct oauth_text *t, const char *key, const char *value, size_t n)
{
	if (t->n > 0)
		oauth_text_adds(t, "&");
	oauth_text_escape(t, key, strlen(key));
	oauth_text_adds(t, "=");
	oauth_text_escape(t, value, n);
}

void
oauth_text_base64url(struct oauth_text *t, const void *p, size_t n)
{
	static const char set[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *in = p;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) |
		    (i + 2 < n ? in[i + 2] : 0);
		char out[4] = { set[v >> 18], set[v >> 12 & 63], set[v >> 6 & 63], set[v & 63] };

		oauth_text_add(t, out, n - i >= 3 ? 4 : n - i + 1);
	}
}

void
oauth_text_done(struct oauth_text *t)
{
	size_t most = t->most;

	if (t->p != NULL)
		ph_wipe(t->p, t->room);
	free(t->p);
	*t = (struct oauth_text){ .most = most };
}

static int
digit(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 :
	    c >= '0' && c <= '9' ? c - '0' + 52 : c == '-' ? 62 : c == '_' ? 63 : -1;
}

int
oauth_base64url_decode(struct ph_str in, uint8_t *out, size_t room)
{
	size_t n = 0;
	uint32_t bits = 0;
	int have = 0;

	if (in.n % 4 == 1)
		return PH_EINVAL;
	for (size_t i = 0; i < in.n; i++) {
		int d = digit((unsigned char)in.p[i]);

		if (d < 0)
			return PH_EINVAL;
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (n >= room)
			return PH_ELIMIT;
		out[n++] = (uint8_t)(bits >> have);
		bits &= (1u << have) - 1;
	}
	/* Bits that are left over must be zero, or one token had two spellings. */
	return bits == 0 ? (int)n : PH_EINVAL;
}

char *
oauth_copy(const char *p, size_t n)
{
	char *copy = malloc(n + 1);

	if (copy == NULL)
		return NULL;
	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

void
oauth_forget(char **p)
{
	if (*p != NULL)
		ph_wipe(*p, strlen(*p));
	free(*p);
	*p = NULL;
}

void
oauth_plain(char *out, size_t room, const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && *text != '\n' && *text != '\r' && n + 1 < room; text++)
		out[n++] = *text >= 0x20 && *text < 0x7F ? *text : '?';
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

int64_t
oauth_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);       /* cannot fail with this clock */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
