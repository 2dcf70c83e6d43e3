/*
 * daemon.c - starts everything in the order that privileges and promises
 * demand, runs the main loop (queue, control, signals), and takes everything
 * down again so that no acknowledged message is lost.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fsutil.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/control.h"
#include "daemon/notify.h"
#include "net/conn.h"
#include "plugin/loader.h"
#include "store/store.h"

/* --- privileges --- */

static int
daemon_fail(const char *what, const char *why)
{
	log_flush();
	fprintf(stderr, "posthouse: %s: %s\n", what, why);
	return EX_CONFIG;
}

/* The spool must be ours before root is given up. */
static int
daemon_prepare_dirs(const struct settings *set, uid_t uid, gid_t gid)
{
	struct stat st;
	bool made = stat(set->spool, &st) != 0;
	int rc = fs_mkdirs(set->spool, 0700);

	if (rc < 0)
		return daemon_fail(set->spool, strerror(-rc));
	if (made && geteuid() == 0 && chown(set->spool, uid, gid) != 0)
		return daemon_fail(set->spool, strerror(errno));
	return 0;
}

static int
daemon_drop_privileges(const struct settings *set)
{
	struct passwd *pw;

	if (geteuid() != 0) {
		int rc = daemon_prepare_dirs(set, geteuid(), getegid());
		if (rc == 0 && set->user != NULL && set->user[0] != '\0') {
			pw = getpwnam(set->user);
			if (pw != NULL && pw->pw_uid != geteuid())
				log_event(PH_WARN, NULL, "daemon.user", LOG_C("user", set->user),
				    LOG_C("why", "not started as root: stays who it is"));
		}
		return rc;
	}
	if (set->user == NULL || set->user[0] == '\0') {
		log_event(PH_WARN, NULL, "daemon.root",
		    LOG_C("why", "running as root; set user: to an account of its own"));
		return daemon_prepare_dirs(set, 0, 0);
	}
	pw = getpwnam(set->user);
	if (pw == NULL)
		return daemon_fail("user", "no such account; create it, or set user: to another");
	if (daemon_prepare_dirs(set, pw->pw_uid, pw->pw_gid) != 0)
		return EX_CONFIG;
	if (initgroups(set->user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 ||
	    setuid(pw->pw_uid) != 0)
		return daemon_fail("cannot drop privileges", strerror(errno));
	return 0;
}

static void
daemon_raise_limits(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);    /* best effort: the old limit holds */
	}
}

/* --- stopping --- */

struct stop_note { struct ph_note note; struct daemon *d; };

static void
daemon_worker_stopped(struct ph_note *note)
{
	struct stop_note *sn = container_of(note, struct stop_note, note);
	struct daemon *d = sn->d;

	free(sn);
	d->to_stop--;
}

void
daemon_stop(struct daemon *d)
{
	int64_t grace = d->gen->config->settings.shutdown_grace.ms;

	if (d->stopping)
		return;
	d->stopping = true;
	notify_say("STOPPING=1");
	log_event(PH_INFO, &d->log, "daemon.stopping", LOG_I("grace_ms", grace));
	queue_stop(d->queue);
	control_close(&d->control);
	d->to_stop = d->nworkers;
	for (unsigned i = 0; i < d->nworkers; i++) {
		struct stop_note *sn = mem_new(struct stop_note);
		sn->d = d;
		sn->note.run = daemon_worker_stopped;
		worker_stop(d->workers[i], grace, loop_mailbox(d->loop), &sn->note);
	}
}

static void
daemon_signal(void *arg, int signum)
{
	struct daemon *d = arg;

	if (signum == SIGHUP)
		daemon_reload(d, NULL, NULL);
	else
		daemon_stop(d);
}

static void
daemon_watch_signals(struct daemon *d)
{
	static const int nums[] = { SIGHUP, SIGTERM, SIGINT };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof nums / sizeof nums[0]; i++)
		d->signals[i] = signal_open(d->loop, nums[i], daemon_signal, d);
}

static unsigned
daemon_worker_count(const struct settings *set)
{
	uint64_t n = 0;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (str_u64(str_of(set->workers), &n) == 0 && n > 0)
		return n > 256 ? 256 : (unsigned)n;
	return cpus < 1 ? 1 : cpus > 64 ? 64 : (unsigned)cpus;
}

