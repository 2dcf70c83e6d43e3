/*
 * command.c - `posthouse oauth`: signing in once for an instance (RFC 8628),
 * looking at what it has, and trying it.
 *
 * It runs in a process of its own.  What it keeps the running daemon notices by
 * itself: the two share a file and a lock, nothing else.
 */
#include <errno.h>
#include <posthouse/posthouse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "oauth.h"

static const char usage[] =
    "usage: posthouse oauth login [NAME]    sign in with a browser, once, for an account\n"
    "       posthouse oauth status [NAME]   what is configured and kept; asks nobody\n"
    "       posthouse oauth token [NAME]    get an access token, to see whether it works\n"
    "NAME is the instance in the configuration; -c FILE names another configuration,\n"
    "--plugin-dir DIR another directory of plugins.\n"
    "oauth token --show prints the token itself, which is a secret.\n";

static const struct oauth_cfg *
cfg_of(const struct ph_command_instance *i)
{
	return i->config;
}

/* The instance that is named, or the only one that gets tokens. */
static const struct ph_command_instance *
choose(const struct ph_command_env *env, const char *name)
{
	const struct ph_command_instance *found = NULL;
	size_t n = 0;

	for (size_t i = 0; i < env->ninstances; i++) {
		const struct ph_command_instance *in = &env->instances[i];

		if (name != NULL ? strcmp(in->name, name) != 0 : !oauth_has_client(cfg_of(in)))
			continue;
		found = in;
		n++;
	}
	if (n == 1 && oauth_has_client(cfg_of(found)))
		return found;
	if (n > 1)
		fprintf(stderr, "posthouse oauth: there are several instances; say which one\n");
	else if (found != NULL)
		fprintf(stderr, "posthouse oauth: %s only checks the tokens of clients; it gets none\n",
		    name);
	else if (name != NULL)
		fprintf(stderr, "posthouse oauth: %s has no instance %s of auth-oauth2\n",
		    env->config_file[0] != '\0' ? env->config_file : "(no configuration)", name);
	else
		fprintf(stderr, "posthouse oauth: %s has no instance of auth-oauth2 that gets tokens\n",
		    env->config_file[0] != '\0' ? env->config_file : "(no configuration)");
	return NULL;
}

static int
load(const struct ph_command_instance *in, struct oauth_profile *p)
{
	const char *option;
	char why[300];

	if (oauth_http_begin() != 0) {
		fprintf(stderr, "posthouse oauth: libcurl cannot be started\n");
		return PH_EIO;
	}
	oauth_json_wipes();
	if (oauth_profile_init(p, cfg_of(in), &option, why) == 0)
		return 0;
	fprintf(stderr, "posthouse oauth: %s: %s %s\n", in->name, option != NULL ? option : "", why);
	oauth_http_end();
	return PH_EINVAL;
}

static void
unload(struct oauth_profile *p)
{
	oauth_profile_done(p);
	oauth_http_end();
}

/* Like the daemon's own: 0700, and its owner's who owns the spool. */
static int
make_dir(const char *dir)
{
	char up[4096];
	const char *slash = strrchr(dir, '/');
	struct stat st;

	if (slash == NULL || slash == dir || (size_t)(slash - dir) >= sizeof up)
		return -1;
	if (stat(dir, &st) == 0)
		return 0;
	memcpy(up, dir, (size_t)(slash - dir));
	up[slash - dir] = '\0';
	/* SPOOL/state may be missing, SPOOL may not: whose would it be? */
	if (stat(up, &st) != 0 && (strcmp(slash, "/") == 0 || make_dir(up) != 0))
		return -1;
	if (stat(up, &st) != 0 || mkdir(dir, 0700) != 0)
		return -1;
	return geteuid() != 0 || chown(dir, st.st_uid, st.st_gid) == 0 ? 0 : -1;
}

/* --- login --- */

