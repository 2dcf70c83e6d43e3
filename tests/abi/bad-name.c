/* bad-name.c - a copied plugin whose descriptor kept its old name. */
#include <posthouse/posthouse.h>

extern PH_EXPORT const struct ph_plugin ph_plugin_bad_name;
const struct ph_plugin ph_plugin_bad_name = {
	.abi = { PH_ABI_MAGIC, PH_ABI_MAJOR, PH_ABI_MINOR, sizeof(struct ph_plugin) },
	.name = "goodness",
};
