/* Every piece of C in PLUGINS.md stands, word for word, in a file that is compiled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fsutil.h"

static char *
whole(const char *name)
{
	const char *top = getenv("srcdir");
	struct buf b = { 0 };
	char path[512];

	snprintf(path, sizeof path, "%s/%s", top != NULL ? top : ".", name);
	if (fs_read_file(path, 1 << 20, &b) != 0)
		fail_msg("cannot read %s", path);
	buf_addc(&b, '\0');
	return b.data + b.head;
}

static void
quotes_are_compiled_code(void **state)
{
	char *files[] = { whole("plugins/example/example.c"), whole("plugins/example/directory.c"),
	                  whole("plugins/example/refuse.c"),
	                  whole("plugins/auth-basic/mechanisms.c"),
	                  whole("plugins/auth-basic/user_command.c") };
	char *doc = whole("PLUGINS.md"), *p = doc;
	size_t quotes = 0;

	(void)state;
	while ((p = strstr(p, "```c\n")) != NULL) {
		char *end = strstr(p + 5, "```");
		bool found = false;

		assert_non_null(end);
		*end = '\0';
		for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
			found = found || strstr(files[i], p + 5) != NULL;
		if (!found)
			fail_msg("not in the plugins:\n%s", p + 5);
		quotes++;
		p = end + 3;
	}
	assert_true(quotes > 5);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		free(files[i]);
	free(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(quotes_are_compiled_code) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
