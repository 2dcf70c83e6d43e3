/*
 * line.c - tokens as lines of helpers and back; nothing of them stays in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "windows.h"

int
line_ask(struct ph_lease *lease, const char *verb, struct ph_str token,
         void (*answer)(void *arg, int status, struct ph_str bytes), void *arg)
{
	size_t verb_n = strlen(verb), room = verb_n + 1 + (token.n + 2) / 3 * 4 + 2;
	char *line;
	int n = 1, rc;

	if (token.n > TOKEN_MAX)
		return PH_ELIMIT;
	line = malloc(room);
	if (line == NULL)
		return PH_ENOMEM;
	memcpy(line, verb, verb_n);
	line[verb_n] = ' ';
	line[verb_n + 1] = '*';
	if (token.n > 0)
		n = ph_base64_encode(token, line + verb_n + 1, room - verb_n - 1);
	rc = n < 0 ? n : ph_lease_ask(lease, (struct ph_str){ line, verb_n + 1 + (size_t)n }, answer, arg);
	line_free(line, room);
	return rc;
}

char *
line_decode(struct ph_str base64, size_t *out_n)
{
	size_t room = base64.n / 4 * 3 + 1;
	char *p;
	int n;

	if (room > TOKEN_MAX + 3)
		return NULL;
	p = malloc(room);
	if (p == NULL)
		return NULL;
	n = base64.n > 0 ? ph_base64_decode(base64, p, room - 1) : 0;
	if (n < 0 || n > TOKEN_MAX) {
		line_free(p, room);
		return NULL;
	}
	p[n] = '\0';
	*out_n = (size_t)n;
	return p;
}

void
line_free(char *p, size_t n)
{
	if (p != NULL)
		ph_wipe(p, n);
	free(p);
}

const char *
line_trouble(int status)
{
	switch (status) {
	case PH_EBUSY:
		return "no helper was free in time (helpers, helper-wait)";
	case PH_EIO:
		return "the helper cannot be started";
	case PH_ETIMEOUT:
		return "the helper gave no answer in time (helper-timeout)";
	case PH_ECLOSED:
		return "the helper has ended";
	case PH_EPROTO:
		return "the helper does not keep to its protocol";
	default:
		return ph_strerror(status);
	}
}
