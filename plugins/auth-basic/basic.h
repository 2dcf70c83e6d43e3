/*
 * basic.h - what the files of auth-basic share: the instance's configuration and its parts.
 */
#ifndef AUTH_BASIC_BASIC_H
#define AUTH_BASIC_BASIC_H

#include <stdatomic.h>
#include <posthouse/posthouse.h>

#include "users.h"
#include "watched.h"

struct basic_cfg {
	const char *users;              /* file; NULL: passwords are others' matter */
	struct ph_strings mechanisms;
	const char *default_domain, *sender_login;
	bool allow_cleartext;
	int64_t checks_at_once, iterations;
	int scheme;
	/* made in setup */
	bool passwords;                 /* somebody checks them */
	int sender_rule;
	struct basic_state *state;
};

/* One per instance, shared by its workers. */
struct basic_state {
	struct watched *users, *senders;
	atomic_int_fast64_t checks;     /* password checks under way or waiting for a thread */
	struct users_about about;
};

struct basic_worker { struct watch users, senders; };

enum { SCHEME_YESCRYPT, SCHEME_BCRYPT, SCHEME_SHA512, SCHEME_SHA256, SCHEME_SCRAM };

/* mechanisms.c: those of the configuration. */
int mechanisms_check(struct ph_setup *setup, const struct basic_cfg *cfg);
int mechanisms_setup(struct ph_setup *setup, const struct basic_cfg *cfg)
	__attribute__((warn_unused_result));

/* sender_rules.c: which login may use which sender address.  The rest of what sender-login says. */
enum sender_rule { SENDER_ANY, SENDER_OWN_DOMAIN, SENDER_MAP, SENDER_UNKNOWN };
enum sender_rule sender_rule_parse(const char *text, const char **out_file);
void sender_rules_check(struct ph_setup *setup, const struct basic_cfg *cfg);
int sender_rules_setup(struct ph_setup *setup, const struct basic_cfg *cfg)
	__attribute__((warn_unused_result));

/* checker.c: the users file as a password checker. */
extern const struct watched_kind users_kind;
extern const struct ph_password_checker users_checker;

/* user_command.c */
extern const struct ph_command user_commands[];
extern const struct ph_choice user_schemes[];

#endif
