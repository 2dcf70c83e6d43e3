/*
 * plugins/auth-basic: the users file and the file of senders, how they are read, asked and
 * changed, with the mistakes that can stand in them.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <posthouse/posthouse.h>
#include "../../plugins/auth-basic/credentials.h"
#include "../../plugins/auth-basic/senders.h"
#include "../../plugins/auth-basic/user_file.h"
#include "../../plugins/auth-basic/users.h"

#define S(text) ((struct ph_str){ (text), sizeof(text) - 1 })
/* "secret", cheap */
#define SHA256 "$5$rounds=1000$abcdefgh$XIppta5rT8zJUu4vAOKQXrwq9uY4Ijlz6VjyOmkx5i4"
/* "pencil", of RFC 7677 3 */
#define PENCIL "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:" \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static char folder[64], path[128], said[4096];
static const struct users_about about = { .secret = "a secret of thirty-two octets..", .default_domain = "example.com" };

static struct ph_str text_of(const char *s) { return (struct ph_str){ s, strlen(s) }; }

static void
say(void *arg, const char *text)
{
	(void)arg;
	(void)snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", text);
}

static void
put(const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
	said[0] = '\0';
}

static const char *
content(void)
{
	static char text[8192];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static int
up(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof folder, "/tmp/test-users-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/users", folder);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(folder);
}

/* --- users --- */

static void
lines(void **state)
{
	static const struct { const char *line; int rc; const char *why; } cases[] = {
		{ "bob:" SHA256, 1, NULL }, { "bob:" SHA256 ":" PENCIL, 1, NULL }, { "bob:-:" PENCIL, 1, NULL },
		{ "bob:" SHA256 ":", 1, NULL }, { "bob:" SHA256 "\r", 1, NULL }, { "bob@example.com:" SHA256 "  ", 1, NULL },
		{ "LAB\\bob:" SHA256, 1, NULL }, { "b\xC3\xBC:" SHA256, 1, NULL },
		{ "", 0, NULL }, { "  \t", 0, NULL }, { "# bob:x", 0, NULL },
		{ "bob", PH_EINVAL, "no password hash" }, { "bob:", PH_EINVAL, "no password hash" },
		{ ":" SHA256, PH_EINVAL, "empty" }, { "b ob:" SHA256, PH_EINVAL, "blank" }, { " bob:" SHA256, PH_EINVAL, "blank" },
		{ "bob\x01:" SHA256, PH_EINVAL, "control" }, { "b\xFC:" SHA256, PH_EINVAL, "UTF-8" },
		{ "bob:secret", PH_EINVAL, "none of" }, { "bob:$1$abc$def", PH_EINVAL, "none of" },
		{ "bob:{CRYPT}" SHA256, PH_EINVAL, "braces" }, { "bob:$5$a b", PH_EINVAL, "none of" },
		{ "bob:-", PH_EINVAL, "neither" }, { "bob:-:", PH_EINVAL, "neither" },
		{ "bob:" SHA256 ":x", PH_EINVAL, "third part" },
		{ "bob:-:SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
		  "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", PH_EINVAL, "4096" },
		{ "bob:-:SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
		  "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", PH_EINVAL, "third part" },
	};
	struct user_verifier v;
	struct user_line l;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc = user_line_parse(text_of(cases[i].line), &l, &why);

		if (rc != cases[i].rc || (rc < 0 && strstr(why, cases[i].why) == NULL))
			fail_msg("\"%s\": %d %s", cases[i].line, rc, rc < 0 ? why : "");
	}
	/* octet by octet: a verifier is whole or none */
	for (size_t n = 0; n < sizeof PENCIL - 1; n++)
		assert_int_equal(user_verifier_parse((struct ph_str){ PENCIL, n }, &v), PH_EINVAL);
	assert_int_equal(user_verifier_parse(S(PENCIL), &v), 0);
}

static void
verifiers(void **state)
{
	char text[USER_VERIFIER_TEXT];
	struct user_verifier v, w;

	(void)state;
	assert_int_equal(user_verifier_parse(S(PENCIL), &v), 0);
	assert_int_equal(user_verifier_print(&v, text), sizeof PENCIL - 1);
	assert_string_equal(text, PENCIL);
	assert_int_equal(user_verifier_make(S("pencil"), 4096, &v), 0);
	assert_int_equal(user_verifier_make(S("pencil"), 4096, &w), 0);
	assert_memory_not_equal(v.salt, w.salt, v.salt_n);
	assert_true(user_verifier_print(&v, text) > 0);
	assert_int_equal(user_verifier_parse(text_of(text), &w), 0);
	assert_memory_equal(v.stored, w.stored, SCRAM_KEY);
}

