/* fake_io.c - see fake_io.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fake_io.h"

#define SECTOR 512u
#define FDS 256

struct inode {
	uint8_t *now, *stable;
	bool *dirty;            /* by sector */
	uint64_t size, stable_size, cap, allocated;
	unsigned links;         /* names and descriptors, in both views */
};
struct name { char *path; struct inode *inode; };
struct names { struct name *v; size_t n; };
struct change { enum fake_call kind; char *from, *to; struct inode *inode; };

static struct {
	struct names now, stable;
	struct change *changes;
	size_t nchanges;
	struct inode *all[4096];
	size_t nall;
	struct { struct inode *inode; bool used; } fds[FDS];
	uint64_t random;
	long calls, cut_at;
	bool off, short_writes;
	struct { long nth, count; int err; } fail[FAKE_CALLS], any;
	int64_t space;
} disk;

uint64_t
fake_random(void)
{
	disk.random += 0x9e3779b97f4a7c15ull;
	uint64_t z = disk.random;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void
fake_bytes(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)fake_random();
}

static bool coin(void) { return fake_random() & 1; }

static struct name *
find(struct names *names, const char *path)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i].path, path) == 0)
			return &names->v[i];
	return NULL;
}

static void
set(struct names *names, const char *path, struct inode *inode)
{
	struct name *at = find(names, path);

	if (at != NULL) {
		at->inode = inode;
		return;
	}
	names->v = mem_realloc(names->v, (names->n + 1) * sizeof(*names->v));
	names->v[names->n++] = (struct name){ mem_strdup(path), inode };
}

static void
unset(struct names *names, const char *path)
{
	struct name *at = find(names, path);

	if (at == NULL)
		return;
	free(at->path);
	*at = names->v[--names->n];
}

static void
clear(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i].path);
	free(names->v);
	*names = (struct names){ NULL, 0 };
}

static void
copy_names(struct names *to, const struct names *from)
{
	clear(to);
	for (size_t i = 0; i < from->n; i++)
		set(to, from->v[i].path, from->v[i].inode);
}

static void
change(enum fake_call kind, const char *from, const char *to, struct inode *inode)
{
	disk.changes = mem_realloc(disk.changes, (disk.nchanges + 1) * sizeof(*disk.changes));
	disk.changes[disk.nchanges++] = (struct change){ kind, mem_strdup(from),
	    to != NULL ? mem_strdup(to) : NULL, inode };
}

static void
apply(struct names *names, const struct change *c)
{
	struct name *at;

	switch (c->kind) {
	case FAKE_CREATE:
		set(names, c->from, c->inode);
		break;
	case FAKE_UNLINK:
		unset(names, c->from);
		break;
	case FAKE_RENAME:
		at = find(names, c->from);
		if (at != NULL) {
			struct inode *inode = at->inode;

			unset(names, c->from);
			set(names, c->to, inode);
		}
		break;
	default:
		break;
	}
}

static void
drop_changes(void)
{
	for (size_t i = 0; i < disk.nchanges; i++) {
		free(disk.changes[i].from);
		free(disk.changes[i].to);
	}
	free(disk.changes);
	disk.changes = NULL;
	disk.nchanges = 0;
}

static void
close_all(void)
{
	memset(disk.fds, 0, sizeof disk.fds);
}

/* Frees inodes that no name and no descriptor leads to. */
static void
sweep(void)
{
	size_t kept = 0;

	for (size_t i = 0; i < disk.nall; i++) {
		struct inode *inode = disk.all[i];
		bool used = false;

		for (size_t k = 0; k < disk.now.n && !used; k++)
			used = disk.now.v[k].inode == inode;
		for (size_t k = 0; k < disk.stable.n && !used; k++)
			used = disk.stable.v[k].inode == inode;
		for (size_t k = 0; k < FDS && !used; k++)
			used = disk.fds[k].used && disk.fds[k].inode == inode;
		for (size_t k = 0; k < disk.nchanges && !used; k++)
			used = disk.changes[k].inode == inode;
		if (used) {
			disk.all[kept++] = inode;
			continue;
		}
		free(inode->now);
		free(inode->stable);
		free(inode->dirty);
		free(inode);
	}
	disk.nall = kept;
}

void
fake_reset(uint64_t seed)
{
	clear(&disk.now);
	clear(&disk.stable);
	drop_changes();
	close_all();
	sweep();
	memset(&disk, 0, sizeof disk);
	disk.random = seed;
	disk.space = -1;
}

