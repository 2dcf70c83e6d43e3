/*
 * generation.h - one configuration in force: the parsed file, the instances
 * made from it, and who runs on which hook.  Counted; new sessions take the newest,
 * old ones finish on theirs, the last reference tears it down on the main loop.
 */
#ifndef PLUGIN_GENERATION_H
#define PLUGIN_GENERATION_H

#include <stdatomic.h>
#include <posthouse/posthouse.h>
#include "config/settings.h"
#include "net/loop.h"

struct resolver;
struct plugin_file;             /* loader.h: a loaded shared object or a static plugin */

struct instance {
	const struct ph_plugin *plugin;
	struct plugin_file *file;
	const struct plugin_entry *entry;
	const char *name;
	size_t index;
	void *config;                   /* pages of its own, read-only after setup */
	size_t config_pages;            /* bytes mapped */
	unsigned wrong;                 /* mistakes: in its options, or told by check or setup */
	bool fail_continue, set_up;
	size_t session_off, txn_off;    /* of its slots; (size_t)-1 none */
};

struct hook_entry { struct instance *inst; ph_decide_fn decide; ph_observe_fn observe; };
struct hook_list { struct hook_entry *v; size_t n; };
struct provided { struct instance *inst; const void *ops; };   /* ops: ph_router, ph_secure, ... */
struct provided_list { struct provided *v; size_t n; };
/* What an instance counts on others for: towards hop, or certificates of clients when it is NULL. */
struct expected { struct instance *inst; const struct ph_next_hop *hop; const char *option; };
struct expected_list { struct expected *v; size_t n; };

struct generation {
	_Atomic unsigned refs;
	unsigned number;                /* 1, 2, ... */
	unsigned workers;               /* of the daemon; 0 where there is none */
	struct config_file *config;
	struct instance *instances; size_t ninstances;
	struct hook_list hooks[PH_HOOK_COUNT];
	struct provided_list routers, secures, mechanisms, checkers;
	struct expected_list expected;
	size_t session_size, txn_size;  /* of all slots */
	struct instance **scoped; size_t nscoped;       /* those with session or transaction functions */
	bool relay_ruled, admission_ruled;
	/* Set before setup by who only tries things: where instances keep their state when we may
	 * not use the spool's place for it. What a trial gets that must last (a token that has
	 * replaced another) belongs into the spool even then. NULL: the spool. */
	const char *trial_dir;
	bool rehearsal;                 /* set up for its mistakes alone: leaves no trace */
	struct ph_mailbox *main;        /* teardown runs there; NULL: where the last reference goes */
	struct ph_note teardown;
};

/* check: load, parse options, run each plugin's check; nothing else happens, but that with errors
 * those instances that have none are rehearsed, so that all mistakes are told at once.
 * Builds a generation that is not set up. NULL on errors (in d). Takes config. */
struct generation *generation_check(struct config_file *config, struct diags *d);
/* Only the instances of that plugin, with their options as they were read (see wrong); for its
 * commands. Never NULL. Takes config. */
struct generation *generation_of_plugin(struct config_file *config, const char *plugin,
                                        struct diags *d);
/* setup of every instance. 0, or an error count with diagnostics in d (instances set up
 * so far are torn down). Main thread. */
int  generation_setup(struct generation *g, unsigned number, struct ph_mailbox *main, struct diags *d);
/* Sets up and takes down again, to see what only setup can tell; a setup may follow. The errors
 * added to d. */
int  generation_rehearse(struct generation *g, struct diags *d);
struct generation *generation_ref(struct generation *g);        /* any thread */
void generation_unref(struct generation **g);                   /* any thread; teardown on main */
void generation_free_unset(struct generation **g);              /* one that was only checked */

/* The instance of that name, NULL none. */
struct instance *generation_instance(const struct generation *g, const char *name);

/* A generation on one worker: worker storage of every instance, open services. */
struct worker_plugins {
	struct generation *gen;         /* a reference */
	struct loop *loop;
	unsigned worker;
	struct ph_worker *workers;      /* one per instance */
	unsigned users;                 /* sessions, attempts, and work off the loop */
	bool closing;
	/* The owner may set it: called last, when all is closed and the reference to gen
	 * is given back; a loop that stops before that leaves the generation standing. */
	void (*gone)(void *arg); void *gone_arg;
	/* private */
	struct ph_note note; bool closed;
	struct resolver *resolver;      /* of the plugins' connections; made when first needed */
};
/* worker open of every instance. NULL: one failed (logged, those opened are closed). */
struct worker_plugins *worker_plugins_open(struct generation *g, struct loop *loop, unsigned worker);
/* No new users; closes when the last has gone (on a clean stack). */
void worker_plugins_retire(struct worker_plugins **wp);
static inline void worker_plugins_use(struct worker_plugins *wp) { wp->users++; }
void worker_plugins_drop(struct worker_plugins *wp);

/* `posthouse plugins`: table of instances, and hook -> who, in order. json: the same for scripts. */
void generation_describe(const struct generation *g, bool json, struct buf *out);

#endif