static void
passwords(void **state)
{
	static const struct { const char *name, *password; int rc; const char *found; } cases[] = {
		{ "bob@example.com", "secret", 0, "Bob@example.com" }, { "BOB@EXAMPLE.COM", "secret", 0, "Bob@example.com" },
		{ "bob@example.com", "Secret", PH_EPERM, NULL }, { "bob@example.com", "secret2", PH_EPERM, NULL },
		{ "bob@example.com", "", PH_EPERM, NULL }, { "bob", "secret", PH_EPERM, NULL },
		{ "carol@example.com", "secret", 0, "carol" }, { "carol@example.org", "secret", PH_EPERM, NULL },
		{ "scram@example.com", "pencil", 0, "scram@example.com" }, { "scram@example.com", "secret", PH_EPERM, NULL },
		{ "nobody@example.com", "secret", PH_EPERM, NULL }, { "nobody@example.com", "pencil", PH_EPERM, NULL },
	};
	struct users *u;

	(void)state;
	put("# all of them\n\nBob@example.com:" SHA256 "\ncarol:" SHA256 ":" PENCIL "\nscram@example.com:-:" PENCIL, 0640);
	assert_int_equal(users_read(path, &about, &u, say, NULL), 0);
	assert_string_equal(said, "");
	assert_int_equal(users_count(u), 3);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_str found = { NULL, 0 };
		int rc = users_verify(u, text_of(cases[i].name), text_of(cases[i].password), &found);

		if (rc != cases[i].rc)
			fail_msg("%s, %s: %d", cases[i].name, cases[i].password, rc);
		if (rc == 0) {
			assert_int_equal(found.n, strlen(cases[i].found));
			assert_memory_equal(found.p, cases[i].found, found.n);
		}
	}
	users_unref(&u);
	/* an empty one: nobody, after the time that a hash takes */
	u = users_empty(&about);
	assert_int_equal(users_verify(u, S("bob"), S("secret"), &(struct ph_str){ NULL, 0 }), PH_EPERM);
	users_unref(&u);
}

/* Who asks for an unknown name by SCRAM is told what looks like a known one, again and again. */
static void
unknown_names(void **state)
{
	struct user_verifier v, w, real;
	struct users *u;

	(void)state;
	put("bob@example.com:" SHA256 ":" PENCIL "\nann@example.com:" SHA256 "\n", 0600);
	assert_int_equal(users_read(path, &about, &u, say, NULL), 0);
	assert_int_equal(users_verifier(u, S("bob@example.com"), &real, &(struct ph_str){ NULL, 0 }), 0);
	assert_int_equal(users_verifier(u, S("nobody@example.com"), &real, &(struct ph_str){ NULL, 0 }), PH_EPERM);
	assert_int_equal(users_verifier(u, S("ann@example.com"), &real, &(struct ph_str){ NULL, 0 }), PH_EPERM);
	users_fake(u, S("nobody@example.com"), &v);
	users_fake(u, S("NoBody@example.com"), &w);
	assert_memory_equal(&v, &w, sizeof v);
	assert_int_equal(v.iterations, 4096);
	assert_int_equal(v.salt_n, 16);
	users_fake(u, S("nobody2@example.com"), &w);
	assert_memory_not_equal(v.salt, w.salt, 16);
	assert_memory_not_equal(v.stored, w.stored, SCRAM_KEY);
	users_unref(&u);
	/* a new reading, with the same secret: the same; with another: another */
	assert_int_equal(users_read(path, &about, &u, say, NULL), 0);
	users_fake(u, S("nobody@example.com"), &w);
	assert_memory_equal(&v, &w, sizeof v);
	users_unref(&u);
}

static void
files_with_mistakes(void **state)
{
	struct users *u = NULL;
	char want[1024];

	(void)state;
	assert_int_equal(users_read("/nowhere/users", &about, &u, say, NULL), PH_ENOENT);
	said[0] = '\0';
	assert_int_equal(users_read(folder, &about, &u, say, NULL), PH_EIO);
	assert_non_null(strstr(said, "is not a file"));
	put("bob:" SHA256 "\n", 0644);
	assert_int_equal(users_read(path, &about, &u, say, NULL), PH_EPERM);
	assert_non_null(strstr(said, "mode 0644: others could read it; chmod 0640 or 0600"));
	put("bob:" SHA256 "\n", 0660);
	assert_int_equal(users_read(path, &about, &u, say, NULL), PH_EPERM);
	assert_non_null(strstr(said, "mode 0660: others could change it"));
	put("bob:" SHA256 "\n# fine\nann:oops\nBOB:" SHA256 "\n", 0600);
	assert_int_equal(users_read(path, &about, &u, say, NULL), PH_EINVAL);
	(void)snprintf(want, sizeof want, "%s:3: the hash is none of", path);
	assert_non_null(strstr(said, want));
	(void)snprintf(want, sizeof want, "%s:4: \"BOB\" stands in line 1 already", path);
	assert_non_null(strstr(said, want));
	put("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n", 0600);
	assert_int_equal(users_read(path, &about, &u, say, NULL), PH_EINVAL);
	assert_non_null(strstr(said, ":10: "));
	assert_null(strstr(said, ":11: "));
	assert_non_null(strstr(said, "more mistakes follow"));
	assert_null(u);
}