static struct inode *
inode_new(void)
{
	struct inode *inode = mem_new(struct inode);

	if (disk.nall == sizeof disk.all / sizeof disk.all[0])
		sweep();
	if (disk.nall == sizeof disk.all / sizeof disk.all[0])
		abort();
	disk.all[disk.nall++] = inode;
	return inode;
}

static void
reach(struct inode *inode, uint64_t size)
{
	uint64_t cap = (size + SECTOR - 1) / SECTOR * SECTOR;

	if (cap <= inode->cap)
		return;
	inode->now = mem_realloc(inode->now, cap);
	inode->stable = mem_realloc(inode->stable, cap);
	inode->dirty = mem_realloc(inode->dirty, cap / SECTOR * sizeof(bool));
	memset(inode->now + inode->cap, 0, cap - inode->cap);
	memset(inode->stable + inode->cap, 0, cap - inode->cap);
	memset(inode->dirty + inode->cap / SECTOR, 0, (cap - inode->cap) / SECTOR * sizeof(bool));
	inode->cap = cap;
}

long fake_calls(void) { return disk.calls; }
bool fake_is_off(void) { return disk.off; }
void fake_cut_at(long n) { disk.cut_at = n > 0 ? disk.calls + n : 0; }
void fake_space(int64_t bytes) { disk.space = bytes; }
void fake_short_writes(bool on) { disk.short_writes = on; }
bool fake_exists(const char *path) { return find(&disk.now, path) != NULL; }

void
fake_fail(enum fake_call kind, long nth, long count, int err)
{
	disk.fail[kind].nth = nth;
	disk.fail[kind].count = count;
	disk.fail[kind].err = err;
}

void
fake_fail_any(long nth, int err)
{
	disk.any.nth = nth;
	disk.any.count = 1;
	disk.any.err = err;
}

void
fake_power_on(void)
{
	for (size_t i = 0; i < disk.nchanges; i++)
		if (coin())
			apply(&disk.stable, &disk.changes[i]);
	drop_changes();
	copy_names(&disk.now, &disk.stable);
	close_all();
	sweep();
	for (size_t i = 0; i < disk.nall; i++) {
		struct inode *inode = disk.all[i];

		for (uint64_t k = 0; k < inode->cap / SECTOR; k++) {
			if (inode->dirty[k] && coin())
				memcpy(inode->stable + k * SECTOR, inode->now + k * SECTOR, SECTOR);
			inode->dirty[k] = false;
		}
		if (inode->size != inode->stable_size && coin())
			inode->stable_size = inode->size;
		inode->size = inode->stable_size;
		if (inode->cap > inode->size)
			memset(inode->stable + inode->size, 0, inode->cap - inode->size);
		if (inode->cap > 0)
			memcpy(inode->now, inode->stable, inode->cap);
	}
	disk.off = false;
	disk.cut_at = 0;
	memset(disk.fail, 0, sizeof disk.fail);
	memset(&disk.any, 0, sizeof disk.any);
}

void
fake_cut(void)
{
	disk.off = true;
}

void
fake_freeze(bool on)
{
	disk.off = on;
	if (!on)
		close_all();
	disk.cut_at = 0;
}

/* Power and planned failures; half: the call is still to be carried out, in part, before
 * the light goes out. */
static int
before(enum fake_call kind, bool *half)
{
	*half = false;
	if (disk.off)
		return -EIO;
	if (kind < FAKE_READ) {
		disk.calls++;
		if (disk.cut_at != 0 && disk.calls >= disk.cut_at) {
			disk.off = true;
			*half = coin();
			return *half ? 0 : -EIO;
		}
		if (disk.any.nth > 0 && --disk.any.nth == 0)
			return -disk.any.err;
	}
	if (disk.fail[kind].count > 0 && disk.fail[kind].nth > 0 && --disk.fail[kind].nth == 0) {
		disk.fail[kind].count--;
		disk.fail[kind].nth = 1;
		return -disk.fail[kind].err;
	}
	return 0;
}

static int
fd_new(struct inode *inode)
{
	for (int fd = 3; fd < FDS; fd++)
		if (!disk.fds[fd].used) {
			disk.fds[fd].used = true;
			disk.fds[fd].inode = inode;
			return fd;
		}
	return -EMFILE;
}

int64_t
fake_used(void)
{
	int64_t used = 0;

	sweep();
	for (size_t i = 0; i < disk.nall; i++)
		used += (int64_t)disk.all[i]->allocated;
	return used;
}

static bool
no_space(struct inode *inode, uint64_t to)
{
	uint64_t more;

	if (to <= inode->allocated)
		return false;
	more = to - inode->allocated;
	if (disk.space >= 0 && fake_used() + (int64_t)more > disk.space)
		return true;
	inode->allocated = to;
	return false;
}

