/*
 * process.c - child processes: posix_spawn, three pipes on watches of the loop,
 * SIGCHLD.  posix_spawn rather than the loop library's fork, so that
 * starting a helper costs the same however large the daemon has grown.
 *
 * A child leads a process group of its own and is killed with all of it, so
 * that a wrapping shell cannot leave its children behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/loop.h"

extern char **environ;

enum {
	UNWRITTEN_MOST = 1 << 20,       /* bytes a child may leave unread on its stdin */
	GRACE_MS = 100,                 /* for output after the end: grandchildren may hold the pipes */
	READ_ROUNDS = 4,
};

struct process {
	struct loop *l;
	struct process_events ev;
	void *arg;
	pid_t pid;
	int fd[3];                      /* our ends of its 0, 1, 2; -1: closed */
	struct watch *w[3];
	struct buf unwritten;
	struct signal_watch *chld;
	struct timer grace;
	struct ph_note note;            /* frees it on a clean stack */
	int status, signum;
	bool exited, over, forgotten;
};

static void
process_close_fd(struct process *p, int i)
{
	if (p->fd[i] < 0)
		return;
	watch_close(&p->w[i]);
	close(p->fd[i]);
	p->fd[i] = -1;
}

static void
process_release(struct ph_note *note)
{
	free(container_of(note, struct process, note));
}

static void
process_over(struct process *p)
{
	if (p->over)
		return;
	p->over = true;
	timer_stop(p->l, &p->grace);
	for (int i = 0; i < 3; i++)
		process_close_fd(p, i);
	signal_close(&p->chld);
	buf_free(&p->unwritten);
	loop_defer(p->l, &p->note);
	if (!p->forgotten && p->ev.ended != NULL)
		p->ev.ended(p->arg, p->status, p->signum);
}

static void
process_check(struct process *p)
{
	if (p->exited && (p->forgotten || (p->fd[1] < 0 && p->fd[2] < 0)))
		process_over(p);
}

static void
process_grace_over(struct timer *t)
{
	process_over(container_of(t, struct process, grace));
}

static void
process_sigchld(void *arg, int signum)
{
	struct process *p = arg;
	int st = 0;
	(void)signum;
	if (p->exited)
		return;
	pid_t got = waitpid(p->pid, &st, WNOHANG);
	if (got == 0 || (got < 0 && errno == EINTR))
		return;
	p->exited = true;       /* also when somebody else has reaped it */
	p->status = got > 0 && WIFEXITED(st) ? WEXITSTATUS(st) : -1;
	p->signum = got > 0 && WIFSIGNALED(st) ? WTERMSIG(st) : 0;
	process_close_fd(p, 0);
	timer_start(p->l, &p->grace, GRACE_MS);
	process_check(p);
}

static void
process_readable(struct process *p, int i)
{
	char *scratch = loop_scratch(p->l);
	for (int round = 0; round < READ_ROUNDS && p->fd[i] >= 0; round++) {
		ssize_t got = read(p->fd[i], scratch, LOOP_SCRATCH_READ);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			process_close_fd(p, i);
			process_check(p);
			return;
		}
		void (*fn)(void *, struct ph_str) = i == 1 ? p->ev.output : p->ev.error_output;
		if (fn != NULL && !p->forgotten)
			fn(p->arg, (struct ph_str){ scratch, (size_t)got });
	}
}

static void
process_out_ready(void *arg, unsigned ready)
{
	(void)ready;
	process_readable(arg, 1);
}

static void
process_err_ready(void *arg, unsigned ready)
{
	(void)ready;
	process_readable(arg, 2);
}

