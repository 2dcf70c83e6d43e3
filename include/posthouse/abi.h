/*
 * abi.h - the frozen part of the plugin interface.
 *
 * The loader reads struct ph_abi first, decides, and only then looks at
 * anything else of a plugin.  struct ph_abi itself never changes.
 *
 * History (newest first).  Major: an incompatible change.  Minor: additions
 * at the end of structs, new functions, new hooks, new option types.
 *   1.0  2026-11  first interface: hooks, providers, options, helpers, store
 */
#ifndef POSTHOUSE_ABI_H
#define POSTHOUSE_ABI_H

#include <stdint.h>

#define PH_ABI_MAGIC 0x50486f73u        /* "PHos" */
#define PH_ABI_MAJOR 1
#define PH_ABI_MINOR 0

/* Led by every plugin descriptor.  A plugin loads when magic and major match,
 * its minor is not newer than the daemon's and its size not larger. */
struct ph_abi {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t size;          /* sizeof(struct ph_plugin) the plugin was built with */
};

/* PH_API marks what the daemon exports, PH_EXPORT what a plugin exports. */
#define PH_API    __attribute__((visibility("default")))
#define PH_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
#define PH_BEGIN_DECLS extern "C" {
#define PH_END_DECLS   }
#else
#define PH_BEGIN_DECLS
#define PH_END_DECLS
#endif

#define PH_MUST_USE __attribute__((warn_unused_result))
#define PH_PRINTF(f, a) __attribute__((format(printf, f, a)))

#endif