static int
f_open(const char *path, int flags, unsigned mode)
{
	struct name *at = find(&disk.now, path);
	struct inode *inode;
	bool half;
	int rc;

	(void)mode;
	if (at != NULL) {
		rc = before(FAKE_OPEN, &half);
		if (rc < 0)
			return rc;
		return (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? -EEXIST : fd_new(at->inode);
	}
	if (!(flags & O_CREAT))
		return disk.off ? -EIO : -ENOENT;
	rc = before(FAKE_CREATE, &half);
	if (rc < 0)
		return rc;
	inode = inode_new();
	set(&disk.now, path, inode);
	change(FAKE_CREATE, path, NULL, inode);
	return half ? -EIO : fd_new(inode);
}

static int
f_close(int fd)
{
	if (fd < 0 || fd >= FDS || !disk.fds[fd].used)
		return -EBADF;
	disk.fds[fd].used = false;
	return 0;
}

static ssize_t
f_pread(int fd, void *p, size_t n, int64_t off)
{
	struct inode *inode = disk.fds[fd].inode;
	bool half;
	int rc = before(FAKE_READ, &half);

	if (rc < 0)
		return rc;
	if ((uint64_t)off >= inode->size)
		return 0;
	if (n > inode->size - (uint64_t)off)
		n = inode->size - (uint64_t)off;
	memcpy(p, inode->now + off, n);
	return (ssize_t)n;
}

static ssize_t
f_pwritev(int fd, const struct iovec *v, int n, int64_t off)
{
	struct inode *inode = disk.fds[fd].inode;
	uint64_t all = 0, at = (uint64_t)off, most = UINT64_MAX;
	bool half;
	int rc = before(FAKE_WRITE, &half);

	if (rc < 0)
		return rc;
	for (int i = 0; i < n; i++)
		all += v[i].iov_len;
	if (half)
		most = fake_random() % (all + 1);
	else if (disk.short_writes && all > 1 && coin())
		most = 1 + fake_random() % (all - 1);
	if (most < all)
		all = most;
	if (no_space(inode, at + all))
		return -ENOSPC;
	reach(inode, at + all);
	for (int i = 0; i < n && all > 0; i++) {
		uint64_t part = v[i].iov_len < all ? v[i].iov_len : all;

		memcpy(inode->now + at, v[i].iov_base, part);
		for (uint64_t k = at / SECTOR; part > 0 && k <= (at + part - 1) / SECTOR; k++)
			inode->dirty[k] = true;
		at += part;
		all -= part;
	}
	if (at > inode->size)
		inode->size = at;
	return half ? -EIO : (ssize_t)(at - (uint64_t)off);
}

static int
f_fdatasync(int fd)
{
	struct inode *inode = disk.fds[fd].inode;
	bool half;
	int rc = before(FAKE_SYNC, &half);

	if (disk.off && !half)
		return -EIO;
	for (uint64_t k = 0; k < inode->cap / SECTOR; k++) {
		if (!inode->dirty[k] || ((rc < 0 || half) && coin()))
			continue;
		memcpy(inode->stable + k * SECTOR, inode->now + k * SECTOR, SECTOR);
		inode->dirty[k] = false;
	}
	if (rc < 0)             /* clean in the cache, lost on the disk */
		memset(inode->dirty, 0, inode->cap / SECTOR * sizeof(bool));
	if (rc < 0 || half)
		return rc < 0 ? rc : -EIO;
	inode->stable_size = inode->size;
	return 0;
}

static int
f_fallocate(int fd, int64_t off, int64_t len)
{
	struct inode *inode = disk.fds[fd].inode;
	bool half;
	int rc = before(FAKE_ALLOCATE, &half);

	if (rc < 0)
		return rc;
	if (no_space(inode, (uint64_t)(off + len)))
		return -ENOSPC;
	reach(inode, (uint64_t)(off + len));
	if ((uint64_t)(off + len) > inode->size)
		inode->size = (uint64_t)(off + len);
	return half ? -EIO : 0;
}

static int
f_ftruncate(int fd, int64_t len)
{
	struct inode *inode = disk.fds[fd].inode;
	bool half;
	int rc = before(FAKE_TRUNCATE, &half);

	if (rc < 0)
		return rc;
	reach(inode, (uint64_t)len);
	if ((uint64_t)len < inode->cap)
		memset(inode->now + len, 0, inode->cap - (uint64_t)len);
	inode->size = (uint64_t)len;
	if (inode->allocated > (uint64_t)len)
		inode->allocated = (uint64_t)len;
	return half ? -EIO : 0;
}

static int64_t
f_size(int fd)
{
	return disk.off ? -EIO : (int64_t)disk.fds[fd].inode->size;
}

static int
f_rename(const char *from, const char *to)
{
	struct name *at;
	bool half;
	int rc = before(FAKE_RENAME, &half);

	if (rc < 0)
		return rc;
	at = find(&disk.now, from);
	if (at == NULL)
		return -ENOENT;
	change(FAKE_RENAME, from, to, at->inode);
	apply(&disk.now, &disk.changes[disk.nchanges - 1]);
	return half ? -EIO : 0;
}

static int
f_unlink(const char *path)
{
	bool half;
	int rc = before(FAKE_UNLINK, &half);

	if (rc < 0)
		return rc;
	if (find(&disk.now, path) == NULL)
		return -ENOENT;
	change(FAKE_UNLINK, path, NULL, NULL);
	unset(&disk.now, path);
	return half ? -EIO : 0;
}

static int
f_mkdir(const char *path, unsigned mode)
{
	(void)path;             /* directories are there by themselves */
	(void)mode;
	return disk.off ? -EIO : 0;
}

static int
f_list(const char *dir, void (*each)(void *arg, const char *name), void *arg)
{
	size_t n = strlen(dir);
	struct names copy = { NULL, 0 };

	if (disk.off)
		return -EIO;
	copy_names(&copy, &disk.now);
	for (size_t i = 0; i < copy.n; i++)
		if (strncmp(copy.v[i].path, dir, n) == 0 && copy.v[i].path[n] == '/' &&
		    strchr(copy.v[i].path + n + 1, '/') == NULL)
			each(arg, copy.v[i].path + n + 1);
	clear(&copy);
	return 0;
}

static bool
is_in(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return path != NULL && strncmp(path, dir, n) == 0 && path[n] == '/' &&
	    strchr(path + n + 1, '/') == NULL;
}

static int
f_syncdir(const char *dir)
{
	size_t kept = 0;
	bool half;
	int rc = before(FAKE_SYNCDIR, &half);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < disk.nchanges; i++) {
		struct change *c = &disk.changes[i];

		if ((!is_in(c->from, dir) && !is_in(c->to, dir)) || (half && coin())) {
			disk.changes[kept++] = *c;
			continue;
		}
		apply(&disk.stable, c);
		free(c->from);
		free(c->to);
	}
	disk.nchanges = kept;
	return half ? -EIO : 0;
}

