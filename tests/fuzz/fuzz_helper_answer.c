/* fuzz_helper_answer.c - lines of helpers, and the names and statuses in them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/auth-windows/answer.c"
#include "../../plugins/auth-windows/identity.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const entries[] = { "LAB=lab.test", "OTHER=other.test" };
	static const struct ph_strings domains = { entries, 2 };
	struct ph_str line = { (const char *)data, n };

	for (int d = DIALECT_NTLM; d <= DIALECT_CLIENT; d++) {
		char reason[50], name[IDENTITY_MAX + 1];
		struct answer a;

		if (answer_parse((enum dialect)d, line, &a) == ANSWER_NONE)
			continue;
		(void)answer_blame(&a);
		answer_reason(&a, reason, sizeof reason);
		for (const char *p = reason; *p != '\0'; p++)
			if (*p < 0x20 || *p == 0x7F)
				abort();
		for (int form = IDENTITY_AS_GIVEN; form <= IDENTITY_PLAIN; form++)
			for (int k = 0; k < 2; k++)
				if (identity_make((enum identity_form)form, &domains, k == 1, a.text, name) >= 0 &&
				    (strpbrk(name, "\r\n\t\x7f") != NULL || name[0] == '\0'))
					abort();
	}
	return 0;
}
