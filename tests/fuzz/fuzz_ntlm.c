/* fuzz_ntlm.c - messages of NTLM, bare and inside other tokens. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/auth-windows/ntlm.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ph_str token = { (const char *)data, n }, inside = ntlm_inside(token);
	struct ntlm_message m;

	for (uint32_t flags = 0; flags < 2; flags++) {
		if (inside.p != NULL && ntlm_parse(inside, flags, &m) == 0 &&
		    (m.claimed_n > NTLM_NAME_MAX || m.claimed[m.claimed_n] != '\0'))
			abort();
		(void)ntlm_parse(token, flags, &m);
	}
	return 0;
}
