/*
 * cmd_check.c - `posthouse check`: reads a configuration as the relay would
 * and starts nothing; with --connect the smart hosts are tried as well.
 *
 * A trial needs no spool and no running relay, and disturbs neither: it sets
 * the plugins up in a process of its own, as the account that the relay runs
 * as, since a key that only root can read would help no delivery.
 */
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/check.h"
#include "daemon/daemon.h"
#include "plugin/loader.h"

static const struct opt check_rows[] = {
	CONF_OPTS(struct check_opts, conf),
	CONF_PLUGIN_OPTS(struct check_opts, conf),
	OPT(struct check_opts, quiet, 'q', "quiet", NULL, "Say nothing when all is well."),
	OPT_HEADING("Trying the smart hosts"),
	OPT(struct check_opts, connect, 0, "connect", NULL,
	    "Connects to every smart host and goes through DNS, TCP, greeting, EHLO, TLS, login, MAIL, "
	    "RCPT and RSET, with a verdict for each step.  No mail is sent."),
	OPT(struct check_opts, to, 0, "to", "ADDRESS",
	    "Recipient to ask for: only hosts that its mail would go to are tried.  Without it every "
	    "smart host is tried with a made-up one."),
	OPT(struct check_opts, from, 0, "from", "ADDRESS",
	    "Sender to ask for; without it the name of the login if that is an address, else "
	    "postmaster at the relay's hostname."),
	OPT(struct check_opts, timeout, 0, "timeout", "TIME", "How long one step may take.",
	    .dflt = "60s", .min = 100, .max = 600000),
	OPT(struct check_opts, verbose, 'v', "verbose", NULL,
	    "Shows the dialogue, without what logs in, and the plugins' log."),
	OPT(struct check_opts, json, 0, "json", NULL, "Prints the steps as JSON."),
	OPT_END
};
static const struct opt_command check_command = {
	"check", "[OPTION ...]",
	"Reads the configuration as `run` would, loads the plugins it names, lets each check its "
	"options, and starts nothing.",
	check_rows,
	"Exit status: 0 all is well, 64 wrong usage, 78 the configuration has errors.  With --connect "
	"also\n68 nobody answers there, 69 refused for good, 75 refused for now; the worst counts.\n"
};

/* --- the trial --- */

/* Who the relay would be.  0, or the exit status. */
static int
become_user(const struct settings *set)
{
	const struct passwd *pw;

	if (geteuid() != 0 || set->user == NULL || set->user[0] == '\0')
		return 0;
	pw = getpwnam(set->user);
	if (pw == NULL) {
		fprintf(stderr, "posthouse check: user: there is no account \"%s\"\n", set->user);
		return EX_CONFIG;
	}
	if (initgroups(set->user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 ||
	    setuid(pw->pw_uid) != 0) {
		fprintf(stderr, "posthouse check: cannot become %s: %s\n", set->user,
		    strerror(errno));
		return EX_OSERR;
	}
	return 0;
}

/* Passwords are in memory: no core of a crash. */
static void
no_core(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);    /* best effort */
}

/* Where plugins may keep things for the while, should the spool not be there. */
static const char *
trial_dir_make(const struct settings *set, char *path)
{
	const struct passwd *pw = geteuid() == 0 && set->user != NULL ? getpwnam(set->user) : NULL;

	if (mkdtemp(path) == NULL)
		return NULL;
	if (pw != NULL && chown(path, pw->pw_uid, pw->pw_gid) != 0)
		fprintf(stderr, "posthouse check: %s: %s\n", path, strerror(errno));
	return path;
}

static int
trial_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

struct begin_note { struct ph_note note; struct check *c; };

static void
plan_made(struct check *c)
{
	if (c->nhops == 0)
		loop_stop(c->loop);
	else
		check_hosts(c);
}

static void
begin_run(struct ph_note *note)
{
	check_plan(container_of(note, struct begin_note, note)->c, plan_made);
}

static void
plugins_gone(void *arg)
{
	loop_stop(arg);
}

