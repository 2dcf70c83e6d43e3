/*
 * private.h - what the files of core/plugin share: the objects that plugins
 * see as opaque (struct ph_call, ph_setup, ph_worker), and small helpers.
 * Nothing outside core/plugin includes it.
 */
#ifndef PLUGIN_PRIVATE_H
#define PLUGIN_PRIVATE_H

#include "base/diag.h"
#include "base/list.h"
#include "base/log.h"
#include "plugin/chain.h"

/* Limits on what a plugin may ask for. */
enum {
	MAX_CONFIG       = 1 << 20,     /* bytes of config struct */
	MAX_WORKER       = 1 << 20,     /* bytes of worker storage */
	MAX_SCOPE        = 64 << 10,    /* bytes of session or transaction storage, each plugin */
	MAX_SCOPE_SUM    = 256 << 10,   /* of all plugins together */
	MAX_ALLOC        = 1 << 20,     /* one ph_alloc */
	MAX_ARENA        = 16 << 20,    /* an arena that ph_alloc may still grow */
	MAX_ADDED        = 64 << 10,    /* header fields added to one message */
	MAX_HEADER       = 256 << 10,   /* header section that ph_header_get looks at */
	MAX_REASON       = 400,         /* text of a reply or failure */
	MAX_HOOK_ENTRIES = 1000,        /* of one hook */
	MAX_STATE        = 64 << 10,    /* SASL state_size */
	MAX_LAYER        = 1 << 20,     /* struct ph_secure layer_size */
	MAX_SASL         = 16 << 10,    /* one SASL message (RFC 4954 4: 12288 octets) */
	MAX_CHECKS       = 1000,        /* password checks under way, per asking instance and worker */
	LONGEST_WAIT_MS  = 600 * 1000,  /* of any suspended question */
};

/* What is running: decides which builders and services are allowed. */
enum call_phase { CALL_DECIDE, CALL_CANCEL, CALL_OBSERVE, CALL_SCOPE };

/* Lives on the stack of chain.c or slots.c while a plugin's function runs. */
struct ph_call {
	struct plug_session *ps;
	struct instance *inst;
	enum ph_hook hook;              /* PH_HOOK_COUNT in scope functions */
	enum call_phase phase;
	void *answer;
};

/* One instance on one worker. */
struct ph_worker {
	struct worker_plugins *wp;
	struct instance *inst;
	void *storage;                  /* NULL when none was declared */
	bool opened;                    /* its open succeeded: close is due */
	struct list services;           /* struct service: open timers, connections, ... */
	struct list checks;             /* struct ph_check asked by this instance */
	size_t nchecks;
	struct log_ctx log;
	char log_text[32];
};

/* check, setup or teardown of one instance. */
enum setup_phase { SETUP_CHECK, SETUP_SETUP, SETUP_TEARDOWN };
struct ph_setup {
	struct generation *gen;
	struct instance *inst;
	enum setup_phase phase;
	struct diags *d;                /* NULL in teardown */
	unsigned errors;
};

/* Everything a plugin opened on a worker leads with this, so that the core can
 * close what was left open.  close frees the object. */
struct service { struct list link; void (*close)(struct service *s); };
static inline void service_add(struct ph_worker *w, struct service *s, void (*close)(struct service *))
{ s->close = close; list_push_back(&w->services, &s->link); }

static inline struct ph_worker *worker_of(const struct worker_plugins *wp, const struct instance *inst)
{ return &wp->workers[inst->index]; }

/* api_setup.c */
const char *hook_name(enum ph_hook hook);       /* "rcpt"; "scope" for PH_HOOK_COUNT */
bool hook_decides(enum ph_hook hook);
void setup_complain(struct ph_setup *s, const char *option, const char *fmt, ...) PH_PRINTF(3, 4);

/* slots.c */
unsigned slots_lay_out(struct generation *g, struct diags *d);  /* errors added */

/* ask_check.c: all questions of this worker's instance end now with PH_ECANCELED. */
void checks_cancel(struct ph_worker *w);
void checks_free(struct ph_worker *w);

/* api_conn.c: the resolver of a worker's plugins is made at the first need. */
void services_resolver_free(struct worker_plugins *wp);

/* How a provider's question failed, for the log. */
void ask_log_failed(const struct instance *inst, const char *what, const char *why);
void ask_log_timeout(const struct instance *inst, const char *what);
static inline int64_t wait_limit(ph_duration limit, int64_t dflt_ms)
{
	int64_t ms = limit.ms > 0 ? limit.ms : dflt_ms;

	return ms < LONGEST_WAIT_MS ? ms : LONGEST_WAIT_MS;
}

/* Tests use it to see that every function of the public headers is linked in. */
extern const void *const api_exported[];
extern const size_t api_exported_count;

#endif
