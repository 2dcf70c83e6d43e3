/* bad-major.c - built for another major interface; the rest must not be read. */
#include <posthouse/posthouse.h>

extern PH_EXPORT const struct ph_abi ph_plugin_bad_major;
const struct ph_abi ph_plugin_bad_major = { PH_ABI_MAGIC, PH_ABI_MAJOR + 1, 3, 4000 };
