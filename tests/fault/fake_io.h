/*
 * fake_io.h - a disk in memory for the store: page cache and stable storage are
 * kept apart, power can be cut at any call, any call can fail, space can end.
 *
 * After a power cut a file holds what was synced plus any random subset of the
 * 512-byte sectors written later, and any random subset of the directory
 * changes that were not synced.  A failed fdatasync behaves as Linux does: some
 * sectors reach the disk, all are clean afterwards, the cache shows the new bytes.
 *
 * One thread only.
 */
#ifndef FAULT_FAKE_IO_H
#define FAULT_FAKE_IO_H

#include "store/store.h"

enum fake_call {        /* those that change something; reads only for failures */
	FAKE_CREATE, FAKE_WRITE, FAKE_SYNC, FAKE_ALLOCATE, FAKE_TRUNCATE, FAKE_RENAME,
	FAKE_UNLINK, FAKE_SYNCDIR, FAKE_READ, FAKE_OPEN, FAKE_CALLS
};
extern const struct store_io fake_io;

void fake_reset(uint64_t seed);         /* an empty disk, power on */
uint64_t fake_random(void);
void fake_bytes(void *p, size_t n);     /* for id_use_random */
void fake_cut_at(long n);               /* power goes in the n-th changing call from now; 0 never */
long fake_calls(void);                  /* changing calls since fake_reset */
bool fake_is_off(void);
void fake_power_on(void);               /* after a cut: what is left; all descriptors are gone */
void fake_cut(void);                    /* power goes now */
/* kill -9: no call does anything while frozen; then the cache is there, descriptors are not. */
void fake_freeze(bool on);
/* From the nth call of this kind on (1: the next), count calls fail with err. */
void fake_fail(enum fake_call kind, long nth, long count, int err);
void fake_fail_any(long nth, int err);  /* the nth changing call of any kind, once */
void fake_space(int64_t bytes);         /* < 0: without end */
void fake_short_writes(bool on);
void fake_flip(const char *path, uint64_t off); /* damages one byte, in cache and on disk */
int64_t fake_used(void);
bool fake_exists(const char *path);
unsigned fake_files(const char *prefix);        /* how many names begin so */
const char *fake_first(const char *prefix);     /* the smallest such name; NULL */
/* Puts a file there, durable. */
void fake_put(const char *path, const void *p, size_t n);

#endif