/* Contents come and go in bursts: handing each of them back to the system and fetching
 * the next costs more than all else that the queue does.  What is left over when a burst
 * is past goes back in one go, see wiring.c. */
static void
daemon_tune_memory(void)
{
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);      /* best effort: 0 is a failure */
	(void)mallopt(M_TOP_PAD, 1 << 20);
}

static int
daemon_start(struct daemon *d, struct diags *diags)
{
	const struct settings *set;
	char path[4096], why[512];
	int rc;

	d->gen = daemon_load(d->args.config, d->args.plugin_dir, diags);
	if (d->gen == NULL)
		return EX_CONFIG;
	set = &d->gen->config->settings;
	log_level = d->args.verbose ? PH_DEBUG : (enum ph_level)set->log_level;
	d->nworkers = daemon_worker_count(set);
	d->shared.workers = d->nworkers;
	d->binds.workers = d->nworkers;
	if (binds_open(&d->binds, d->gen->config, diags) > 0)
		return EX_UNAVAILABLE;
	d->loop = loop_new();
	/* Still privileged: plugins read their keys. */
	d->gen->workers = d->nworkers;
	if (generation_setup(d->gen, ++d->generations, loop_mailbox(d->loop), diags) != 0)
		return EX_CONFIG;
	if ((rc = daemon_drop_privileges(set)) != 0)
		return rc;
	daemon_watch_signals(d);
	if (daemon_wire(d, true, why, sizeof why) != 0) {
		(void)daemon_fail(set->spool, why);
		return EX_UNAVAILABLE;
	}
	d->workers = mem_calloc(d->nworkers, sizeof(struct worker *));
	for (unsigned i = 0; i < d->nworkers; i++) {
		d->workers[i] = worker_new(i, &d->shared, NULL, set);
		if (worker_start(d->workers[i]) != 0)
			return daemon_fail("thread", "cannot be started");
	}
	d->control = control_open(d, daemon_control_path(set, path, sizeof path));
	if (d->control == NULL)
		return daemon_fail(path, "cannot open the control socket");
	daemon_apply(d);
	return 0;
}

static void
daemon_done(struct daemon *d)
{
	control_close(&d->control);
	for (unsigned i = 0; i < d->nworkers && d->workers != NULL; i++)
		if (d->workers[i] != NULL)
			worker_join(d->workers[i]);
	daemon_unwire(d);
	binds_close(&d->binds);
	for (size_t i = 0; i < 4; i++)
		signal_close(&d->signals[i]);
	if (d->gen != NULL) {
		if (d->loop != NULL && d->generations > 0)
			generation_unref(&d->gen);
		else
			generation_free_unset(&d->gen);
	}
	if (d->loop != NULL) {
		(void)mailbox_run(loop_mailbox(d->loop));       /* teardown of plugins */
		conn_loop_done(d->loop);        /* operators' */
		loop_free(&d->loop);
	}
}

int
daemon_run(const struct daemon_args *args)
{
	struct daemon d = { .args = *args, .started_ms = clock_mono_ms() };
	struct diags diags;
	struct buf report = { 0 };
	int rc;

	d.log.text = "thread=main";
	diags_init(&diags);
	notify_init();
	binds_take_passed(&d.binds);
	daemon_raise_limits();
	daemon_tune_memory();
	rc = loader_init() == 0 ? daemon_start(&d, &diags) : EX_SOFTWARE;
	diags_print(&diags, &report);
	if (report.len > 0) {
		if (rc != 0 && diags.errors > 0)
			buf_printf(&report, "%zu error%s, not started\n", diags.errors,
			    diags.errors == 1 ? "" : "s");
		log_flush();
		fwrite(report.data + report.head, 1, report.len, stderr);
	}
	buf_free(&report);
	diags_free(&diags);
	if (rc == 0) {
		loop_run(d.loop);
		log_event(PH_INFO, &d.log, "daemon.stopped", LOG_I("accepted", d.shared.accepted));
	} else if (d.workers != NULL) {
		_Exit(rc);      /* threads run already: nothing is half stored */
	}
	daemon_done(&d);
	loader_done();
	log_flush();
	return rc;
}
