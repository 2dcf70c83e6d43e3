/*
 * state.c - the refresh token, kept from one start to the next.
 *
 * Providers replace refresh tokens, and a replaced one is dead: the new one is
 * on the disk before the access token that came with it is used.  The file
 * also says which configured token it grew from, so that one that an admin puts
 * into the configuration later is noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "oauth.h"

enum { STATE_MOST = 64 * 1024 };

static bool
path_in(const char *dir, const char *name, char *out, size_t room)
{
	int n = snprintf(out, room, "%s/%s", dir, name);

	return n > 0 && (size_t)n < room;
}

static void
seed_of(const struct ph_secret *configured, char out[65])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	out[0] = '\0';
	if (configured->n == 0)
		return;
	SHA256((const uint8_t *)configured->p, configured->n, digest);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static json_t *
state_read(const char *dir, const char **why)
{
	char path[4096], *buf;
	json_t *o = NULL;
	ssize_t n = -1;
	int fd;

	*why = NULL;
	if (!path_in(dir, "refresh-token", path, sizeof path))
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		*why = errno == ENOENT ? NULL : "the file with the refresh token cannot be read; "
		    "it must belong to the user that posthouse runs as";
		return NULL;
	}
	buf = malloc(STATE_MOST);
	if (buf != NULL)
		n = read(fd, buf, STATE_MOST);
	(void)close(fd);
	if (n > 0)
		o = json_loadb(buf, (size_t)n, 0, NULL);
	if (buf != NULL)
		ph_wipe(buf, STATE_MOST);
	free(buf);
	if (!json_is_string(json_object_get(o, "refresh_token")))
		*why = "the file with the refresh token is damaged; sign in again with \"posthouse "
		    "oauth login\"";
	return o;
}

char *
oauth_state_refresh_token(const char *dir, const struct ph_secret *configured, const char **why)
{
	json_t *o = dir != NULL ? state_read(dir, why) : NULL;
	const char *kept = json_string_value(json_object_get(o, "refresh_token"));
	const char *seed = json_string_value(json_object_get(o, "seed"));
	char now[65], *token = NULL;

	if (dir == NULL)
		*why = NULL;
	seed_of(configured, now);
	if (kept != NULL && (now[0] == '\0' || (seed != NULL && strcmp(seed, now) == 0)))
		token = oauth_copy(kept, strlen(kept));
	else if (configured->n > 0)
		token = oauth_copy(configured->p, configured->n);
	json_decref(o);
	if (token != NULL)
		*why = NULL;
	return token;
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return PH_EIO;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

/* A process that runs as root must not leave a file that the daemon cannot read. */
static int
give_to_owner_of(int fd, const char *dir)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	return stat(dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0 ? 0 : PH_EIO;
}

static int
replace_file(const char *dir, const char *text, size_t n)
{
	char path[4096], fresh[4096];
	int fd, rc, dirfd;

	if (!path_in(dir, "refresh-token", path, sizeof path) ||
	    !path_in(dir, "refresh-token.new", fresh, sizeof fresh))
		return PH_EINVAL;
	(void)unlink(fresh);            /* of one that was interrupted */
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return PH_EIO;
	rc = give_to_owner_of(fd, dir);
	if (rc == 0)
		rc = write_all(fd, text, n);
	if (rc == 0 && fsync(fd) != 0)
		rc = PH_EIO;
	if (close(fd) != 0 || rc != 0 || rename(fresh, path) != 0) {
		(void)unlink(fresh);
		return PH_EIO;
	}
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0 || fsync(dirfd) != 0)
		rc = PH_EIO;
	if (dirfd >= 0)
		(void)close(dirfd);
	return rc;
}

int
oauth_state_keep(const char *dir, const struct ph_secret *configured, const char *token)
{
	char seed[65], *text;
	json_malloc_t alloc;
	json_free_t release;
	json_t *o;
	int rc = PH_ENOMEM;

	seed_of(configured, seed);
	o = json_pack("{s:s, s:s, s:I}", "refresh_token", token, "seed", seed, "kept",
	    (json_int_t)time(NULL));
	text = o != NULL ? json_dumps(o, JSON_INDENT(1)) : NULL;
	if (text != NULL) {
		rc = replace_file(dir, text, strlen(text));
		json_get_alloc_funcs(&alloc, &release);
		release(text);
	}
	json_decref(o);
	return rc;
}

struct oauth_stamp
oauth_state_stamp(const char *dir)
{
	char path[4096];
	struct stat st;

	if (dir == NULL || !path_in(dir, "refresh-token", path, sizeof path) ||
	    stat(path, &st) != 0)
		return (struct oauth_stamp){ 0 };
	return (struct oauth_stamp){ st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ino };
}

int
oauth_state_lock(const char *dir, int64_t limit_ms)
{
	struct timespec pause = { 0, 50 * 1000 * 1000 };
	int64_t end = oauth_now() + limit_ms;
	char path[4096];
	int fd;

	if (!path_in(dir, "lock", path, sizeof path))
		return PH_EIO;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || give_to_owner_of(fd, dir) != 0) {
		if (fd >= 0)
			(void)close(fd);
		return PH_EIO;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR) {
			(void)close(fd);
			return PH_EIO;
		}
		if (oauth_now() >= end) {
			(void)close(fd);
			return PH_EBUSY;
		}
		(void)nanosleep(&pause, NULL);
	}
	return fd;
}

void
oauth_state_unlock(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}