static void
one_line_is_changed(void **state)
{
	static const char start[] = "# head\nann:" SHA256 "\nnot a line at all\nbob@example.com:" SHA256 "\r\n# tail";
	static const struct {
		const char *start;
		enum user_change what;
		const char *name, *line;
		int rc;
		const char *end;
	} cases[] = {
		{ start, USER_REMOVE, "bob@example.com", NULL, 0, "# head\nann:" SHA256 "\nnot a line at all\n# tail" },
		{ start, USER_REMOVE, "ann@example.com", NULL, 0, "# head\nnot a line at all\nbob@example.com:" SHA256 "\r\n# tail" },
		{ start, USER_REPLACE, "ann@example.com", "ann:new", 0, "# head\nann:new\nnot a line at all\nbob@example.com:" SHA256 "\r\n# tail" },
		{ start, USER_ADD, "eve@example.com", "eve:x", 0, "# head\nann:" SHA256 "\nnot a line at all\nbob@example.com:" SHA256 "\r\n# tail\neve:x\n" },
		{ start, USER_ADD, "ANN@example.com", "ann:x", PH_EEXIST, start },
		{ start, USER_REPLACE, "eve@example.com", "eve:x", PH_ENOENT, start },
		{ start, USER_REMOVE, "bob", NULL, PH_ENOENT, start },
		{ "", USER_ADD, "eve", "eve:x", 0, "eve:x\n" }, { "a:x\n", USER_ADD, "eve", "eve:x", 0, "a:x\neve:x\n" },
		{ "eve:x", USER_REPLACE, "eve", "eve:y", 0, "eve:y\n" }, { "eve:x", USER_REMOVE, "eve", NULL, 0, "" },
		{ "#eve:x\n", USER_REMOVE, "#eve", NULL, PH_ENOENT, "#eve:x\n" },
	};
	char why[USER_WHY];
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		put(cases[i].start, 0640);
		assert_int_equal(user_file_change(path, cases[i].what, text_of(cases[i].name), "example.com", cases[i].line, NULL,
		    why), cases[i].rc);
		assert_string_equal(content(), cases[i].end);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0640);
	}
}

