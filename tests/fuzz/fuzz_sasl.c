/*
 * fuzz_sasl.c - what clients say in an exchange, and what stands in the files of auth-basic.  The
 * first octet says which parser is meant.  What is taken keeps its promises; nobody gets in.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "../../plugins/auth-basic/credentials.h"
#include "../../plugins/auth-basic/scram_server.h"
#include "../../plugins/auth-basic/senders.h"
#include "../../plugins/auth-basic/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
harmless(struct ph_str s, size_t most)
{
	ph_assert(s.n <= most);
	for (size_t i = 0; i < s.n; i++)
		ph_assert((uint8_t)s.p[i] >= 0x20 && s.p[i] != 0x7F);
}

static void
plain(struct ph_str in)
{
	char out[NAME_LIMIT + 1];
	struct plain p;

	if (plain_parse(in, &p) != 0)
		return;
	harmless(p.authzid, NAME_LIMIT);
	harmless(p.authcid, NAME_LIMIT);
	harmless(p.password, PASSWORD_LIMIT);
	ph_assert(p.authcid.n > 0 && p.password.n > 0);
	ph_assert(p.authzid.n + p.authcid.n + p.password.n + 2 == in.n);
	if (name_complete(p.authcid, "example.com", out) > 0)
		ph_assert(strlen(out) >= p.authcid.n);
}

/* Both messages of a client, with 0xFF between; the key is one that nobody has. */
static void
scram(struct ph_str in)
{
	static struct scram_server s;
	struct user_verifier v = { .iterations = 4096, .salt_n = 16, .stored = { 1 } };
	const char *end = memchr(in.p, 0xFF, in.n);
	struct ph_str first = { in.p, end != NULL ? (size_t)(end - in.p) : in.n }, out;

	if (scram_server_first(&s, first) != 0)
		return;
	ph_assert(s.name_n > 0 && s.name_n <= SCRAM_NAME_MAX && s.authzid_n <= SCRAM_NAME_MAX);
	ph_assert(scram_server_challenge(&s, &v, (struct ph_str){ "xyz", 3 }, &out) == 0);
	ph_assert(out.n > 0 && out.n < SCRAM_MESSAGE_MAX);
	if (end != NULL)
		ph_assert(scram_server_final(&s, (struct ph_str){ end + 1, in.n - first.n - 1 },
		    (struct ph_str){ "channel", s.flag == SCRAM_BINDING ? 7 : 0 }, &out) < 0);
}

static void
user(struct ph_str in)
{
	struct user_line l;
	const char *why = NULL;
	int rc = user_line_parse(in, &l, &why);
	struct user_verifier v;

	ph_assert(rc == 0 || rc == 1 || (rc == PH_EINVAL && why != NULL));
	if (rc != 1)
		return;
	harmless(l.name, NAME_LIMIT);
	ph_assert(user_name_problem(l.name) == NULL);
	ph_assert(l.hash.p != NULL || l.verifier.p != NULL);
	ph_assert(l.hash.p == NULL || user_hash_scheme(l.hash) != NULL);
	ph_assert(l.verifier.p == NULL || user_verifier_parse(l.verifier, &v) == 0);
}

static void
sender(struct ph_str in)
{
	struct ph_str login, rest, word;
	const char *why = NULL;
	int rc = senders_line(in, &login, &rest, &why);

	ph_assert(rc == 0 || rc == 1 || (rc == PH_EINVAL && why != NULL));
	if (rc != 1)
		return;
	harmless(login, NAME_LIMIT);
	ph_assert(senders_word(&rest, &word));
	do {
		ph_assert(word.n > 0 && word.p >= in.p && word.p + word.n <= in.p + in.n);
		(void)sender_matches(word, (struct ph_str){ "bob@example.com", 15 });
		ph_assert(word.p[0] == '@' || sender_matches(word, word));
	} while (senders_word(&rest, &word));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(struct ph_str) = { plain, scram, user, sender };
	struct ph_str in;
	char *copy;

	if (size < 2)
		return 0;
	/* of exactly that size, so that a sanitizer sees who reads behind it */
	copy = malloc(size - 1);
	memcpy(copy, data + 1, size - 1);
	in = (struct ph_str){ copy, size - 1 };
	parsers[data[0] % 4](in);
	free(copy);
	return 0;
}
