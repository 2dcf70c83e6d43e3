/* bad-magic.c - an object of that name that is no descriptor. */
#include <posthouse/posthouse.h>

extern PH_EXPORT const struct ph_plugin ph_plugin_bad_magic;
const struct ph_plugin ph_plugin_bad_magic = { .abi = { 0x12345678, 1, 0, 0 } };
