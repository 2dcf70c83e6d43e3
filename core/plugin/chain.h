/*
 * chain.h - runs a hook's chain for one session, keeps its one wait.
 *
 * struct plug_session is the plugins' view of a session (inbound) or of a
 * delivery attempt (outbound): the owner embeds it and keeps its pointers up
 * to date; accessors of hook.h read it.
 */
#ifndef PLUGIN_CHAIN_H
#define PLUGIN_CHAIN_H

#include "plugin/generation.h"
#include "base/log.h"
#include "mail/envelope.h"
#include "mail/facts.h"
#include "plugin/wait.h"

struct plug_session;
struct chain_note;
struct plug_outcome { enum ph_verdict verdict; enum ph_reply reply; struct ph_str text; };
                                        /* text lives until the next question */
typedef void (*plug_answered_fn)(struct plug_session *ps, const struct plug_outcome *o);

struct plug_session {
	/* owner sets */
	struct worker_plugins *wp;      /* used (worker_plugins_use) by the owner */
	const struct log_ctx *log;
	const struct facts *facts;      /* NULL on the way out */
	struct arena *session_arena;
	struct arena *txn_arena;        /* NULL outside a transaction */
	const struct envelope *env;     /* NULL outside */
	const struct recipient *rcpt;   /* rcpt in question */
	const struct address *asking_from;      /* mail: before env has it */
	struct ph_msgid id;             /* zero before DATA */
	const struct ph_content *content;       /* for ph_header_get; may be NULL */
	struct ph_str header;           /* the header section in one piece, when known */
	uint64_t size;
	struct ph_str outcome_text; int outcome_code;
	plug_answered_fn answered;      /* for questions that were suspended */
	/* plugins set through ph_*; the owner reads and resets */
	bool admitted, relay_permitted;
	struct buf added;               /* header fields to put on top */
	/* private to core/plugin; zeroed at the start */
	void *session_slots, *txn_slots;
	bool session_open, txn_open;
	char id_text[PH_MSGID_TEXT];    /* of id, made when first asked for */
	struct ph_str gathered;         /* header section copied out of content */
	struct wait_node wait;          /* its tickets */
	struct chain_state {
		enum ph_hook hook; size_t pos; bool waiting, in_hook, woken, suspended;
		ph_decide_fn resume; ph_cancel_fn cancel; const char *what; void *answer;
		int64_t limit_ms; struct timer timer;
		struct chain_note *note;        /* resume is on its way */
		enum ph_reply reply; char text[404];    /* of a reply, or why it failed */
	} chain;
};

/* Session and transaction scopes: zeroed slots, open functions in order. A failing
 * open counts as ph_fail at that point: PH_EINVAL and nothing stays open. */
int  plug_session_open(struct plug_session *ps);
void plug_session_close(struct plug_session *ps);       /* cancels a wait, closes txn too */
int  plug_txn_open(struct plug_session *ps);
void plug_txn_close(struct plug_session *ps);

/* Runs the chain. true: *o is the outcome now. false: suspended; ps->answered is called
 * later, once, on a clean stack. A failing hook has already been turned into FAIL or
 * passed over (on-failure: continue), and logged. */
bool plug_ask(struct plug_session *ps, enum ph_hook hook, struct plug_outcome *o);
bool plug_waiting(const struct plug_session *ps);
void plug_cancel(struct plug_session *ps);      /* hang-up: cancel() runs, answered does not */
/* Observers. Cheap when nobody listens: test plug_observed first if building the text costs. */
void plug_observe(struct plug_session *ps, enum ph_hook hook);
static inline bool plug_listens(const struct plug_session *ps, enum ph_hook hook)
{ return ps->wp->gen->hooks[hook].n > 0; }

#endif
