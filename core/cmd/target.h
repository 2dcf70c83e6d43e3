/* target.h - "HOST:PORT" of a command line to addresses, by the system's resolver. */
#ifndef CMD_TARGET_H
#define CMD_TARGET_H

#include "base/buf.h"

/* "host", "host:25", "192.0.2.1:25", "[::1]:25", "::1", "*:25" (passive only: all
 * addresses). How many addresses (up to max), or PH_EINVAL or PH_EDNS with why
 * added. Blocks. */
int target_resolve(const char *text, uint16_t dflt_port, bool passive, struct ph_addr *out, int max,
                   struct buf *why);
/* "192.0.2.1:25", "[::1]:25" */
void target_text(const struct ph_addr *a, struct buf *out);
/* Lets the process have as many descriptors as it may. */
void target_raise_files(void);

#endif
