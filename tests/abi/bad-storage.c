/* bad-storage.c - wants too much for every session. */
#include <posthouse/posthouse.h>

PH_PLUGIN(bad_storage, .summary = "greedy", .session = { 64 * 1024 + 1, NULL, NULL });