static void
a_file_is_made_and_links_stay(void **state)
{
	char link[160], why[USER_WHY];
	struct stat st;

	(void)state;
	(void)unlink(path);
	assert_int_equal(user_file_has(path, S("bob"), NULL, why), 0);
	assert_int_equal(user_file_change(path, USER_ADD, S("bob"), NULL, "bob:x", "/nowhere/at/all", why), 0);
	assert_int_equal(user_file_has(path, S("BOB"), NULL, why), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)snprintf(link, sizeof link, "%s/link", folder);
	assert_int_equal(symlink("users", link), 0);
	assert_int_equal(user_file_change(link, USER_ADD, S("ann"), NULL, "ann:x", NULL, why), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_string_equal(content(), "bob:x\nann:x\n");
	(void)unlink(link);
	put("bob:x\n", 0644);
	assert_int_equal(user_file_change(path, USER_ADD, S("ann"), NULL, "ann:x", NULL, why), PH_EPERM);
	assert_non_null(strstr(why, "mode 0644"));
	assert_int_equal(user_file_change("/nowhere/users", USER_ADD, S("ann"), NULL, "ann:x", NULL, why), PH_EIO);
	assert_non_null(strstr(why, "/nowhere"));
}

/* --- senders --- */

static void
sender_lines(void **state)
{
	static const struct { const char *line; int rc; const char *login, *first, *why; } cases[] = {
		{ "bob@example.com bob@example.com", 1, "bob@example.com", "bob@example.com", NULL },
		{ "  bob\tann@example.com, @example.org # and so on", 1, "bob", "ann@example.com", NULL },
		{ "\"LAB\\alice smith\" @lab.example.com", 1, "LAB\\alice smith", "@lab.example.com", NULL },
		{ "* noreply@example.com\r", 1, "*", "noreply@example.com", NULL }, { "bob *", 1, "bob", "*", NULL },
		{ "bob @.example.com", 1, "bob", "@.example.com", NULL },
		{ "", 0, NULL, NULL, NULL }, { "   ", 0, NULL, NULL, NULL }, { "# bob", 0, NULL, NULL, NULL },
		{ "bob", PH_EINVAL, NULL, NULL, "no address" }, { "bob # x@y", PH_EINVAL, NULL, NULL, "no address" },
		{ "bob example.com", PH_EINVAL, NULL, NULL, "no address; write" }, { "bob bob@", PH_EINVAL, NULL, NULL, "no address; write" },
		{ "bob <bob@example.com>", PH_EINVAL, NULL, NULL, "no address; write" },
		{ "bob bob@example.com:", PH_EINVAL, NULL, NULL, "no address; write" },
		{ "\"bob bob@example.com", PH_EINVAL, NULL, NULL, "second \"" }, { "\"\" bob@example.com", PH_EINVAL, NULL, NULL, "empty" },
		{ "b\xFC bob@example.com", PH_EINVAL, NULL, NULL, "not text" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ph_str login, rest, word;
		const char *why = "";
		int rc = senders_line(text_of(cases[i].line), &login, &rest, &why);

		if (rc != cases[i].rc || (rc < 0 && strstr(why, cases[i].why) == NULL))
			fail_msg("\"%s\": %d %s", cases[i].line, rc, why);
		if (rc <= 0)
			continue;
		assert_int_equal(login.n, strlen(cases[i].login));
		assert_memory_equal(login.p, cases[i].login, login.n);
		assert_true(senders_word(&rest, &word));
		assert_int_equal(word.n, strlen(cases[i].first));
		assert_memory_equal(word.p, cases[i].first, word.n);
	}
}

static void
senders(void **state)
{
	static const struct { const char *login, *sender; bool allowed; } cases[] = {
		{ "bob@example.com", "bob@example.com", true }, { "BOB@example.com", "Bob@EXAMPLE.com", true },
		{ "bob@example.com", "sales@example.com", true }, { "bob@example.com", "x@lists.example.com", true },
		{ "bob@example.com", "x@a.b.lists.example.org", true }, { "bob@example.com", "x@lists.example.org", false },
		{ "bob@example.com", "eve@example.com", false }, { "bob@example.com", "bob@example.com.evil.example", false },
		{ "bob", "bob@example.com", true }, { "bob@example.org", "bob@example.com", false },
		{ "ann@example.com", "ann@example.com", true }, { "ann@example.org", "ann@example.com", false },
		{ "eve@example.com", "noreply@example.com", true }, { "eve@example.com", "eve@example.com", false },
		{ "scanner.example.com", "anything@anywhere.example", true },
		{ "LAB\\alice smith", "a@lab.example.com", true }, { "lab\\ALICE SMITH", "a@lab.example.com", true },
		{ "LAB\\alice", "a@lab.example.com", false }, { "*", "bob@example.com", false },
	};
	struct senders *s;

	(void)state;
	put("bob@example.com bob@example.com sales@example.com # the seller\nann ann@example.com\n"
	    "* noreply@example.com\nscanner.example.com *\n\"LAB\\alice smith\" @lab.example.com\n"
	    "BOB@example.com @lists.example.com @.lists.example.org\n", 0644);
	assert_int_equal(senders_read(path, &s, say, NULL), 0);
	assert_int_equal(senders_count(s), 6);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (senders_allow(s, text_of(cases[i].login), "example.com", text_of(cases[i].sender)) != cases[i].allowed)
			fail_msg("%s as %s", cases[i].login, cases[i].sender);
	assert_false(senders_allow(s, S("ann@example.com"), NULL, S("ann@example.com")));
	senders_unref(&s);
	put("bob bob@example.com\nann\n", 0644);
	assert_int_equal(senders_read(path, &s, say, NULL), PH_EINVAL);
	assert_non_null(strstr(said, "/users:2: there is no address behind the login"));
	put("bob bob@example.com\n", 0666);
	assert_int_equal(senders_read(path, &s, say, NULL), PH_EPERM);
	assert_non_null(strstr(said, "others could change it"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(verifiers),
		cmocka_unit_test(passwords),
		cmocka_unit_test(unknown_names),
		cmocka_unit_test(files_with_mistakes),
		cmocka_unit_test(one_line_is_changed),
		cmocka_unit_test(a_file_is_made_and_links_stay),
		cmocka_unit_test(sender_lines),
		cmocka_unit_test(senders),
	};

	return cmocka_run_group_tests(tests, up, down);
}
