/*
 * plugins/auth-windows: what helpers say, NTLM's messages, and names, from
 * tables; each text also cut short at every octet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../plugins/auth-windows/answer.c"
#include "../../plugins/auth-windows/identity.c"
#include "../../plugins/auth-windows/ntlm.c"

#define STR(s) ((struct ph_str){ (s), sizeof(s) - 1 })

/* Memory that ends where the text does: reading on is found by the sanitizer. */
static struct ph_str
exact(const void *p, size_t n)
{
	char *copy = malloc(n > 0 ? n : 1);

	assert_non_null(copy);
	memcpy(copy, p, n);
	return (struct ph_str){ copy, n };
}

static void
exact_free(struct ph_str s)
{
	free((char *)(uintptr_t)s.p);
}

static bool
is(struct ph_str s, const char *what)
{
	return s.n == strlen(what) && memcmp(s.p, what, s.n) == 0;
}

static void
test_answers(void **state)
{
	static const struct {
		enum dialect dialect;
		const char *line;
		enum answer_kind kind;
		const char *token, *text;
	} rows[] = {
		{ DIALECT_NTLM, "TT QUJD", ANSWER_TOKEN, "QUJD", "" },
		{ DIALECT_NTLM, "AF LAB\\alice smith", ANSWER_ACCEPTED, "", "LAB\\alice smith" },
		{ DIALECT_NTLM, "NA NT_STATUS_LOGON_FAILURE", ANSWER_REFUSED, "", "NT_STATUS_LOGON_FAILURE" },
		{ DIALECT_NTLM, "NA", ANSWER_REFUSED, "", "" },
		{ DIALECT_NTLM, "BH NT_STATUS_UNSUCCESSFUL NT_STATUS_UNSUCCESSFUL", ANSWER_BROKEN, "",
		  "NT_STATUS_UNSUCCESSFUL NT_STATUS_UNSUCCESSFUL" },
		{ DIALECT_NTLM, "", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "AF", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "AF ", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "TT", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "TT ", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "TT QUJ", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "TT Q*JD", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "TT ====", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "TT QUJD more", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "tt QUJD", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, " AF LAB\\alice", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "OK", ANSWER_NONE, "", "" },
		{ DIALECT_NTLM, "AFLAB\\alice", ANSWER_NONE, "", "" },
		{ DIALECT_SPNEGO, "TT QUI= *", ANSWER_TOKEN, "QUI=", "" },
		{ DIALECT_SPNEGO, "AF oQ== LAB\\alice", ANSWER_ACCEPTED, "oQ==", "LAB\\alice" },
		{ DIALECT_SPNEGO, "AF * LAB\\alice b", ANSWER_ACCEPTED, "", "LAB\\alice b" },
		{ DIALECT_SPNEGO, "AF LAB\\alice", ANSWER_NONE, "", "" },
		{ DIALECT_SPNEGO, "AF *", ANSWER_NONE, "", "" },
		{ DIALECT_SPNEGO, "AF oQ==", ANSWER_NONE, "", "" },
		{ DIALECT_SPNEGO, "NA * NT_STATUS_INVALID_PARAMETER", ANSWER_REFUSED, "", "NT_STATUS_INVALID_PARAMETER" },
		{ DIALECT_SPNEGO, "BH SPNEGO request invalid prefix", ANSWER_BROKEN, "", "SPNEGO request invalid prefix" },
		{ DIALECT_CLIENT, "OK", ANSWER_OK, "", "" },
		{ DIALECT_CLIENT, "PW", ANSWER_PASSWORD, "", "" },
		{ DIALECT_CLIENT, "YR QUJD", ANSWER_TOKEN, "QUJD", "" },
		{ DIALECT_CLIENT, "KK *", ANSWER_TOKEN, "", "" },
		{ DIALECT_CLIENT, "AF", ANSWER_ACCEPTED, "", "" },
		{ DIALECT_CLIENT, "AF QUJD", ANSWER_ACCEPTED, "QUJD", "" },
		{ DIALECT_CLIENT, "BH why", ANSWER_BROKEN, "", "why" },
		{ DIALECT_CLIENT, "YR QUJD QUJD", ANSWER_NONE, "", "" },
		{ DIALECT_CLIENT, "OK then", ANSWER_NONE, "", "" },
		{ DIALECT_CLIENT, "TT QUJD", ANSWER_NONE, "", "" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct answer a;

		for (size_t n = 0; n <= strlen(rows[i].line); n++) {
			struct ph_str line = exact(rows[i].line, n);

			(void)answer_parse(rows[i].dialect, line, &a);
			exact_free(line);
		}
		if (answer_parse(rows[i].dialect, (struct ph_str){ rows[i].line, strlen(rows[i].line) }, &a) !=
		    rows[i].kind || a.kind != rows[i].kind || !is(a.token, rows[i].token) ||
		    !is(a.text, rows[i].text))
			fail_msg("%s: %d", rows[i].line, a.kind);
	}
}

static void
test_blame(void **state)
{
	static const struct { enum answer_kind kind; const char *text; enum answer_blame blame; } rows[] = {
		{ ANSWER_REFUSED, "NT_STATUS_LOGON_FAILURE", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_WRONG_PASSWORD", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_NO_SUCH_USER", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_ACCOUNT_DISABLED", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_ACCOUNT_LOCKED_OUT", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_PASSWORD_MUST_CHANGE", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_LOGON_FAILURE Ticket expired", BLAME_CREDENTIALS },
		{ ANSWER_REFUSED, "NT_STATUS_INVALID_PARAMETER", BLAME_MESSAGE },
		{ ANSWER_REFUSED, "NT_STATUS_NO_LOGON_SERVERS", BLAME_DOMAIN },
		{ ANSWER_REFUSED, "NT_STATUS_ACCESS_DENIED", BLAME_DOMAIN },
		{ ANSWER_REFUSED, "NT_STATUS_OF_TOMORROW", BLAME_UNKNOWN },
		{ ANSWER_REFUSED, "NT_STATUS_LOGON_FAILURE_NOT", BLAME_UNKNOWN },
		{ ANSWER_REFUSED, "", BLAME_UNKNOWN },
		{ ANSWER_BROKEN, "NT_STATUS_LOGON_FAILURE", BLAME_DOMAIN },
		{ ANSWER_BROKEN, "", BLAME_DOMAIN },
		{ ANSWER_BROKEN, "SPNEGO request invalid prefix", BLAME_MESSAGE },
	};
	char text[20];
	struct answer a;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		a = (struct answer){ .kind = rows[i].kind, .text = { rows[i].text, strlen(rows[i].text) } };
		if (answer_blame(&a) != rows[i].blame)
			fail_msg("%s", rows[i].text);
	}
	a.text = STR("* one\ttwo  three four five six");
	answer_reason(&a, text, sizeof text);
	assert_string_equal(text, "one?two three four");
	a.text = STR("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA no");
	answer_reason(&a, text, sizeof text);
	assert_string_equal(text, "no");
}

