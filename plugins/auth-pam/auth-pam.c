/*
 * auth-pam.c - a password checker that asks PAM.  PAM blocks, so it is asked by pool threads, and
 * only so many questions may wait for one.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <posthouse/posthouse.h>

#include "pam_ask.h"

enum { NAME_LIMIT = 255, PASSWORD_LIMIT = 511 };

struct pam_cfg {
	const char *service;
	struct ph_strings domains;
	int64_t checks_at_once;
	atomic_int_fast64_t *checks;    /* under way, of all workers; made in setup */
};

struct question {
	struct ph_check *check;
	struct ph_worker *w;
	const struct pam_cfg *cfg;
	char user[NAME_LIMIT + 1], password[PASSWORD_LIMIT + 1], why[PAM_WHY];
	int status;
};

static const struct ph_str none = { "", 0 };

/* --- which account is meant --- */

/* With domains, only names of these are ours, and PAM hears the part before the @: otherwise
 * bob@elsewhere.example would be the account bob. */
static bool
account_of(const struct pam_cfg *cfg, struct ph_str name, char out[NAME_LIMIT + 1])
{
	struct ph_str local = name, domain = { NULL, 0 };

	if (name.n == 0 || name.n > NAME_LIMIT || memchr(name.p, '\0', name.n) != NULL)
		return false;
	for (size_t i = name.n; i-- > 0 && domain.p == NULL;)
		if (name.p[i] == '@') {
			local = (struct ph_str){ name.p, i };
			domain = (struct ph_str){ name.p + i + 1, name.n - i - 1 };
		}
	if (cfg->domains.n == 0) {
		local = name;
	} else {
		bool ours = false;

		for (size_t i = 0; i < cfg->domains.n && domain.p != NULL; i++)
			ours |= strlen(cfg->domains.v[i]) == domain.n &&
			        strncasecmp(cfg->domains.v[i], domain.p, domain.n) == 0;
		if (!ours)
			return false;
	}
	/* Modules make file names and commands of it. */
	if (local.n == 0 || local.p[0] == '-' || memchr(local.p, '/', local.n) != NULL)
		return false;
	memcpy(out, local.p, local.n);
	out[local.n] = '\0';
	return true;
}

/* --- asking --- */

static void
question_run(void *arg)
{
	struct question *q = arg;

	q->status = pam_ask(q->cfg->service, q->user, q->password, q->why);
}

static void
question_free(struct question *q)
{
	atomic_fetch_sub(q->cfg->checks, 1);
	ph_wipe(q, sizeof *q);
	free(q);
}

static void
question_done(void *arg)
{
	struct question *q = arg;

	if (q->why[0] != '\0')
		ph_log_worker(q->w, q->status == PH_EPERM ? PH_INFO : PH_ERROR,
		    "service %s, user %s: %s", q->cfg->service, q->user, q->why);
	ph_check_done(q->check, q->status, none);
	question_free(q);
}

static void
pam_verify(struct ph_worker *w, struct ph_check *check)
{
	const struct pam_cfg *cfg = ph_worker_config(w);
	struct ph_str password = ph_check_password(check);
	struct question *q;

	/* never an empty one: a directory takes it for an anonymous bind (RFC 4513 5.1.2) */
	if (password.n == 0 || password.n > PASSWORD_LIMIT ||
	    memchr(password.p, '\0', password.n) != NULL) {
		ph_check_done(check, PH_EPERM, none);
		return;
	}
	if (atomic_load(cfg->checks) >= cfg->checks_at_once ||
	    (q = calloc(1, sizeof *q)) == NULL) {
		ph_check_done(check, PH_EBUSY, none);
		return;
	}
	q->check = check;
	q->w = w;
	q->cfg = cfg;
	atomic_fetch_add(cfg->checks, 1);
	memcpy(q->password, password.p, password.n);
	if (!account_of(cfg, ph_check_user(check), q->user)) {
		ph_check_done(check, PH_EPERM, none);
		question_free(q);
	} else if (ph_work(w, question_run, question_done, q) != 0) {
		ph_check_done(check, PH_EBUSY, none);
		question_free(q);
	}
}

