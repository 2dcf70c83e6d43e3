/*
 * user_command.c - `posthouse user`: who is in the users file.
 */
#include "basic.h"

#include <crypt.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <posthouse/command.h>

#include "credentials.h"
#include "user_file.h"
#include "user_prompt.h"

enum { ITERATIONS = 100 * 1000, BCRYPT_LIMIT = 72, LINE_ROOM = 2048 };

const struct ph_choice user_schemes[] = {
	{ "yescrypt", SCHEME_YESCRYPT, "the best that crypt(3) has" },
	{ "bcrypt", SCHEME_BCRYPT, "for files that other programs read, too" },
	{ "sha512", SCHEME_SHA512, "for files that other programs read, too" },
	{ "sha256", SCHEME_SHA256, "for files that other programs read, too" },
	{ "scram", SCHEME_SCRAM, "no hash, only the verifier of SCRAM-SHA-256" },
	{ NULL, 0, NULL },
};

struct job {
	const char *file, *account, *default_domain, *instance, *password_file;
	bool password_stdin, no_scram, quiet;
	int scheme;
	int64_t iterations;
	const char *given;              /* the name as written */
	char name[NAME_LIMIT + 1];      /* with its domain */
	size_t name_n;
};

static const char help[] =
	"usage: posthouse user add NAME [OPTION ...]\n"
	"       posthouse user passwd NAME [OPTION ...]\n"
	"       posthouse user remove NAME [OPTION ...]\n"
	"       posthouse user list [OPTION ...]\n"
	"       posthouse user check [NAME] [OPTION ...]\n"
	"\n"
	"Keeps the users file of the plugin auth-basic. A password is asked for on the terminal.\n"
	"check without NAME looks for mistakes in the file, with NAME it asks for the password and\n"
	"says whether it is right.\n"
	"\n"
	"  --file FILE           the users file, in place of the configured one\n"
	"  --instance NAME       which auth-basic of the configuration, when there are several\n"
	"  --password-stdin      take the password from the first line of standard input\n"
	"  --password-file FILE  take it from the first line of FILE\n"
	"  --scheme KIND         yescrypt, bcrypt, sha512, sha256, or scram for no hash at all\n"
	"  --no-scram            write no verifier for SCRAM-SHA-256\n"
	"  --iterations N        iterations of that verifier\n"
	"  -q, --quiet           say nothing when all is well\n"
	"  -c FILE               the configuration\n"
	"  --plugin-dir DIR      where plugins are\n";

/* --- what is asked --- */

static int usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int
usage(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "posthouse user: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n`posthouse user --help` tells how it is used\n");
	return EX_USAGE;
}

enum { OPT_FILE = 256, OPT_INSTANCE, OPT_STDIN, OPT_PASSWORD_FILE, OPT_SCHEME, OPT_NO_SCRAM,
       OPT_ITERATIONS };

static int
parse_scheme(const char *text, int *out)
{
	for (const struct ph_choice *c = user_schemes; c->name != NULL; c++)
		if (strcmp(c->name, text) == 0) {
			*out = c->value;
			return 0;
		}
	return usage("\"%s\" is no scheme; there are yescrypt, bcrypt, sha512, sha256 and scram",
	    text);
}

