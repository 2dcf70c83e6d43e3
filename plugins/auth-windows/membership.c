/*
 * membership.c - is a user one of a group?  Asked of winbindd by its own tool,
 * off the loop.
 *
 * ntlm_auth honours --require-membership-of for NTLM only: with Kerberos
 * it admits every account of the domain.  So Kerberos logins are
 * looked up here.  Whatever goes wrong, the answer is never yes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "windows.h"

extern char **environ;

enum { OUTPUT_MAX = 256 * 1024, SID_MAX = 200, NAME_MAX_OCTETS = 256, COMMAND_MAX = 32 };

struct membership {
	const struct windows_cfg *cfg;
	void (*done)(void *arg, int member, const char *why);   /* NULL: nobody waits any more */
	void *arg;
	char user[NAME_MAX_OCTETS + 1];
	char output[OUTPUT_MAX + 1];    /* of the command that ran last */
	int member;
	char why[200];
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
spawn(const struct windows_cfg *cfg, char *argument, int out, pid_t *pid)
{
	char *argv[COMMAND_MAX + 2];
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	size_t n = 0;
	int rc;

	if (cfg->membership_helper.n > COMMAND_MAX)
		return E2BIG;
	for (size_t i = 0; i < cfg->membership_helper.n; i++)
		argv[n++] = (char *)(uintptr_t)cfg->membership_helper.v[i];
	argv[n++] = argument;
	argv[n] = NULL;
	if (posix_spawn_file_actions_init(&fa) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&at) != 0) {
		posix_spawn_file_actions_destroy(&fa);
		return ENOMEM;
	}
	sigemptyset(&none);
	sigfillset(&all);
	rc = posix_spawnattr_setsigmask(&at, &none);
	rc = rc ? rc : posix_spawnattr_setsigdefault(&at, &all);
	rc = rc ? rc : posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	rc = rc ? rc : posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	rc = rc ? rc : posix_spawn_file_actions_adddup2(&fa, out, 1);
	rc = rc ? rc : posix_spawn_file_actions_adddup2(&fa, out, 2);
	rc = rc ? rc : posix_spawnp(pid, argv[0], &fa, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return rc;
}

/* All that it says, until its end or until it is late. */
static bool
collect(struct membership *m, int fd, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	for (;;) {
		int64_t left = until - now_ms();
		ssize_t got;

		if (left <= 0 || n == OUTPUT_MAX)
			return false;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		got = read(fd, m->output + n, OUTPUT_MAX - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
		m->output[n] = '\0';
	}
	return true;
}

static int
run(struct membership *m, const char *option, const char *value, int64_t until)
{
	char argument[NAME_MAX_OCTETS + SID_MAX + 40];
	int ends[2], status = 0, n = snprintf(argument, sizeof argument, "--%s=%s", option, value);
	bool whole;
	pid_t pid;

	m->output[0] = '\0';
	if (n < 0 || (size_t)n >= sizeof argument || pipe2(ends, O_CLOEXEC) != 0)
		return PH_EIO;
	n = spawn(m->cfg, argument, ends[1], &pid);
	close(ends[1]);
	if (n != 0) {
		close(ends[0]);
		snprintf(m->why, sizeof m->why, "%.60s (membership-helper) cannot be started: %s",
		    m->cfg->membership_helper.v[0], strerror(n));
		return PH_EIO;
	}
	whole = collect(m, ends[0], until);
	close(ends[0]);
	if (!whole)
		(void)kill(pid, SIGKILL);       /* not reaped yet: its number is its own */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (whole && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	snprintf(m->why, sizeof m->why, "winbindd cannot be asked for groups: --%s: %.100s", option,
	    whole ? m->output : "no answer in time");
	m->why[strcspn(m->why, "\r\n")] = '\0';
	return whole ? PH_EIO : PH_ETIMEOUT;
}

static int
sid_of(struct membership *m, const char *name, char sid[SID_MAX + 1], int64_t until)
{
	size_t n;
	int rc;

	rc = run(m, "name-to-sid", name, until);
	if (rc < 0)
		return rc;
	n = strcspn(m->output, " \r\n");
	if (n > SID_MAX || strncmp(m->output, "S-1-", 4) != 0) {
		snprintf(m->why, sizeof m->why, "winbindd knows no SID of %.100s", name);
		return PH_ENOENT;
	}
	memcpy(sid, m->output, n);
	sid[n] = '\0';
	return 0;
}

static bool
line_in(const char *text, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n')
		if (strcspn(at, "\r\n") == n && memcmp(at, line, n) == 0)
			return true;
	return false;
}

static void
membership_work(void *arg)
{
	struct membership *m = arg;
	int64_t until = now_ms() + m->cfg->helper_timeout.ms;
	char group[SID_MAX + 1], user[SID_MAX + 1];
	int rc = 0;

	/* Of the group alone: an account may have a name that looks like somebody's SID. */
	if (strncmp(m->cfg->membership, "S-1-", 4) == 0 && strlen(m->cfg->membership) <= SID_MAX)
		memcpy(group, m->cfg->membership, strlen(m->cfg->membership) + 1);
	else
		rc = sid_of(m, m->cfg->membership, group, until);
	if (rc == 0)
		rc = sid_of(m, m->user, user, until);
	if (rc == 0)
		rc = run(m, "user-sids", user, until);
	m->member = rc < 0 ? rc : line_in(m->output, group);
	if (m->member == 0)
		snprintf(m->why, sizeof m->why, "the user is not in the group %.100s (require-membership)",
		    m->cfg->membership);
}

static void
membership_done(void *arg)
{
	struct membership *m = arg;

	if (m->done != NULL)
		m->done(m->arg, m->member, m->why);
	free(m);
}

struct membership *
membership_begin(struct ph_worker *w, const struct windows_cfg *cfg, struct ph_str user,
                 void (*done)(void *arg, int member, const char *why), void *arg)
{
	struct membership *m;

	if (user.n > NAME_MAX_OCTETS || cfg->membership_helper.n == 0)
		return NULL;
	m = calloc(1, sizeof *m);
	if (m == NULL)
		return NULL;
	m->cfg = cfg;
	m->done = done;
	m->arg = arg;
	memcpy(m->user, user.p, user.n);
	if (ph_work(w, membership_work, membership_done, m) != 0) {
		free(m);
		return NULL;
	}
	return m;
}

void
membership_forget(struct membership **m)
{
	if (*m != NULL)
		(*m)->done = NULL;
	*m = NULL;
}
