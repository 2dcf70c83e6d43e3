/*
 * hook.h - what a hook is called with and what it may answer.
 *
 * A struct ph_call lives only while the hook runs; never keep it.  What must
 * outlive the hook is a struct ph_ticket, a value that may be stale without
 * harm.  All functions here: the worker that runs the hook.
 */
#ifndef POSTHOUSE_HOOK_H
#define POSTHOUSE_HOOK_H

#include <posthouse/reply.h>

PH_BEGIN_DECLS

enum ph_hook {
#define PH_HOOK(upper, lower, kind, doc) PH_HOOK_##upper,
#include <posthouse/hooks.def>
#undef PH_HOOK
	PH_HOOK_COUNT
};

struct ph_call;

/* Return it from a decide hook.  All but CONTINUE and ACCEPT are made by the
 * builders below. */
enum ph_verdict {
	PH_CONTINUE,    /* no objection: ask the next plugin */
	PH_ACCEPT,      /* settled: later plugins on this hook are not asked */
	PH_REJECT,
	PH_FAIL,
	PH_SUSPEND,
};

typedef enum ph_verdict (*ph_decide_fn)(struct ph_call *call);
typedef void (*ph_observe_fn)(struct ph_call *call);
/* Runs instead of resume when the wait ends otherwise: time-out, hang-up,
 * shutdown.  Exactly one of the two runs. */
typedef void (*ph_cancel_fn)(struct ph_call *call);

/* Refuse with a reply; text NULL gives the default one.  Text is copied, cut
 * at 400 bytes and stripped of control characters. */
PH_API enum ph_verdict ph_reject(struct ph_call *call, enum ph_reply reply, const char *text);
PH_API enum ph_verdict ph_rejectf(struct ph_call *call, enum ph_reply reply,
                                  const char *fmt, ...) PH_PRINTF(3, 4);
/* Say that the question cannot be answered: 451, or the instance's on-failure. */
PH_API enum ph_verdict ph_fail(struct ph_call *call, const char *why);
/* Wait.  resume runs after ph_wake with the ticket of this call, at the latest
 * after limit (10 minutes at most) cancel runs and the verdict is that of
 * ph_fail.  cancel may be NULL.  waiting_for (a literal) names the wait in the
 * log.  resume may suspend again. */
PH_API enum ph_verdict ph_suspend(struct ph_call *call, ph_duration limit,
                                  ph_decide_fn resume, ph_cancel_fn cancel,
                                  const char *waiting_for);

/* A value naming one wait of one session.  Waking a dead one does nothing. */
struct ph_ticket { uint64_t session, serial; struct ph_mailbox *home; };
/* The ticket that the next ph_suspend of this call will wait under; stable
 * through one call. */
PH_API struct ph_ticket ph_ticket_of(struct ph_call *call);
/* End the wait; answer is handed to resume by ph_answer and must live until
 * then (from inside the hook itself: queued, never nested). Worker thread of
 * the ticket.  PH_ESTALE: nobody waits any more, answer is the caller's. */
PH_API int ph_wake(struct ph_ticket ticket, void *answer);
/* The same from any thread.  drop(answer) is called on the worker if the
 * ticket turned out stale; may be NULL. */
PH_API void ph_wake_remote(struct ph_ticket ticket, void *answer, void (*drop)(void *));
/* In resume: what the wake brought.  In cancel: NULL, or the answer of a wake
 * that came too late to be used, so that its memory can be given back. */
PH_API void *ph_answer(struct ph_call *call);

/* Storage, as declared in the descriptor. */
PH_API const void *ph_config(struct ph_call *call);             /* read-only */
PH_API void       *ph_worker_data(struct ph_call *call);
PH_API void       *ph_session_data(struct ph_call *call);       /* NULL outside a session */
PH_API void       *ph_transaction_data(struct ph_call *call);   /* NULL outside MAIL..end */
/* PH_HOOK_COUNT in the open and close functions of a scope. */
PH_API enum ph_hook ph_hook_of(const struct ph_call *call);

/* Zeroed memory that lives as long as the transaction, or else the session.
 * NULL: more than 1 MiB, or the transaction holds 16 MiB. */
PH_API void *ph_alloc(struct ph_call *call, size_t n);

/* --- facts about the session (views live as long as the session) --- */
PH_API const struct ph_addr *ph_client_addr(const struct ph_call *call);
PH_API const struct ph_addr *ph_local_addr(const struct ph_call *call);
PH_API struct ph_str ph_client_hello(const struct ph_call *call);   /* "" before HELO */
PH_API bool          ph_client_is_esmtp(const struct ph_call *call);
PH_API bool          ph_client_is_tls(const struct ph_call *call);
/* "" when nobody logged in; "anonymous" is not a login. */
PH_API struct ph_str ph_client_login(const struct ph_call *call);
/* How it logged in: "PLAIN"; "" when nobody did. */
PH_API struct ph_str ph_client_mechanism(const struct ph_call *call);
/* The verified name in the client's certificate; "" without one. */
PH_API struct ph_str ph_client_certificate(const struct ph_call *call);
PH_API struct ph_str ph_session_id(const struct ph_call *call);

/* --- the transaction (views live as long as the transaction) --- */
/* Address as local@domain without brackets and routes; "" is the null sender. */
PH_API struct ph_str ph_sender(const struct ph_call *call);
PH_API struct ph_str ph_sender_domain(const struct ph_call *call);
/* rcpt, response, delivered, deferred, bounced: the recipient in question. */
PH_API struct ph_str ph_rcpt(const struct ph_call *call);
PH_API struct ph_str ph_rcpt_domain(const struct ph_call *call);
/* All recipients accepted so far. */
PH_API size_t        ph_rcpt_count(const struct ph_call *call);
PH_API struct ph_str ph_rcpt_at(const struct ph_call *call, size_t i);
PH_API struct ph_str ph_message_id_text(const struct ph_call *call);  /* queue id; "" before DATA */
/* header: bytes so far; message: all bytes, without our trace fields. */
PH_API uint64_t      ph_message_size(const struct ph_call *call);
/* header, message: unfolded value of the nth field of that name (0 first) or
 * {NULL,0}. Lives as long as the transaction. */
PH_API struct ph_str ph_header_get(struct ph_call *call, const char *name, size_t nth);
/* The outcome: observe hooks and response. The reply as one line
 * "550 5.1.1 No such mailbox". */
PH_API struct ph_str ph_outcome_text(const struct ph_call *call);
PH_API int           ph_outcome_code(const struct ph_call *call);

/* --- what a decide hook may change --- */
/* connect, hello: this client needs no login (auth-anonymous). */
PH_API void ph_admit_anonymous(struct ph_call *call);
/* rcpt: this client may relay to this recipient. */
PH_API void ph_permit_relay(struct ph_call *call);
/* header, message: put a field on top of the message (below Received).  name
 * is checked (RFC 5322 3.6.8), value is folded and freed of CR, LF and other
 * controls.  Fields keep the order in which they were added.  PH_EINVAL: a bad
 * name, a word too long for a line, UTF-8 in a message without SMTPUTF8, or
 * another hook; PH_ELIMIT: 64 KiB are added already. */
PH_API int  ph_header_add(struct ph_call *call, const char *name, struct ph_str value) PH_MUST_USE;

PH_END_DECLS
#endif