static int
f_lock(int fd)
{
	(void)fd;
	return 0;
}

static int64_t
f_free_bytes(const char *dir)
{
	(void)dir;
	return disk.space < 0 ? INT64_MAX : disk.space - fake_used();
}

static const char *
f_untrusted(const char *dir, bool reading, char *why, size_t n)
{
	(void)dir;
	(void)reading;
	(void)why;
	(void)n;
	return NULL;
}

const struct store_io fake_io = {
	.open = f_open, .close = f_close, .pread = f_pread, .pwritev = f_pwritev,
	.fdatasync = f_fdatasync, .fallocate = f_fallocate, .ftruncate = f_ftruncate,
	.size = f_size, .rename = f_rename, .unlink = f_unlink, .mkdir = f_mkdir, .list = f_list,
	.syncdir = f_syncdir, .lock = f_lock, .free_bytes = f_free_bytes, .untrusted = f_untrusted,
};

void
fake_flip(const char *path, uint64_t off)
{
	struct name *at = find(&disk.now, path);

	if (at == NULL || off >= at->inode->size)
		return;
	at->inode->now[off] ^= 0x5a;
	at->inode->stable[off] ^= 0x5a;
}

unsigned
fake_files(const char *prefix)
{
	unsigned n = 0;

	for (size_t i = 0; i < disk.now.n; i++)
		n += strncmp(disk.now.v[i].path, prefix, strlen(prefix)) == 0;
	return n;
}

const char *
fake_first(const char *prefix)
{
	const char *first = NULL;

	for (size_t i = 0; i < disk.now.n; i++)
		if (strncmp(disk.now.v[i].path, prefix, strlen(prefix)) == 0 &&
		    (first == NULL || strcmp(disk.now.v[i].path, first) < 0))
			first = disk.now.v[i].path;
	return first;
}

void
fake_put(const char *path, const void *p, size_t n)
{
	struct inode *inode = inode_new();

	reach(inode, n);
	if (n > 0) {
		memcpy(inode->now, p, n);
		memcpy(inode->stable, p, n);
	}
	inode->size = inode->stable_size = inode->allocated = n;
	set(&disk.now, path, inode);
	set(&disk.stable, path, inode);
}