/* A type 3 in the layout of MS-NLMP 2.2.1.3. */
static size_t
make3(unsigned char *b, const char *user, size_t user_n, uint32_t flags)
{
	memset(b, 0, 64);
	memcpy(b, "NTLMSSP\0\3", 9);
	b[12] = b[14] = 24, b[16] = 64;         /* LM */
	b[20] = b[22] = 24, b[24] = 88;         /* NT */
	b[28] = b[30] = 6, b[32] = 112;         /* domain */
	b[36] = b[38] = (unsigned char)user_n, b[40] = 118;
	b[60] = (unsigned char)flags;
	memset(b + 64, 'x', 48);
	memcpy(b + 112, "L\0A\0B\0", 6);
	memcpy(b + 118, user, user_n);
	return 118 + user_n;
}

static void
test_ntlm(void **state)
{
	unsigned char b[400];
	struct ntlm_message m;
	size_t n = make3(b, "a\0\xe9\0=\xd8\0\xde\n\0", 10, 1);

	(void)state;
	assert_int_equal(ntlm_parse((struct ph_str){ (char *)b, n }, 0, &m), 0);
	assert_int_equal(m.type, 3);
	assert_string_equal(m.claimed, "LAB\\a\xc3\xa9\xf0\x9f\x98\x80?");
	assert_false(m.anonymous);
	for (size_t cut = 0; cut < n; cut++) {  /* every field ends with the message or before it */
		struct ph_str s = exact(b, cut);

		assert_int_equal(ntlm_parse(s, 0, &m), PH_EINVAL);
		exact_free(s);
	}
	/* Each field: lengths and offsets that lie, also such that their sum wraps in 32 bit. */
	for (size_t at = 12; at <= 36; at += 8) {
		static const uint32_t lies[] = { 0, 8, 12, 51, 400, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFE8 };

		for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
			struct ph_str s;

			n = make3(b, "a\0b\0", 4, 1);
			for (size_t k = 0; k < 4; k++)
				b[at + 4 + k] = (unsigned char)(lies[i] >> 8 * k);
			s = exact(b, n);
			assert_int_equal(ntlm_parse(s, 0, &m), PH_EINVAL);
			exact_free(s);
		}
		n = make3(b, "a\0b\0", 4, 1);
		b[at] = b[at + 1] = 0xFF;       /* 64 KiB long */
		assert_int_equal(ntlm_parse((struct ph_str){ (char *)b, n }, 0, &m), PH_EINVAL);
	}
	n = make3(b, "al\xfc", 3, 2);           /* a code page */
	assert_int_equal(ntlm_parse((struct ph_str){ (char *)b, n }, 0, &m), 0);
	assert_string_equal(m.claimed, "L?A?B?\\al?");
	n = make3(b, "", 0, 1);
	assert_int_equal(ntlm_parse((struct ph_str){ (char *)b, n }, 0, &m), 0);
	assert_true(m.anonymous);
	n = make3(b, "a\0b\0c", 5, 1);          /* half a character */
	assert_int_equal(ntlm_parse((struct ph_str){ (char *)b, n }, 0, &m), 0);
	assert_string_equal(m.claimed, "LAB\\ab");
	/* 300 characters of three octets: cut between characters */
	memset(b, 0, sizeof b);
	n = make3(b, "", 0, 1);
	b[36] = 250, b[40] = 118;
	for (size_t i = 0; i < 125; i++)
		b[118 + 2 * i] = 0xAC, b[119 + 2 * i] = 0x20;
	assert_int_equal(ntlm_parse((struct ph_str){ (char *)b, 118 + 250 }, 0, &m), 0);
	assert_true(m.claimed_n <= NTLM_NAME_MAX && (m.claimed_n - 4) % 3 == 0);
	/* types 1 and 2, and none */
	assert_int_equal(ntlm_parse(STR("NTLMSSP\0\1\0\0\0\5\2\0\0"), 0, &m), 0);
	assert_int_equal(m.flags, 0x205);
	assert_int_equal(ntlm_parse(STR("NTLMSSP\0\1\0\0\0\5\2\0"), 0, &m), PH_EINVAL);
	assert_int_equal(ntlm_parse(STR("NTLMSSP\0\4\0\0\0\5\2\0\0"), 0, &m), PH_EINVAL);
	assert_int_equal(ntlm_parse(STR("NTLMSSP\0\1\1\0\0\5\2\0\0"), 0, &m), PH_EINVAL);
	assert_int_equal(ntlm_parse(STR("NTLMSSQ\0\1\0\0\0\5\2\0\0"), 0, &m), PH_EINVAL);
	assert_int_equal(ntlm_parse(STR(""), 0, &m), PH_EINVAL);
	assert_int_equal(ntlm_inside(STR("\x60\x10NTLMSSP\0\1")).n, 9);
	assert_null(ntlm_inside(STR("\x60\x10NTLMSSP")).p);
	assert_null(ntlm_inside(STR("")).p);
}

