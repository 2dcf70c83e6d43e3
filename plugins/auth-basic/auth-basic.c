/*
 * auth-basic.c - logins with a password or a certificate: options, setup, and the end.
 */
#include "basic.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <posthouse/command.h>

#include "client.h"

struct complaint { struct ph_setup *setup; const char *option; };

static void
complain(void *arg, const char *text)
{
	struct complaint *c = arg;

	ph_complain(c->setup, c->option, "%s", text);
}

static void
warn(void *arg, const char *text)
{
	struct complaint *c = arg;

	ph_warn(c->setup, c->option, "%s", text);
}

/* --- check --- */

static void
check_users(struct ph_setup *setup, const struct basic_cfg *cfg)
{
	static const struct users_about nothing_secret;
	struct complaint c = { setup, "users" };
	struct users *users = NULL;
	int rc;

	if (cfg->users == NULL)
		return;
	if (cfg->users[0] != '/') {
		ph_complain(setup, "users", "\"%s\" is not a path that begins with /", cfg->users);
		return;
	}
	/* Who checks need not be who runs: an unreadable file is a mistake only at the start. */
	rc = users_read(cfg->users, &nothing_secret, &users,
	    access(cfg->users, R_OK) == 0 ? complain : warn, &c);
	if (rc == PH_ENOENT)
		ph_warn(setup, "users", "%s does not exist yet; nobody can log in until "
		    "`posthouse user add NAME` makes it", cfg->users);
	users_unref(&users);
}

static int
basic_check(struct ph_setup *setup)
{
	const struct basic_cfg *cfg = ph_setup_config(setup);

	if (cfg->default_domain != NULL && !user_domain_valid(cfg->default_domain))
		ph_complain(setup, "default-domain", "\"%.300s\" is not a domain\nwrite example.com",
		    cfg->default_domain);
	if (cfg->allow_cleartext)
		ph_warn(setup, "allow-cleartext", "passwords may cross the network unencrypted");
	(void)mechanisms_check(setup, cfg);
	check_users(setup, cfg);
	sender_rules_check(setup, cfg);
	return 0;
}

/* --- setup --- */

