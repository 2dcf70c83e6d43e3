/* bad-minor.c - needs a newer minor interface. */
#include <posthouse/posthouse.h>

extern PH_EXPORT const struct ph_plugin ph_plugin_bad_minor;
const struct ph_plugin ph_plugin_bad_minor = {
	.abi = { PH_ABI_MAGIC, PH_ABI_MAJOR, PH_ABI_MINOR + 7, sizeof(struct ph_plugin) },
	.name = "bad_minor",
};