static void
test_identity(void **state)
{
	static const char *const entries[] = { "LAB=lab.test", "OTHER=other.test" };
	static const struct ph_strings some = { entries, 2 }, none = { NULL, 0 };
	static const struct {
		enum identity_form form;
		bool known, kerberos;
		const char *given, *want;       /* NULL: refused */
		int rc;
	} rows[] = {
		{ IDENTITY_NETBIOS, true, false, "LAB\\alice", "LAB\\alice", 1 },
		{ IDENTITY_NETBIOS, true, true, "alice@LAB.TEST", "LAB\\alice", 1 },
		{ IDENTITY_NETBIOS, true, false, "alice", "LAB\\alice", 1 },
		{ IDENTITY_NETBIOS, true, true, "bob@other.test", "OTHER\\bob", 1 },
		{ IDENTITY_NETBIOS, true, true, "bob@third.test", "bob@third.test", 0 },
		{ IDENTITY_NETBIOS, false, false, "LAB\\alice", "LAB\\alice", 1 },
		{ IDENTITY_NETBIOS, false, true, "alice@LAB.TEST", "alice@LAB.TEST", 0 },
		{ IDENTITY_UPN, true, false, "lab\\alice", "alice@lab.test", 1 },
		{ IDENTITY_UPN, true, true, "alice@LAB.TEST", "alice@lab.test", 1 },
		{ IDENTITY_UPN, true, false, "EVIL\\alice", "EVIL\\alice", 0 },
		{ IDENTITY_PLAIN, true, false, "LAB\\alice", "alice", 1 },
		{ IDENTITY_PLAIN, true, false, "EVIL\\alice", "EVIL\\alice", 0 },
		{ IDENTITY_PLAIN, true, true, "smtp/host@LAB.TEST", "smtp/host", 1 },
		{ IDENTITY_PLAIN, true, false, "LAB\\a@b", "a@b", 1 },
		{ IDENTITY_AS_GIVEN, true, false, "LAB\\alice", "LAB\\alice", 1 },
		{ IDENTITY_AS_GIVEN, true, true, "alice@LAB.TEST", "alice@LAB.TEST", 1 },
		/* a principal with a backslash is no LAB\alice */
		{ IDENTITY_NETBIOS, true, true, "LAB\\alice@EVIL.TEST", NULL, PH_EINVAL },
		{ IDENTITY_NETBIOS, true, false, "", NULL, PH_EINVAL },
		{ IDENTITY_NETBIOS, true, false, "LAB\\", NULL, PH_EINVAL },
		{ IDENTITY_NETBIOS, true, true, "@LAB.TEST", NULL, PH_EINVAL },
		{ IDENTITY_AS_GIVEN, true, false, "LAB\\a\nb", NULL, PH_EINVAL },
		{ IDENTITY_AS_GIVEN, true, false, "LAB\\a\x7f", NULL, PH_EINVAL },
		{ IDENTITY_AS_GIVEN, true, false, "LAB\\a\xc2\x85", NULL, PH_EINVAL },
		{ IDENTITY_AS_GIVEN, true, false, "LAB\\\xc3\xa4", "LAB\\\xc3\xa4", 1 },
	};
	char out[IDENTITY_MAX + 1], big[IDENTITY_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ph_str given = exact(rows[i].given, strlen(rows[i].given));
		int rc = identity_make(rows[i].form, rows[i].known ? &some : &none, rows[i].kerberos, given, out);

		exact_free(given);
		if (rc != rows[i].rc || (rc >= 0 && strcmp(out, rows[i].want) != 0))
			fail_msg("%s: %d %s", rows[i].given, rc, out);
	}
	memset(big, 'a', sizeof big);
	assert_int_equal(identity_make(IDENTITY_NETBIOS, &some, false, (struct ph_str){ big, IDENTITY_MAX }, out), PH_EINVAL);
	assert_int_equal(identity_make(IDENTITY_PLAIN, &some, false, (struct ph_str){ big, IDENTITY_MAX }, out), 1);
	assert_true(identity_domain_valid("LAB=lab.test"));
	for (size_t i = 0; i < 6; i++)
		assert_false(identity_domain_valid((const char *[]){ "LAB", "LAB=", "=lab.test", "L B=lab", "L\\A=lab", "A=b=c" }[i]));
	assert_true(is(identity_realm(&some, STR("OTHER")), "other.test"));
	assert_null(identity_realm(&some, STR("third")).p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers), cmocka_unit_test(test_blame), cmocka_unit_test(test_ntlm),
		cmocka_unit_test(test_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
