/*
 * secrecy.c - TLS and login towards a smart host: what the options must say
 * together, and what becomes of them in the next hop.
 *
 * The providers are other plugins' instances, found by name in the same file,
 * so that a name that is not there is a mistake of the file and not a
 * riddle in the log a night later.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secrecy.h"

const struct ph_choice secrecy_policies[] = {
	{ "off", TLS_OFF, "in the clear" },
	{ "opportunistic", TLS_OPPORTUNISTIC, "TLS where the host offers it, else in the clear; no "
	                                      "protection from one who can change what is sent" },
	{ "required", TLS_REQUIRED, "never in the clear; any certificate will do" },
	{ "verify", TLS_VERIFY, "never in the clear; the certificate must be signed by one who is "
	                        "trusted, be in date, and be for the host" },
	{ NULL, 0, NULL },
};

const struct ph_choice secrecy_minimums[] = {
	{ "1.0", 1, NULL }, { "1.1", 2, NULL }, { "1.2", 3, NULL }, { "1.3", 4, NULL },
	{ NULL, 0, NULL },
};

const struct ph_choice secrecy_auths[] = {
	{ "anonymous", AUTH_ANONYMOUS, "no login" },
	{ "basic", AUTH_BASIC, "user name and password, or the certificate of the TLS connection" },
	{ "windows", AUTH_WINDOWS, "NTLM or Kerberos" },
	{ "oauth2", AUTH_OAUTH2, "a token, as Microsoft 365 and Gmail want it" },
	{ NULL, 0, NULL },
};

static const char *const plugin_of[] = {
	[AUTH_BASIC] = "auth-basic", [AUTH_WINDOWS] = "auth-windows", [AUTH_OAUTH2] = "auth-oauth2",
};

/* NULL: no login. */
static const char *
auth_instance(const struct secrecy_cfg *cfg)
{
	return cfg->instance != NULL ? cfg->instance : plugin_of[cfg->auth];
}

/* What goes without saying is nowhere weaker than what was asked for. */
static enum secrecy_tls
policy(const struct secrecy_cfg *cfg)
{
	if (cfg->tls != TLS_DEFAULT)
		return (enum secrecy_tls)cfg->tls;
	return cfg->implicit ? TLS_REQUIRED : TLS_OPPORTUNISTIC;
}

/* --- check --- */

/* The plugin in question is named in identifiers: auth_basic is auth-basic. */
static bool
same_plugin(const char *a, const char *b)
{
	for (; *a != '\0' && *b != '\0'; a++, b++)
		if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
			return false;
	return *a == *b;
}

/* Whether a block in PEM of that sort begins in the file. */
static bool
holds(FILE *f, const char *sort)
{
	char line[128], buffer[4096];
	bool found = false;

	(void)setvbuf(f, buffer, _IOFBF, sizeof buffer);
	while (!found && fgets(line, sizeof line, f) != NULL)
		found = strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, sort) != NULL;
	fclose(f);
	ph_wipe(line, sizeof line);
	ph_wipe(buffer, sizeof buffer);
	return found;
}

/* What the plugin tls would find out at the first connection only. */
static void
check_file(struct ph_setup *setup, const char *option, const char *path, const char *sort, const char *missing)
{
	struct stat st;
	FILE *f = NULL;
	int fd;

	if (path == NULL)
		return;
	if (path[0] != '/') {
		ph_complain(setup, option, "%s is not a whole path; write it from / on", path);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) != 0)
		ph_complain(setup, option, "%s cannot be read: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		ph_complain(setup, option, "%s is not a file", path);
	else if ((f = fdopen(fd, "r")) != NULL && !holds(f, sort))
		ph_complain(setup, option, "%s holds no %s", path, missing);
	if (f == NULL && fd >= 0)
		close(fd);
}

static void
check_tls(struct ph_setup *setup, const struct secrecy_cfg *cfg)
{
	static const char certificate[] = "certificate in PEM (BEGIN CERTIFICATE)";
	enum secrecy_tls want = policy(cfg);
	const char *provider = cfg->provider != NULL ? cfg->provider : "tls";
	const char *have = ph_setup_plugin_of(setup, provider);

	if (cfg->implicit && want < TLS_REQUIRED)
		ph_complain(setup, "tls", "contradicts tls-implicit: where TLS begins with the first "
		    "byte nothing goes in the clear; write tls: required or tls: verify");
	if (cfg->provider != NULL && have == NULL)
		ph_complain(setup, "tls-provider", "there is no instance %s; write the name of the "
		    "instance that supplies TLS, or leave tls-provider out", cfg->provider);
	else if (want >= TLS_REQUIRED && have == NULL)
		ph_complain(setup, cfg->tls != TLS_DEFAULT ? "tls" : "tls-implicit",
		    "needs the plugin tls, which the file does not name; add \"- tls\" to plugins, or "
		    "say with tls-provider how its instance is called");
	if (cfg->key != NULL && cfg->certificate == NULL)
		ph_complain(setup, "tls-key", "is of no use without tls-certificate");
	check_file(setup, "tls-ca-file", cfg->ca_file, "CERTIFICATE-----", certificate);
	check_file(setup, "tls-certificate", cfg->certificate, "CERTIFICATE-----", certificate);
	if (cfg->key != NULL)
		check_file(setup, "tls-key", cfg->key, "PRIVATE KEY-----",
		    "private key in PEM (BEGIN PRIVATE KEY)");
	else if (cfg->certificate != NULL && access(cfg->certificate, R_OK) == 0)
		check_file(setup, "tls-certificate", cfg->certificate, "PRIVATE KEY-----",
		    "private key; set tls-key to the file of its private key");
	if (cfg->ca_file != NULL && cfg->tls != TLS_VERIFY)
		ph_warn(setup, "tls-ca-file", "decides nothing without tls: verify");
}