/* Kept across restarts: a made-up salt that changes would tell who does not exist. */
static void
find_secret(struct ph_setup *setup, uint8_t secret[SCRAM_KEY])
{
	const char *dir = ph_setup_state_dir(setup);
	char path[4096];
	struct stat st;
	int fd;

	if (dir == NULL || snprintf(path, sizeof path, "%s/unknown-users.key", dir) >= (int)sizeof path)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		uint8_t kept[SCRAM_KEY];

		if (read(fd, kept, sizeof kept) == sizeof kept)
			memcpy(secret, kept, sizeof kept);
		close(fd);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	/* to whom the directory belongs, who will read it at a reload */
	if (write(fd, secret, SCRAM_KEY) != SCRAM_KEY || fsync(fd) != 0 ||
	    (geteuid() == 0 && stat(dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0))
		(void)unlink(path);
	close(fd);
}

static void
state_free(struct basic_state **sp)
{
	struct basic_state *st = *sp;

	*sp = NULL;
	if (st == NULL)
		return;
	watched_free(&st->users);
	watched_free(&st->senders);
	ph_wipe(st, sizeof *st);
	free(st);
}

static int
state_new(struct ph_setup *setup, struct basic_cfg *cfg)
{
	struct complaint c = { setup, "users" };
	struct basic_state *st = calloc(1, sizeof *st);
	int rc;

	cfg->state = st;
	if (st == NULL)
		return PH_ENOMEM;
	if ((rc = scram_random(st->about.secret, SCRAM_KEY)) != 0)
		return rc;
	find_secret(setup, st->about.secret);
	st->about.default_domain = cfg->default_domain;
	st->users = watched_new(&users_kind, cfg->users, &st->about, users_empty(&st->about));
	if (st->users == NULL)
		return PH_ENOMEM;
	rc = cfg->users != NULL ? watched_load(st->users, complain, &c) : 0;
	return rc == PH_ENOENT ? 0 : rc;
}

static int
basic_setup(struct ph_setup *setup)
{
	struct basic_cfg *cfg = ph_setup_config(setup);
	int rc = state_new(setup, cfg);

	cfg->passwords = cfg->users != NULL || ph_setup_plugin_of(setup, "auth-pam") != NULL;
	if (rc == 0 && cfg->users != NULL)
		rc = ph_provide_checker(setup, &users_checker);
	if (rc == 0)
		rc = mechanisms_setup(setup, cfg);
	if (rc == 0)
		rc = basic_client_setup(setup);
	if (rc == 0)
		rc = sender_rules_setup(setup, cfg);
	if (rc != 0)
		state_free(&cfg->state);
	else
		ph_rules_admission(setup);
	return rc;
}

static void
basic_teardown(struct ph_setup *setup)
{
	struct basic_cfg *cfg = ph_setup_config(setup);

	state_free(&cfg->state);
}

static int
basic_open(struct ph_worker *w, void *data)
{
	const struct basic_cfg *cfg = ph_worker_config(w);
	struct basic_worker *mine = data;

	watch_begin(&mine->users, cfg->users != NULL ? cfg->state->users : NULL, w);
	watch_begin(&mine->senders, cfg->state->senders, w);
	return 0;
}

static void
basic_close(struct ph_worker *w, void *data)
{
	struct basic_worker *mine = data;

	(void)w;
	watch_end(&mine->users);
	watch_end(&mine->senders);
}

#define OPT(field, key, ...) PH_OPT(struct basic_cfg, field, key, __VA_ARGS__)

static const struct ph_option basic_options[] = {
	OPT(users, "users", .reread = true,
	    .doc = "File of those who may log in, kept by `posthouse user`: one line each, with the "
	           "hash of the password and the verifier for SCRAM. It must be readable by the "
	           "account that the relay runs as and closed to others; changes are taken at once. "
	           "Without it passwords are checked by other plugins, such as auth-pam, and SCRAM is "
	           "not offered."),
	OPT(mechanisms, "mechanisms", .max_items = 10,
	    .doc = "Which of SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN and EXTERNAL clients are "
	           "offered. Empty: all that can work, that is SCRAM with users, PLAIN and LOGIN with "
	           "users or auth-pam. A listener's mechanisms: chooses among them. "
	           "SCRAM-SHA-256-PLUS and EXTERNAL are offered inside TLS only, EXTERNAL only to "
	           "clients with a verified certificate."),
	OPT(default_domain, "default-domain",
	    .doc = "Domain of names that come without one: bob logs in as bob@DOMAIN. Without it names "
	           "are taken as they are."),
	OPT(allow_cleartext, "allow-cleartext", .dflt = "no",
	    .doc = "Whether PLAIN and LOGIN are offered outside TLS, too. Whoever can listen on the "
	           "way then has the passwords."),
	OPT(sender_login, "sender-login", .dflt = "any", .reread = true,
	    .doc = "Which sender addresses a login may use: any, own-domain (those of the domain of its "
	           "name), or map FILE (those that the file lists for it). Holds for every login, by "
	           "whichever mechanism and plugin; the null sender is always allowed. Others get 553. "
	           "In FILE each line is a login and the addresses it may use, \"bob@example.com "
	           "bob@example.com @lists.example.com\"; * for a login means all of them."),
	OPT(checks_at_once, "checks-at-once", .dflt = "64", .min = "1", .max = "10000",
	    .unit = "checks",
	    .doc = "Password checks against the users file that may be under way or wait for a "
	           "processor, of the whole daemon; with more, clients are told to try later (454)."),
	PH_OPT_CHOICE(struct basic_cfg, scheme, "scheme", user_schemes, .dflt = "yescrypt",
	    .doc = "Kind of hash that `posthouse user` writes. What stands in the file already is "
	           "understood whatever this says."),
	OPT(iterations, "iterations", .dflt = "100000", .min = "4096", .max = "10000000",
	    .unit = "iterations",
	    .doc = "Iterations of the SCRAM verifiers that `posthouse user` writes. More of them make "
	           "a stolen file less useful; every client has to count them at each login."),
	PH_OPT_END
};

PH_PLUGIN(auth_basic,
	.summary     = "logins with a password, and with a certificate",
	.doc         = "Offers PLAIN, LOGIN, SCRAM-SHA-256 and EXTERNAL to clients, checks passwords "
	               "against a users file or by other plugins, and rules which login may use which "
	               "sender address.",
	.flags       = PH_SUPPLIES_LOGINS,
	.options     = basic_options,
	.config_size = sizeof(struct basic_cfg),
	.worker      = { sizeof(struct basic_worker), basic_open, basic_close },
	.check       = basic_check,
	.setup       = basic_setup,
	.teardown    = basic_teardown,
	.commands    = user_commands);
