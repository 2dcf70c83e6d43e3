/* bad-size.c - its descriptor is larger than any that is known. */
#include <posthouse/posthouse.h>

extern PH_EXPORT const struct ph_plugin ph_plugin_bad_size;
const struct ph_plugin ph_plugin_bad_size = {
	.abi = { PH_ABI_MAGIC, PH_ABI_MAJOR, PH_ABI_MINOR, 100000 }, .name = "bad_size",
};