/* -1: go on; else the exit status. */
static int
parse_options(int argc, char **argv, struct job *j)
{
	static const struct option options[] = {
		{ "file", required_argument, NULL, OPT_FILE },
		{ "instance", required_argument, NULL, OPT_INSTANCE },
		{ "password-stdin", no_argument, NULL, OPT_STDIN },
		{ "password-file", required_argument, NULL, OPT_PASSWORD_FILE },
		{ "scheme", required_argument, NULL, OPT_SCHEME },
		{ "no-scram", no_argument, NULL, OPT_NO_SCRAM },
		{ "iterations", required_argument, NULL, OPT_ITERATIONS },
		{ "quiet", no_argument, NULL, 'q' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, rc;

	optind = 1;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1)
		switch (c) {
		case OPT_FILE: j->file = optarg; break;
		case OPT_INSTANCE: j->instance = optarg; break;
		case OPT_STDIN: j->password_stdin = true; break;
		case OPT_PASSWORD_FILE: j->password_file = optarg; break;
		case OPT_NO_SCRAM: j->no_scram = true; break;
		case 'q': j->quiet = true; break;
		case OPT_SCHEME:
			if ((rc = parse_scheme(optarg, &j->scheme)) != 0)
				return rc;
			break;
		case OPT_ITERATIONS:
			if (scram_number((struct ph_str){ optarg, strlen(optarg) },
			    &j->iterations) != 0 || j->iterations < SCRAM_ITERATIONS_MIN)
				return usage("\"%s\" iterations: a number from 4096 to 10000000 is "
				    "wanted", optarg);
			break;
		case 'h':
			fputs(help, stdout);
			return EX_OK;
		default:
			return usage("there is no option \"%s\", or it lacks its value",
			    argv[optind - 1]);
		}
	if (j->password_stdin && j->password_file != NULL)
		return usage("--password-stdin or --password-file, one of the two");
	if (j->scheme == SCHEME_SCRAM && j->no_scram)
		return usage("--no-scram and --scheme scram leave nothing to write");
	return -1;
}

/* Which instance's file and defaults; options then go above them. */
static int
from_configuration(const struct ph_command_env *env, const char *instance, struct job *j)
{
	const struct ph_command_instance *found = NULL;
	const struct basic_cfg *cfg;

	for (size_t i = 0; i < env->ninstances; i++)
		if (instance == NULL || strcmp(env->instances[i].name, instance) == 0) {
			found = &env->instances[i];
			break;
		}
	if (instance != NULL && found == NULL)
		return usage("there is no auth-basic \"%s\" in the configuration", instance);
	if (found == NULL || (instance == NULL && env->ninstances > 1))
		return 0;
	cfg = found->config;
	if (cfg->default_domain != NULL && !user_domain_valid(cfg->default_domain)) {
		fprintf(stderr, "posthouse user: the default-domain of %s is not a domain\n", found->name);
		return EX_CONFIG;
	}
	j->file = cfg->users;
	j->default_domain = cfg->default_domain;
	/* whose spool it is, or will be, where the service manager chooses the account */
	j->account = env->user != NULL ? env->user : found->state_dir;
	j->scheme = cfg->scheme;
	j->iterations = cfg->iterations;
	return 0;
}

static int
no_file(const struct ph_command_env *env)
{
	fprintf(stderr, "posthouse user: which file? ");
	if (env->ninstances > 1) {
		fprintf(stderr, "There are several auth-basic in %s; name one by --instance:\n",
		    env->config_file);
		for (size_t i = 0; i < env->ninstances; i++)
			fprintf(stderr, "  %s\n", env->instances[i].name);
	} else if (env->ninstances == 1) {
		fprintf(stderr, "auth-basic has no users: in %s; set it, or give --file\n",
		    env->config_file);
	} else if (env->config_file[0] != '\0') {
		fprintf(stderr, "%s does not name auth-basic; add it, or give --file\n",
		    env->config_file);
	} else {
		fprintf(stderr, "There is no configuration; name one by -c, or give --file\n");
	}
	return EX_CONFIG;
}

static int
take_name(const char *given, struct job *j)
{
	const char *problem = user_name_problem((struct ph_str){ given, strlen(given) });
	int n;

	if (problem == NULL) {
		n = name_complete((struct ph_str){ given, strlen(given) }, j->default_domain,
		    j->name);
		if (n < 0)
			problem = "the name is too long with its domain";
		else
			j->name_n = (size_t)n;
	}
	if (problem == NULL)
		return 0;
	fprintf(stderr, "posthouse user: %s\n", problem);
	return EX_DATAERR;
}

static struct ph_str
job_name(const struct job *j)
{
	return (struct ph_str){ j->name, j->name_n };
}

static int
status_of(int rc)
{
	switch (rc) {
	case PH_EPERM: return EX_NOPERM;
	case PH_EBUSY: return EX_TEMPFAIL;
	case PH_EINVAL: return EX_DATAERR;
	case PH_ECANCELED: case PH_ENOENT: return EX_NOINPUT;
	default: return EX_IOERR;
	}
}

/* --- what is written --- */

static int
password_of(const struct job *j, bool fresh, char out[PASSWORD_LIMIT + 1])
{
	return j->password_stdin ? prompt_file(NULL, out)
	       : j->password_file != NULL ? prompt_file(j->password_file, out)
	       : prompt_terminal(j->name, fresh, out);
}

static int
make_hash(const struct job *j, const char *password, char *out, size_t room)
{
	static const struct { const char *prefix; unsigned long cost; } kinds[] = {
		[SCHEME_YESCRYPT] = { "$y$", 0 }, [SCHEME_BCRYPT] = { "$2b$", 10 },
		[SCHEME_SHA512] = { "$6$", 100000 }, [SCHEME_SHA256] = { "$5$", 100000 },
	};
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *d;
	const char *got = NULL;
	int n = -1;

	if (j->scheme == SCHEME_SCRAM) {
		n = snprintf(out, room, "-");
		return n > 0 ? 0 : PH_EIO;
	}
	if (j->scheme == SCHEME_BCRYPT && strlen(password) > BCRYPT_LIMIT) {
		fprintf(stderr, "posthouse user: bcrypt looks at the first 72 octets only; this "
		    "password is longer\n");
		return PH_EINVAL;
	}
	if (crypt_gensalt_rn(kinds[j->scheme].prefix, kinds[j->scheme].cost, NULL, 0, setting,
	    sizeof setting) == NULL) {
		fprintf(stderr, "posthouse user: this system's libcrypt cannot make such a hash\n");
		return PH_EINVAL;
	}
	d = calloc(1, sizeof *d);
	if (d != NULL)
		got = crypt_rn(password, setting, d, (int)sizeof *d);
	if (got != NULL && got[0] != '*')
		n = snprintf(out, room, "%s", got);
	if (d != NULL)
		ph_wipe(d, sizeof *d);
	free(d);
	return n > 0 && (size_t)n < room ? 0 : PH_EIO;
}

static int
make_line(const struct job *j, const char *password, char out[LINE_ROOM])
{
	char hash[CRYPT_OUTPUT_SIZE], verifier[USER_VERIFIER_TEXT] = "";
	struct user_verifier v;
	int n, rc = make_hash(j, password, hash, sizeof hash);

	if (rc == 0 && !j->no_scram) {
		rc = user_verifier_make((struct ph_str){ password, strlen(password) },
		    j->iterations, &v);
		if (rc == 0 && user_verifier_print(&v, verifier) < 0)
			rc = PH_EIO;
		ph_wipe(&v, sizeof v);
	}
	if (rc != 0)
		return rc;
	n = snprintf(out, LINE_ROOM, "%s:%s%s%s", j->name, hash, verifier[0] != '\0' ? ":" : "",
	    verifier);
	return n > 0 && n < LINE_ROOM ? 0 : PH_EIO;
}

static int
report(const struct job *j, int rc, const char *why, const char *done)
{
	if (rc == PH_EEXIST) {
		fprintf(stderr, "posthouse user: %s is in %s already; `posthouse user passwd` gives "
		    "a new password\n", j->name, j->file);
		return EX_DATAERR;
	}
	if (rc == PH_ENOENT) {
		fprintf(stderr, "posthouse user: %s is not in %s\n", j->name, j->file);
		return EX_NOUSER;
	}
	if (rc != 0) {
		fprintf(stderr, "posthouse user: %s\n", why);
		return status_of(rc);
	}
	if (!j->quiet)
		printf("%s %s\n", j->name, done);
	return EX_OK;
}

static int
write_user(const struct job *j, bool add)
{
	char password[PASSWORD_LIMIT + 1], line[LINE_ROOM], why[USER_WHY] = "";
	int rc = user_file_has(j->file, job_name(j), j->default_domain, why);

	/* before the password is asked for; and once more under the lock */
	if (rc < 0)
		return report(j, rc == PH_ENOENT ? PH_EIO : rc, why, NULL);
	if ((rc == 1) == add)
		return report(j, add ? PH_EEXIST : PH_ENOENT, why, NULL);
	if ((rc = password_of(j, true, password)) != 0)
		return status_of(rc);
	rc = make_line(j, password, line);
	ph_wipe(password, sizeof password);
	if (rc != 0) {
		if (rc != PH_EINVAL)
			fprintf(stderr, "posthouse user: the password cannot be hashed\n");
		return rc == PH_EINVAL ? EX_DATAERR : EX_SOFTWARE;
	}
	rc = user_file_change(j->file, add ? USER_ADD : USER_REPLACE, job_name(j),
	    j->default_domain, line, j->account, why);
	ph_wipe(line, sizeof line);
	return report(j, rc, why, add ? "added" : "has a new password");
}

static int
user_add(const struct job *j)
{
	return write_user(j, true);
}

static int
user_passwd(const struct job *j)
{
	return write_user(j, false);
}

static int
user_remove(const struct job *j)
{
	char why[USER_WHY] = "";

	return report(j, user_file_change(j->file, USER_REMOVE, job_name(j), j->default_domain,
	    NULL, j->account, why), why, "removed");
}

/* --- what is read --- */

static void
print_mistake(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

static int
user_list(const struct job *j)
{
	struct textfile f = { .path = j->file, .say = print_mistake };
	struct ph_str line;
	int rc = textfile_load(&f, 0027), status = EX_OK;

	if (rc != 0) {
		if (rc == PH_ENOENT)
			fprintf(stderr, "posthouse user: %s does not exist\n", j->file);
		return status_of(rc);
	}
	while (textfile_line(&f, &line)) {
		const char *why = NULL;
		struct user_verifier v;
		struct user_line l;

		rc = user_line_parse(line, &l, &why);
		if (rc < 0) {
			textfile_complain(&f, f.number, "%s", why);
			status = EX_DATAERR;
		}
		if (rc <= 0)
			continue;
		printf("%.*s\t%s", (int)l.name.n, l.name.p,
		    l.hash.p != NULL ? user_hash_scheme(l.hash) : "-");
		if (l.verifier.p != NULL && user_verifier_parse(l.verifier, &v) == 0)
			printf("\tscram %lld", (long long)v.iterations);
		putchar('\n');
	}
	textfile_free(&f);
	return status;
}

static int
user_check(const struct job *j)
{
	struct users_about about = { .default_domain = j->default_domain };
	char password[PASSWORD_LIMIT + 1];
	struct ph_str found;
	struct users *u = NULL;
	int rc = users_read(j->file, &about, &u, print_mistake, NULL);

	if (rc == PH_ENOENT)
		fprintf(stderr, "posthouse user: %s does not exist\n", j->file);
	if (rc != 0)
		return status_of(rc);
	if (j->given == NULL) {
		if (!j->quiet)
			printf("%s: ok, %zu users\n", j->file, users_count(u));
		users_unref(&u);
		return EX_OK;
	}
	rc = password_of(j, false, password);
	if (rc == 0) {
		rc = users_verify(u, job_name(j), (struct ph_str){ password, strlen(password) },
		    &found);
		if (!j->quiet || rc != 0)
			fprintf(rc == 0 ? stdout : stderr, "%s\n", rc == 0 ? "right" :
			    rc == PH_EPERM ? "wrong name or password" : ph_strerror(rc));
		rc = rc == 0 ? EX_OK : 1;
	} else {
		rc = status_of(rc);
	}
	ph_wipe(password, sizeof password);
	users_unref(&u);
	return rc;
}

static const struct {
	const char *name;
	int least, most;                /* names that follow */
	int (*run)(const struct job *j);
} actions[] = {
	{ "add", 1, 1, user_add }, { "passwd", 1, 1, user_passwd }, { "remove", 1, 1, user_remove },
	{ "list", 0, 0, user_list }, { "check", 0, 1, user_check },
};

static int
user_run(int argc, char **argv, const struct ph_command_env *env)
{
	struct job j = { .scheme = SCHEME_YESCRYPT, .iterations = ITERATIONS }, options = j;
	int rc = parse_options(argc, argv, &options), names = argc - optind - 1;

	if (rc >= 0)
		return rc;
	if (names < 0)
		return usage("what shall be done?");
	if ((rc = from_configuration(env, options.instance, &j)) != 0)
		return rc;
	/* once more, above what the configuration says; it was right the first time */
	(void)parse_options(argc, argv, &j);
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
		if (strcmp(argv[optind], actions[i].name) != 0)
			continue;
		if (names < actions[i].least || names > actions[i].most)
			return usage("%s wants %s", actions[i].name,
			    actions[i].most > 0 ? "one name" : "no name");
		if (j.file == NULL)
			return no_file(env);
		if (names > 0) {
			j.given = argv[optind + 1];
			if ((rc = take_name(j.given, &j)) != 0)
				return rc;
		}
		return actions[i].run(&j);
	}
	return usage("there is no \"%s\"; add, passwd, remove, list and check there are",
	    argv[optind]);
}

const struct ph_command user_commands[] = {
	{ "user", "add, change, remove, list and check those who may log in", user_run },
	PH_COMMAND_END
};
