/*
 * check.h - what the files of `posthouse check --connect` share.
 *
 *   cmd_check.c    command line, configuration, life of the trial
 *   check_plan.c   which next hops there are, and a recipient for each
 *   check_host.c   names, addresses, connections: one host after the other
 *   check_talk.c   the dialogue on one connection, up to the message
 *   check_secure.c its TLS and its login
 *   check_show.c   steps as text or JSON, the dialogue, the exit status
 *
 * It goes the way of a delivery with the same parts (resolver, dialler, client
 * engine, providers of the plugins) and says what each step brought.  It
 * never says DATA.  Everything runs on one loop, one connection at a time.
 */
#ifndef CMD_CHECK_H
#define CMD_CHECK_H

#include "base/mem.h"
#include "cmd/conf.h"
#include "mail/envelope.h"
#include "net/conn.h"
#include "net/dial.h"
#include "plugin/ask.h"
#include "plugin/generation.h"

enum { CHECK_HOPS = 256, CHECK_ADDRS = 32, CHECK_REMOTE = 320 };

struct check_opts {
	struct conf_opts conf;
	bool quiet, connect, json, verbose;
	const char *to, *from;
	ph_duration timeout;
};

/* A next hop that some recipient leads to. */
struct check_hop {
	const struct ph_next_hop *hop;
	const char *from, *to;          /* for MAIL and RCPT */
	bool made_up;                   /* to: nobody said that this address exists */
	bool login_refused;             /* other hosts would be asked with the same credentials */
};

struct check_host;
struct check {
	const struct check_opts *o;
	struct loop *loop;
	struct resolver *resolver;
	struct generation *gen;
	const struct settings *set;
	struct worker_plugins *wp;
	struct arena arena;             /* the plan */
	/* the plan */
	struct check_hop hops[CHECK_HOPS];
	size_t nhops;
	struct ph_route *question;
	struct envelope env;
	struct route_answer *answers;
	bool *made_up;                  /* by recipient */
	/* what is being tried */
	size_t hop, host;
	struct check_host *trying;
	/* what was found */
	const char *site;               /* for JSON */
	char at[CHECK_REMOTE], addr[PH_ADDR_TEXT + 8];
	unsigned steps, warnings, failures, hosts;
	int status;                     /* of the process */
	bool json_open;
};

/* --- check_plan.c --- */
/* Asks the routers, then done(c): c->hops is complete, and what led nowhere was said. */
void check_plan(struct check *c, void (*done)(struct check *c));

/* --- check_host.c --- */
/* Tries all hosts of all hops, then stops the loop. */
void check_hosts(struct check *c);

/* --- check_talk.c --- */
struct check_talk;
enum check_talk_end {
	TALK_NEXT,      /* a delivery would go on to the next address */
	TALK_CLEAR,     /* a delivery would come again without TLS (opportunistic) */
	TALK_DONE,      /* it would have sent, or not, here */
};
/* Takes the stream; name must outlive it.  done is called once, on a clean stack; the talk is
 * gone after it. */
void check_talk_start(struct check *c, struct check_hop *h, struct stream *s, const char *name,
                      uint16_t port, bool clear,
                      void (*done)(void *arg, enum check_talk_end end), void *arg);

/* --- check_show.c --- */
enum check_verdict { CHECK_OK, CHECK_NOTE, CHECK_WARN, CHECK_FAIL };
/* One step.  status: of the process if nothing is worse (CHECK_FAIL only).  us: how long it
 * took, -1 not measured.  hint: what to do about it, NULL nothing. */
void check_step(struct check *c, const char *what, enum check_verdict v, int status, int64_t us,
                const char *hint, const char *fmt, ...) PH_PRINTF(7, 8);
void check_heading(struct check *c, const char *fmt, ...) PH_PRINTF(2, 3);
void check_line(struct check *c, char mark, struct ph_str line);        /* of the dialogue */
void check_summary(struct check *c);
/* The exit status for a reply or a PH_E* code. */
int  check_status_of(int code, int rc);

#endif