static void
try_all(struct check *c)
{
	struct begin_note begin = { .note.run = begin_run, .c = c };

	arena_init(&c->arena, 4096);
	c->wp = worker_plugins_open(c->gen, c->loop, 0);
	if (c->wp == NULL) {
		log_flush();
		fprintf(stderr, "posthouse check: a plugin did not start; its words are in the log "
		    "above\n");
		c->status = EX_CONFIG;
		return;
	}
	c->resolver = resolver_new(c->loop, &(struct resolver_config){ c->set->dns.servers,
	    c->set->dns.limit, true });
	loop_defer(c->loop, &begin.note);
	loop_run(c->loop);
	log_flush();
	check_summary(c);
	resolver_free(&c->resolver);
	c->wp->gone = plugins_gone;
	c->wp->gone_arg = c->loop;
	worker_plugins_retire(&c->wp);
	loop_run(c->loop);
	conn_loop_done(c->loop);
	arena_reset(&c->arena);
}

/* Takes the generation. */
static int
check_connect(struct generation *g, const struct check_opts *o, struct diags *d)
{
	struct check *c = mem_new(struct check);
	char trial[] = "/tmp/posthouse-check.XXXXXX";
	int rc;

	c->o = o;
	c->gen = g;
	c->set = &g->config->settings;
	c->loop = loop_new();
	no_core();
	log_level = o->verbose ? PH_DEBUG : PH_WARN;
	if (c->loop == NULL) {
		fprintf(stderr, "posthouse check: no descriptors left\n");
		generation_free_unset(&c->gen);
		free(c);
		return EX_OSERR;
	}
	c->gen->trial_dir = trial_dir_make(c->set, trial);
	rc = generation_setup(c->gen, 1, loop_mailbox(c->loop), d);
	if (rc != 0) {
		rc = conf_report(d, "nothing was tried");
		generation_free_unset(&c->gen);
	} else {
		rc = become_user(c->set);
		if (rc == 0) {
			try_all(c);
			rc = c->status;
		}
		generation_unref(&c->gen);
		(void)mailbox_run(loop_mailbox(c->loop));       /* teardown of plugins */
	}
	loop_free(&c->loop);
	log_flush();
	(void)nftw(trial, trial_remove, 8, FTW_DEPTH | FTW_PHYS);       /* ours; none: not made */
	free(c);
	return rc;
}

/* --- the command --- */

static int
check_opts_fit(const struct check_opts *o)
{
	if (!o->connect && (o->to != NULL || o->from != NULL || o->json || o->verbose))
		return opt_complain(&check_command, "--to, --from, --json and --verbose need --connect");
	return OPT_GO_ON;
}

int
cmd_check(int argc, char **argv)
{
	struct check_opts o = { 0 };
	struct generation *g = NULL;
	struct diags d;
	int rc = opt_parse(&check_command, argc, argv, &o, NULL);

	if (rc != OPT_GO_ON || (rc = check_opts_fit(&o)) != OPT_GO_ON)
		return rc;
	diags_init(&d);
	if (loader_init() == 0)
		g = daemon_load(o.conf.config, o.conf.plugin_dir, &d);
	/* Keys that do not fit, listeners that want what no plugin has: only setup can tell. */
	if (g != NULL && d.errors == 0 && !o.connect && generation_rehearse(g, &d) != 0)
		generation_free_unset(&g);
	rc = conf_report(&d, "configuration not usable");
	if (g != NULL && rc == EX_OK && !o.quiet && !o.json)
		printf("%s: ok, %zu plugin%s\n", o.conf.config, g->ninstances,
		    g->ninstances == 1 ? "" : "s");
	if (g == NULL && rc == EX_OK)
		rc = EX_CONFIG;
	diags_free(&d);
	if (g != NULL && rc == EX_OK && o.connect) {
		diags_init(&d);
		rc = check_connect(g, &o, &d);
		g = NULL;
		diags_free(&d);
	}
	generation_free_unset(&g);
	loader_done();
	return rc;
}