static bool
lists(const struct secrecy_cfg *cfg, const char *mechanism)
{
	for (size_t i = 0; i < cfg->mechanisms.n; i++)
		if (strcasecmp(cfg->mechanisms.v[i], mechanism) == 0)
			return true;
	return false;
}

static void
check_credentials(struct ph_setup *setup, const struct secrecy_cfg *cfg)
{
	bool external = lists(cfg, "EXTERNAL"), only = external && cfg->mechanisms.n == 1;

	if (external && cfg->certificate == NULL)
		ph_complain(setup, "mechanisms", "EXTERNAL shows a certificate: tls-certificate is "
		    "needed");
	if (cfg->auth == AUTH_BASIC && !only && cfg->username == NULL)
		ph_complain(setup, "auth", "basic needs a username");
	if (cfg->auth == AUTH_BASIC && !only && cfg->password.p == NULL)
		ph_complain(setup, "auth", "basic needs a password-file");
	if (cfg->auth == AUTH_OAUTH2 && cfg->username == NULL)
		ph_complain(setup, "auth", "oauth2 needs a username: the mailbox to send as");
	if (cfg->auth == AUTH_OAUTH2 && cfg->password.p != NULL)
		ph_warn(setup, "password-file", "is not used by auth: oauth2, whose secrets stand with "
		    "the plugin auth-oauth2");
	if (cfg->auth == AUTH_WINDOWS && cfg->password.p != NULL && cfg->username == NULL)
		ph_complain(setup, "auth", "windows with a password-file needs a username");
}

static void
check_auth(struct ph_setup *setup, const struct secrecy_cfg *cfg)
{
	const char *instance = auth_instance(cfg), *plugin;

	if (instance == NULL) {
		if (cfg->username != NULL || cfg->password.p != NULL)
			ph_complain(setup, cfg->username != NULL ? "username" : "password-file",
			    "is of no use without a login; write auth: basic, windows or oauth2");
		if (cfg->mechanisms.n > 0)
			ph_complain(setup, "mechanisms", "is of no use without a login; write auth: "
			    "basic, windows or oauth2");
		return;
	}
	plugin = ph_setup_plugin_of(setup, instance);
	if (plugin == NULL && cfg->instance != NULL)
		ph_complain(setup, "auth-instance", "there is no instance %s; write the name of an "
		    "instance of %s", cfg->instance,
		    plugin_of[cfg->auth] != NULL ? plugin_of[cfg->auth] : "the plugin that logs in");
	else if (plugin == NULL)
		ph_complain(setup, "auth", "needs the plugin %s, which the file does not name; add "
		    "\"- %s\" to plugins, or say with auth-instance how its instance is called",
		    instance, instance);
	else if (plugin_of[cfg->auth] != NULL && !same_plugin(plugin, plugin_of[cfg->auth]))
		ph_complain(setup, "auth", "needs an instance of %s; %s is one of %s",
		    plugin_of[cfg->auth], instance, plugin);
	check_credentials(setup, cfg);
	if (policy(cfg) == TLS_OFF && cfg->auth == AUTH_OAUTH2)
		ph_complain(setup, "tls", "is off, and auth: oauth2 shows a token, which who sees it can "
		    "use\nwrite tls: verify");
	else if (policy(cfg) == TLS_OFF)
		ph_warn(setup, "tls", "is off: the login can be seen and changed on its way, and "
		    "mechanisms that give the password away (PLAIN, LOGIN) are not used at all");
	else if (policy(cfg) == TLS_OPPORTUNISTIC && cfg->auth == AUTH_OAUTH2)
		ph_warn(setup, cfg->tls != TLS_DEFAULT ? "tls" : "auth", "where TLS is opportunistic "
		    "mail waits when it does not come about, for a token is not sent in the clear; "
		    "write tls: verify");
	else if (policy(cfg) == TLS_OPPORTUNISTIC)
		ph_warn(setup, cfg->tls != TLS_DEFAULT ? "tls" : "auth", "where TLS is opportunistic "
		    "a login may go in the clear, and waits where only PLAIN and LOGIN are offered; "
		    "write tls: verify");
}

void
secrecy_check(struct ph_setup *setup, const struct secrecy_cfg *cfg)
{
	check_tls(setup, cfg);
	check_auth(setup, cfg);
}

/* --- setup --- */

void
secrecy_fill(struct ph_setup *setup, const struct secrecy_cfg *cfg, struct ph_next_hop *hop)
{
	static const enum ph_tls_policy policies[] = {
		[TLS_OFF] = PH_TLS_OFF, [TLS_OPPORTUNISTIC] = PH_TLS_OPPORTUNISTIC,
		[TLS_REQUIRED] = PH_TLS_REQUIRED, [TLS_VERIFY] = PH_TLS_VERIFY,
	};

	hop->tls = policies[policy(cfg)];
	hop->tls_implicit = cfg->implicit;
	/* The one of that name, should there be others besides. */
	hop->tls_provider = cfg->provider != NULL ? cfg->provider
	    : ph_setup_plugin_of(setup, "tls") != NULL ? "tls" : NULL;
	hop->tls_name = cfg->name;
	hop->tls_ca_file = cfg->ca_file;
	hop->tls_certificate = cfg->certificate;
	hop->tls_key = cfg->key != NULL ? cfg->key : cfg->certificate;
	hop->tls_minimum = cfg->minimum > 0 ? secrecy_minimums[cfg->minimum - 1].name : NULL;
	hop->auth = auth_instance(cfg);
	hop->login = cfg->username;
	hop->password = cfg->password;
	hop->mechanisms = cfg->mechanisms;
}