static void
process_in_ready(void *arg, unsigned ready)
{
	struct process *p = arg;
	(void)ready;
	while (p->unwritten.len > 0) {
		struct ph_str v = buf_view(&p->unwritten);
		ssize_t put = write(p->fd[0], v.p, v.n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return;
		if (put < 0) {
			process_close_fd(p, 0); /* it reads no more; its end or its silence will tell */
			return;
		}
		buf_eat(&p->unwritten, (size_t)put);
	}
	buf_free(&p->unwritten);
	watch_events(p->w[0], 0);
}

/* The child's side: signals as at birth, a group of its own, three descriptors. */
static int
process_spawn(struct process *p, const char *const *argv, const int theirs[3])
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	if (posix_spawn_file_actions_init(&fa) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&at) != 0) {
		posix_spawn_file_actions_destroy(&fa);
		return ENOMEM;
	}
	sigemptyset(&none);
	sigfillset(&all);
	int rc = posix_spawnattr_setsigmask(&at, &none);
	rc = rc ? rc : posix_spawnattr_setsigdefault(&at, &all);
	rc = rc ? rc : posix_spawnattr_setpgroup(&at, 0);
	rc = rc ? rc : posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
	                                        POSIX_SPAWN_SETPGROUP);
	for (int i = 0; i < 3 && rc == 0; i++)
		rc = posix_spawn_file_actions_adddup2(&fa, theirs[i], i);
	if (rc == 0)
		rc = posix_spawnp(&p->pid, argv[0], &fa, &at, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return rc;
}

static int
process_open(struct process *p, const char *const *argv)
{
	static void (*const ready[3])(void *, unsigned) = {
		process_in_ready, process_out_ready, process_err_ready
	};
	int theirs[3] = { -1, -1, -1 }, err = 0;
	for (int i = 0; i < 3 && err == 0; i++) {
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) != 0) {
			err = errno;
			break;
		}
		p->fd[i] = ends[i == 0];
		theirs[i] = ends[i != 0];
		/* watch_open makes our end non-blocking, and ours alone */
		p->w[i] = watch_open(p->l, p->fd[i], i == 0 ? 0 : STREAM_READ, ready[i], p);
		if (p->w[i] == NULL)
			err = ENOMEM;
	}
	/* Watched before it starts, or its end might be missed. */
	if (err == 0 && (p->chld = signal_open(p->l, SIGCHLD, process_sigchld, p)) == NULL)
		err = ENOMEM;
	if (err == 0)
		err = process_spawn(p, argv, theirs);
	for (int i = 0; i < 3; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	return err;
}

struct process *
process_start(struct loop *l, const char *const *argv, const struct process_events *ev, void *arg, int *err)
{
	struct process *p = mem_new(struct process);
	*p = (struct process){ .l = l, .ev = *ev, .arg = arg, .fd = { -1, -1, -1 } };
	p->grace.fn = process_grace_over;
	p->note.run = process_release;
	int rc = argv[0] == NULL ? EINVAL : process_open(p, argv);
	if (rc != 0) {
		p->forgotten = true;
		process_over(p);
		if (err != NULL)
			*err = rc == ENOENT ? PH_ENOENT : -rc;
		return NULL;
	}
	return p;
}

int
process_write(struct process *p, const void *data, size_t n)
{
	const char *at = data;
	if (p->fd[0] < 0)
		return PH_ECLOSED;
	if (n > UNWRITTEN_MOST || p->unwritten.len > UNWRITTEN_MOST - n)
		return PH_ELIMIT;
	while (n > 0 && p->unwritten.len == 0) {
		ssize_t put = write(p->fd[0], at, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			break;
		if (put < 0)
			return PH_ECLOSED;
		at += put;
		n -= (size_t)put;
	}
	if (n > 0) {
		buf_add(&p->unwritten, at, n);
		watch_events(p->w[0], STREAM_WRITE);
	}
	return 0;
}

bool
process_spoke(struct process *p)
{
	struct pollfd f = { .fd = p->fd[1], .events = POLLIN };
	return p->fd[1] >= 0 && poll(&f, 1, 0) > 0 && (f.revents & POLLIN) != 0;
}

void
process_kill(struct process *p, int signum)
{
	/* Before it is reaped its number cannot be another's. */
	if (!p->exited)
		(void)kill(-p->pid, signum);
}

void
process_forget(struct process **pp)
{
	struct process *p = *pp;
	if (p == NULL)
		return;
	*pp = NULL;
	if (p->over)
		return;
	p->forgotten = true;
	process_kill(p, SIGKILL);
	for (int i = 0; i < 3; i++)
		process_close_fd(p, i);
	process_check(p);       /* or once it is reaped */
}