static const struct ph_password_checker checker = { .size = sizeof checker, .verify = pam_verify };

/* --- options and phases --- */

/* Where Linux-PAM looks for services: the last three are for those that came with the system. */
static const char *const service_dirs[] = {
	"/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d", "/usr/share/pam.d",
};

/* PAM does not mind a service that is not there, it takes other, and nobody would see why every
 * password is wrong. */
static void
check_file(struct ph_setup *setup, const char *service)
{
	char path[128];
	struct stat st;

	if (stat(service_dirs[0], &st) != 0)    /* a PAM of another kind, or /etc/pam.conf */
		return;
	for (size_t i = 0; i < sizeof service_dirs / sizeof service_dirs[0]; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", service_dirs[i], service);
		if (stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
			return;
	}
	ph_warn(setup, "service", "%s/%s does not exist, so PAM uses %s/other\nwrite that file, with "
	    "auth and account lines: other refuses everybody on most systems", service_dirs[0], service,
	    service_dirs[0]);
}

static int
pam_check(struct ph_setup *setup)
{
	const struct pam_cfg *cfg = ph_setup_config(setup);

	/* it becomes the name of a file */
	if (cfg->service[0] == '\0' || strchr(cfg->service, '/') != NULL ||
	    cfg->service[0] == '.' || strlen(cfg->service) > 64)
		ph_complain(setup, "service", "\"%s\" is not the name of a PAM service, which is a "
		    "file in /etc/pam.d", cfg->service);
	else
		check_file(setup, cfg->service);
	for (size_t i = 0; i < cfg->domains.n; i++)
		if (cfg->domains.v[i][0] == '\0' || strpbrk(cfg->domains.v[i], "@ \t") != NULL)
			ph_complain(setup, "domains", "\"%s\" is not a domain; write example.com",
			    cfg->domains.v[i]);
	return 0;
}

static int
pam_setup(struct ph_setup *setup)
{
	struct pam_cfg *cfg = ph_setup_config(setup);
	int rc;

	cfg->checks = calloc(1, sizeof *cfg->checks);
	if (cfg->checks == NULL)
		return PH_ENOMEM;
	rc = ph_provide_checker(setup, &checker);
	if (rc != 0) {
		free(cfg->checks);
		cfg->checks = NULL;
	}
	return rc;
}

static void
pam_teardown(struct ph_setup *setup)
{
	struct pam_cfg *cfg = ph_setup_config(setup);

	free(cfg->checks);
	cfg->checks = NULL;
}

#define OPT(field, key, ...) PH_OPT(struct pam_cfg, field, key, __VA_ARGS__)

static const struct ph_option pam_options[] = {
	OPT(service, "service", .dflt = "posthouse",
	    .doc = "Name of the PAM service, that is of the file in /etc/pam.d. Its auth lines say "
	           "whether a password is right, its account lines whether the account may log in."),
	OPT(domains, "domains", .max_items = 100,
	    .doc = "Mail domains whose accounts PAM knows by the part before the @. Names of other "
	           "domains, and names without one, are then unknown to this checker. Empty: PAM is "
	           "asked for names as they are."),
	OPT(checks_at_once, "checks-at-once", .dflt = "64", .min = "1", .max = "10000",
	    .unit = "checks",
	    .doc = "Questions to PAM that may be under way or wait for a thread, of the whole daemon; "
	           "with more, clients are told to try later (454)."),
	PH_OPT_END
};

PH_PLUGIN(auth_pam,
	.summary     = "passwords of the system's accounts, by PAM",
	.doc         = "Checks the passwords that PLAIN and LOGIN of auth-basic bring against PAM, and "
	               "whether the account may log in. SCRAM needs a users file.",
	.flags       = PH_RESIDENT,
	.options     = pam_options,
	.config_size = sizeof(struct pam_cfg),
	.check       = pam_check,
	.setup       = pam_setup,
	.teardown    = pam_teardown);
