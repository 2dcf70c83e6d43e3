/*
 * tls_stage.h - two ends of plugins/tls without a network: their layers joined in memory, the bytes
 * handed over whole or one by one.  A test raises both instances, connects, and looks at the ends.
 */
#ifndef TEST_TLS_STAGE_H
#define TEST_TLS_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../plugins/tls/tls.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/* --- certificates --- */

enum { DAY = 24 * 60 * 60 };

struct made { X509 *x; EVP_PKEY *key; };
extern struct made ca;

int make_all(void **state);
int remove_all(void **state);
/* Of a file in the folder of the run; lives as long as the test. */
const char *path(const char *name);
/* A certificate signed by "by", NULL: by itself; valid from and to in seconds from now. */
struct made make(const char *cn, const char *names, const struct made *by, long from, long to);
void save(const struct made *m, const char *name);
void gone(struct made *m);
void write_file(const char *name, const char *text, mode_t mode);

/* --- an instance and its worker --- */

struct stage { struct tls_cfg cfg; struct tls_worker tw; };
extern struct stage server, client;

/* The rest of cfg is set by the caller. */
void stage_up(struct stage *s);
void stage_down(struct stage *s);
/* A server with this certificate, a client that trusts the CA. */
void both_up(const char *certificate, const char *key);
int down(void **state);

/* --- two ends and the wire between them --- */

struct end {
	struct tls_layer y;
	enum ph_secure_state at;
	struct buf in, plain, to_send;
	bool failed, closing, opened;
};
extern struct end a, b;         /* a client, b server */
extern size_t slice, room_plain, room_cipher;
extern struct ph_next_hop hop;

/* One pump step; true when anything moved. */
bool step(struct end *e, struct end *other);
void run(void);
void hang_up(void);
void begin(enum ph_tls_policy policy, const char *name, const char *listener);
void connect_as(enum ph_tls_policy policy, const char *name);
bool is_open(void);
struct ph_secure_facts facts(struct end *e);
/* NULL: there is none. */
void problem_has(struct end *e, const char *word);
void is(struct ph_str got, const char *want);
void say(struct end *from, struct end *to, const char *text);
/* Connects and lets the tickets arrive. */
bool resumes(enum ph_tls_policy policy, const char *name, const char *listener, int version);

#define T(f) cmocka_unit_test_teardown(f, down)

#endif
