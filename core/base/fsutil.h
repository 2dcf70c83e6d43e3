/* fsutil.h - files: read whole, write durably, check owner and mode. */
#ifndef BASE_FSUTIL_H
#define BASE_FSUTIL_H

#include <sys/types.h>
#include "base/buf.h"

int fs_read_file(const char *path, size_t limit, struct buf *out);      /* 0, -errno, PH_ELIMIT */
int fs_write_all(int fd, const void *p, size_t n);                      /* 0 or -errno */
int fs_mkdirs(const char *path, mode_t mode);                           /* 0 or -errno */
/* Whether that account could open it for reading (root asks; for others a guess: true). */
bool fs_readable_by(const char *path, const char *user);
/* NULL when path is owned by root or uid and not writable by group or others
 * (its directories neither, up to the root, sticky ones excepted); else why
 * not, in the buffer. */
const char *fs_untrusted(const char *path, uid_t uid, char *why, size_t n);

#endif