static void
pause_for(int64_t seconds)
{
	struct timespec ts = { seconds, 0 };

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

static int
keep(const struct ph_command_instance *in, const struct oauth_answer *a)
{
	int lock, rc;

	if (a->refresh_token == NULL) {
		fprintf(stderr, "posthouse oauth: signed in, but the provider gave no refresh token; "
		    "the scope must ask for one (offline_access at Microsoft)\n");
		return EX_CONFIG;
	}
	lock = oauth_state_lock(in->state_dir, 60 * 1000);
	if (lock == PH_EBUSY) {
		fprintf(stderr, "posthouse oauth: another process holds %s/lock\n", in->state_dir);
		return EX_TEMPFAIL;
	}
	rc = oauth_state_keep(in->state_dir, &cfg_of(in)->refresh_token, a->refresh_token);
	oauth_state_unlock(lock);
	if (rc != 0) {
		fprintf(stderr, "posthouse oauth: %s/refresh-token cannot be written: %s; run it as root "
		    "or as the user that posthouse runs as\n", in->state_dir, strerror(errno));
		return EX_CANTCREAT;
	}
	printf("Signed in. The refresh token is kept for %s; a running posthouse uses it within "
	    "seconds.\n", in->name);
	return EX_OK;
}

/* RFC 8628 3.5 */
static int
poll_for(const struct ph_command_instance *in, const struct oauth_profile *p,
         const struct oauth_device *d)
{
	int64_t end = oauth_now() + d->expires_s * 1000, interval = d->interval_s;
	struct oauth_answer a;
	int rc = EX_UNAVAILABLE;
	bool again = true;

	while (again) {
		pause_for(interval);
		if (oauth_now() >= end) {
			fprintf(stderr, "posthouse oauth: nobody entered the code in time; start again\n");
			return EX_UNAVAILABLE;
		}
		oauth_device_ask(p, d, &a);
		again = false;
		switch (a.fault) {
		case OAUTH_FINE:
			rc = keep(in, &a);
			break;
		case OAUTH_SLOW_DOWN:
			interval += 5;
			again = true;
			break;
		case OAUTH_DOWN:        /* 3.5: back off on a time-out, the code may still be good */
			interval = interval * 2 < 60 ? interval * 2 + 1 : 60;
			again = true;
			break;
		case OAUTH_PENDING:
			again = true;
			break;
		default:
			fprintf(stderr, "posthouse oauth: %s\n", a.why);
			break;
		}
		oauth_answer_done(&a);
	}
	return rc;
}

static int
login(const struct ph_command_instance *in, const struct oauth_profile *p)
{
	struct oauth_device d;
	int rc;

	if (p->grant != OAUTH_REFRESH_TOKEN) {
		fprintf(stderr, "posthouse oauth: %s logs in by itself (it has a secret, a key or a service "
		    "account) and needs nobody to sign in; for an account of a person set grant: "
		    "refresh-token\n", in->name);
		return EX_CONFIG;
	}
	if (p->cfg->provider == OAUTH_GOOGLE && p->cfg->device_endpoint == NULL) {
		fprintf(stderr, "posthouse oauth: Google gives no device code for mail (only for scopes "
		    "such as openid, email and profile); get a refresh token for %s with a browser, by "
		    "an OAuth client of type Desktop app, and name its file in refresh-token-file of "
		    "%s, or use a service account\n", p->scope, in->name);
		return EX_CONFIG;
	}
	if (p->device_endpoint[0] == '\0') {
		fprintf(stderr, "posthouse oauth: %s needs device-endpoint\n", in->name);
		return EX_CONFIG;
	}
	/* Before anybody has been sent to a browser. */
	if (make_dir(in->state_dir) != 0 || access(in->state_dir, W_OK | X_OK) != 0) {
		fprintf(stderr, "posthouse oauth: %s cannot be written to: %s; run it as root or as the "
		    "user that posthouse runs as, after posthouse was started once\n", in->state_dir,
		    strerror(errno));
		return EX_NOPERM;
	}
	if (oauth_device_begin(p, &d) != 0) {
		fprintf(stderr, "posthouse oauth: no code from %s: %s\n", p->device_endpoint, d.why);
		return EX_UNAVAILABLE;
	}
	printf("With a browser on any machine open\n\n    %s\n\nand enter the code\n\n    %s\n\n", d.uri,
	    d.user_code);
	if (d.complete[0] != '\0')
		printf("(or open %s)\n", d.complete);
	printf("Sign in as the account that mail is to be sent with. Waiting, for %lld minutes at "
	    "most ...\n", (long long)(d.expires_s + 59) / 60);
	(void)fflush(stdout);
	rc = poll_for(in, p, &d);
	oauth_device_done(&d);
	return rc;
}

/* --- status, token --- */

static void
show_kept(const struct ph_command_instance *in, const struct oauth_profile *p)
{
	char path[4096], when[64] = "";
	const char *why = NULL;
	struct tm tm;
	struct stat st;
	char *token = oauth_state_refresh_token(in->state_dir, &p->cfg->refresh_token, &why);
	int n = snprintf(path, sizeof path, "%s/refresh-token", in->state_dir);

	if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 &&
	    localtime_r(&st.st_mtime, &tm) != NULL)
		(void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
	printf("  refresh token    %s\n", token == NULL ? why != NULL ? why :
	    p->cfg->provider == OAUTH_GOOGLE ? "none: set refresh-token-file" :
	    "none: run posthouse oauth login"
	    : when[0] != '\0' ? "kept" : "from refresh-token-file");
	if (when[0] != '\0')
		printf("  kept since       %s, in %s\n", when, path);
	oauth_forget(&token);
}

static int
status(const struct ph_command_instance *in, const struct oauth_profile *p)
{
	static const char *const grants[] = { [OAUTH_CLIENT_CREDENTIALS] = "client-credentials",
	    [OAUTH_REFRESH_TOKEN] = "refresh-token", [OAUTH_SERVICE_ACCOUNT] = "service-account" };

	printf("%s\n  grant            %s\n  client           %s\n  token endpoint   %s\n  scope"
	    "            %s\n", in->name, grants[p->grant], p->client_id, p->token_endpoint, p->scope);
	if (p->grant == OAUTH_REFRESH_TOKEN)
		show_kept(in, p);
	return EX_OK;
}

static int
token(const struct ph_command_instance *in, const struct oauth_profile *p, bool show)
{
	struct oauth_answer a;
	int rc = EX_UNAVAILABLE;

	oauth_grant(p, p->grant == OAUTH_REFRESH_TOKEN ? in->state_dir : NULL, NULL, &a);
	if (a.fault != OAUTH_FINE)
		fprintf(stderr, "posthouse oauth: no access token from %s: %s\n", p->token_endpoint, a.why);
	else {
		rc = EX_OK;
		if (a.why[0] != '\0')
			fprintf(stderr, "posthouse oauth: %s\n", a.why);
		if (show)
			printf("%s\n", a.access_token);
		else
			printf("%s gives an access token of %zu characters, good for %lld s\n",
			    p->token_endpoint, strlen(a.access_token), (long long)a.expires_s);
	}
	oauth_answer_done(&a);
	return rc;
}

static int
status_of_all(const struct ph_command_env *env)
{
	int rc = EX_OK, one;

	for (size_t i = 0; i < env->ninstances; i++) {
		const struct ph_command_instance *in = &env->instances[i];
		struct oauth_profile p;

		if (!oauth_has_client(cfg_of(in))) {
			printf("%s\n  checks the tokens of clients only\n", in->name);
			continue;
		}
		if (load(in, &p) != 0)
			return EX_CONFIG;
		one = status(in, &p);
		rc = one != EX_OK ? one : rc;
		unload(&p);
	}
	if (env->ninstances == 0)
		printf("auth-oauth2 is not configured\n");
	return rc;
}

static int
oauth_run(int argc, char **argv, const struct ph_command_env *env)
{
	const struct ph_command_instance *in;
	const char *verb = argc > 1 ? argv[1] : "", *name = NULL;
	struct oauth_profile p;
	bool show = false;
	int rc;

	if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
		fputs(usage, stdout);
		return EX_OK;
	}
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--show") == 0 && strcmp(verb, "token") == 0)
			show = true;
		else if (argv[i][0] == '-' || name != NULL) {
			fputs(usage, stderr);
			return EX_USAGE;
		} else
			name = argv[i];
	}
	if (strcmp(verb, "login") != 0 && strcmp(verb, "status") != 0 && strcmp(verb, "token") != 0) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	if (strcmp(verb, "status") == 0 && name == NULL)
		return status_of_all(env);
	in = choose(env, name);
	if (in == NULL || load(in, &p) != 0)
		return EX_CONFIG;
	if (strcmp(verb, "login") == 0)
		rc = login(in, &p);
	else
		rc = strcmp(verb, "status") == 0 ? status(in, &p) : token(in, &p, show);
	unload(&p);
	return rc;
}

const struct ph_command oauth_commands[] = {
	{ "oauth", "signs in for, shows and tries the tokens of auth-oauth2", oauth_run },
	PH_COMMAND_END
};
