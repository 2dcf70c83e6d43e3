/*
 * auth-windows.c - integrated Windows authentication, both ways, by helper
 * programs: Samba's ntlm_auth, and posthouse-gssapi for RFC 4752.
 *
 * What is here: options, the helpers' command lines, a worker's pools.  No
 * cryptography and no domain knowledge is in the daemon.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "identity.h"
#include "windows.h"

static const struct ph_choice forms[] = {
	{ "as-given", IDENTITY_AS_GIVEN, "as the helper says it" },
	{ "netbios", IDENTITY_NETBIOS, "LAB\\alice" },
	{ "upn", IDENTITY_UPN, "alice@lab.test" },
	{ "plain", IDENTITY_PLAIN, "alice" },
	{ NULL, 0, NULL }
};

static const struct ph_choice flavours[] = {
	{ "exchange", FLAVOUR_EXCHANGE, "SPNEGO tokens, as Exchange wants them" },
	{ "rfc4752", FLAVOUR_RFC4752, "Kerberos with a last step, as Dovecot, Cyrus and others want it" },
	{ NULL, 0, NULL }
};

/* Of this installation; not built where the Kerberos library is missing. */
static const char *const installed_gssapi[] = { PH_LIBEXECDIR "/posthouse-gssapi" };

#define OPT(field, key, ...) PH_OPT(struct windows_cfg, field, key, __VA_ARGS__)

static const struct ph_option windows_options[] = {
	OPT(server, "server", .dflt = "yes",
	    .doc = "Whether clients may log in. With no the plugin only logs the relay in at smart hosts."),
	OPT(ntlm_helper, "ntlm-helper", .dflt = "[ntlm_auth, --helper-protocol=squid-2.5-ntlmssp]", .max_items = 30,
	    .doc = "Command that checks NTLM logins of clients, in the protocol of Samba's ntlm_auth. Empty: "
	           "NTLM is not offered."),
	OPT(spnego_helper, "spnego-helper", .dflt = "[ntlm_auth, --helper-protocol=gss-spnego]", .max_items = 30,
	    .doc = "Command that checks GSSAPI logins whose tokens are SPNEGO, as clients of Exchange send "
	           "them. Empty: such logins are refused, and GSS-SPNEGO is not offered."),
	OPT(gssapi_helper, "gssapi-helper", .max_items = 30,
	    .doc = "Command that checks GSSAPI logins by bare Kerberos (RFC 4752), and logs in to smart hosts "
	           "by Kerberos. Without the option it is posthouse-gssapi of this installation. Where there is "
	           "no such program, such logins of clients are told to try later (454)."),
	OPT(helpers, "helpers", .dflt = "4", .min = "1", .max = "1000", .unit = "processes",
	    .doc = "Helper processes of each kind, shared out among the workers; each worker has at least "
	           "one. A login holds one from its first to its last message. They start when needed."),
	OPT(helper_timeout, "helper-timeout", .dflt = "25s", .min = "100ms", .max = "2m",
	    .doc = "How long a helper may take for one answer before it is killed and the client told to try "
	           "later. winbindd takes up to 20 s to find out that no domain controller answers."),
	OPT(helper_wait, "helper-wait", .dflt = "10s", .min = "0s", .max = "2m",
	    .doc = "How long a login waits for a free helper before the client is told to try later."),
	OPT(client_wait, "client-wait", .dflt = "10s", .min = "100ms", .max = "5m",
	    .doc = "How long a client may keep a helper waiting for its next message. After that the helper "
	           "serves others, and the log says so; the client is told 454 when it sends that message, "
	           "for SASL lets a server only answer."),
	OPT(membership, "require-membership",
	    .doc = "Group whose members alone may log in, as LAB\\group or as a SID. The helpers get it as "
	           "--require-membership-of; for Kerberos, where they do not look at it, the groups are "
	           "asked of winbindd by membership-helper."),
	OPT(membership_helper, "membership-helper", .dflt = "[wbinfo]", .max_items = 30,
	    .doc = "Command that asks winbindd for SIDs and groups; wbinfo or what takes its options. Empty: "
	           "with require-membership, Kerberos logins fail."),
	PH_OPT_CHOICE(struct windows_cfg, identity, "identity", forms, .dflt = "netbios",
	    .doc = "Form of a login's name in rules, log and Received fields. Names of domains that are not "
	           "in domains stay as the helper gives them."),
	OPT(domains, "domains", .max_items = 100,
	    .doc = "Short and long name of each domain, for example LAB=lab.test, so that LAB\\alice and "
	           "alice@LAB.TEST are one user. The first is that of names without a domain."),
	OPT(allow_cleartext_ntlm, "allow-cleartext-ntlm", .dflt = "no",
	    .doc = "Whether NTLM is used outside TLS, by clients and towards smart hosts. Who can listen can "
	           "guess passwords from it at leisure, and who is in between can take the login over to "
	           "another server of the domain."),
	OPT(keytab, "keytab",
	    .doc = "Keytab with the keys of the service, for RFC 4752; the system's own by default. The user "
	           "of posthouse must be able to read it. ntlm_auth finds its keytab by smb.conf."),
	OPT(ntlm_client_helper, "ntlm-client-helper", .dflt = "[ntlm_auth, --helper-protocol=ntlmssp-client-1]",
	    .max_items = 30, .doc = "Command that logs in to smart hosts by NTLM. It is told user and domain "
	           "by --username and --domain, and the password by a line. Empty: NTLM is not used there."),
	OPT(spnego_client_helper, "spnego-client-helper",
	    .dflt = "[ntlm_auth, --helper-protocol=gss-spnego-client]", .max_items = 30,
	    .doc = "Command that logs in to smart hosts by SPNEGO with a password. With client-keytab or "
	           "client-cache gssapi-helper does that."),
	PH_OPT_CHOICE(struct windows_cfg, flavour, "client-gssapi", flavours, .dflt = "exchange",
	    .doc = "What smart hosts mean by the mechanism GSSAPI. Both kinds call it by the same name."),
	OPT(client_keytab, "client-keytab",
	    .doc = "Keytab with the key of the smart host's login, for Kerberos without a password. Tickets "
	           "are got from it for each login."),
	OPT(client_cache, "client-cache",
	    .doc = "Ticket cache for logins to smart hosts, for example FILE:/run/posthouse/cc, which somebody "
	           "else keeps fresh. It must belong to the user of posthouse."),
	OPT(client_host, "client-host",
	    .doc = "Name of the smart host in its Kerberos principal, when it is not the name it is configured "
	           "by; needed when that is an address."),
	OPT(client_service, "client-service", .dflt = "smtp",
	    .doc = "Service in the smart host's Kerberos principal. Exchange has smtp and SMTPSVC."),
	PH_OPT_END
};

/* --- check --- */

/* As execvp looks for it. */
static bool
is_program(const char *name)
{
	const char *path = getenv("PATH");
	char full[4096];

	if (strchr(name, '/') != NULL)
		return access(name, X_OK) == 0;
	for (size_t n; path != NULL && *path != '\0'; path += n + (path[n] == ':')) {
		n = strcspn(path, ":");
		(void)snprintf(full, sizeof full, "%.*s/%s", (int)n, path, name);
		if (access(full, X_OK) == 0)
			return true;
	}
	return false;
}

/* A missing program is a warning only: it may be installed later.  Several commands are
 * ntlm_auth by default; that it is missing is said once. */
static void
check_program(struct ph_setup *setup, const char *option, const char *name, bool *told)
{
	if (name[0] == '\0' || is_program(name))
		return;
	if (strcmp(name, "ntlm_auth") != 0)
		ph_warn(setup, option, "there is no program %s that can be run: its logins will fail", name);
	else if (!*told)
		ph_warn(setup, option, "ntlm_auth is not on this machine: NTLM, and GSSAPI by SPNEGO, will fail; "
		    "install the package winbind of Samba, or set the helpers to [] for Kerberos alone");
	*told = *told || strcmp(name, "ntlm_auth") == 0;
}

/* GSSAPI is offered for SPNEGO's sake, too, and clients do not see which of the two is meant. */
static void
check_gssapi(struct ph_setup *setup, const struct windows_cfg *cfg)
{
	const char *name = cfg->gssapi_helper.n > 0 ? cfg->gssapi_helper.v[0] : installed_gssapi[0];
	bool to_hosts = cfg->flavour == FLAVOUR_RFC4752 || cfg->client_keytab != NULL ||
	    cfg->client_cache != NULL;

	if (name[0] == '\0' || is_program(name) || !(cfg->server || to_hosts))
		return;
	ph_warn(setup, "gssapi-helper", "there is no program %s that can be run: %s; install posthouse-gssapi "
	    "or name it here%s", name,
	    !cfg->server ? "logins to smart hosts by Kerberos will fail" :
	    cfg->spnego_helper.n > 0 || cfg->gssapi_helper.n > 0 ?
	    "clients that log in with GSSAPI by bare Kerberos (RFC 4752) will be told to try later" :
	    "GSSAPI is not offered",
	    cfg->server && cfg->spnego_helper.n > 0 ?
	    ". GSSAPI by SPNEGO, as Windows speaks it, works without it, by spnego-helper" : "");
}

static void
check_keytab(struct ph_setup *setup, const char *option, const char *keytab)
{
	const char *file = keytab;

	if (file != NULL && strncmp(file, "FILE:", 5) == 0)
		file += 5;
	if (file != NULL && file[0] == '/' && access(file, R_OK) != 0)
		ph_warn(setup, option, "%s cannot be read: logins by Kerberos will fail", file);
}

static void
check_command(struct ph_setup *setup, const char *option, const struct ph_strings *command, bool used,
              bool *told)
{
	if (command->n > 0 && strpbrk(command->v[0], " \t") != NULL)
		ph_complain(setup, option, "has a blank in the program's name; write a list: "
		    "[ntlm_auth, --helper-protocol=...]");
	else if (command->n > 0 && used)
		check_program(setup, option, command->v[0], told);
	for (size_t i = 0; i < command->n; i++)
		if (command->v[i][0] == '\0')
			ph_complain(setup, option, "has an empty word; write the program and its arguments, as "
			    "in [ntlm_auth, --helper-protocol=gss-spnego]");
}

static bool
is_clean(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7F)
			return false;
	return true;
}

static int
windows_check(struct ph_setup *setup)
{
	const struct windows_cfg *cfg = ph_setup_config(setup);
	bool told = false;

	check_command(setup, "ntlm-helper", &cfg->ntlm_helper, cfg->server, &told);
	check_command(setup, "spnego-helper", &cfg->spnego_helper, cfg->server, &told);
	check_command(setup, "gssapi-helper", &cfg->gssapi_helper, false, &told);
	check_gssapi(setup, cfg);
	check_command(setup, "ntlm-client-helper", &cfg->ntlm_client_helper, true, &told);
	check_command(setup, "spnego-client-helper", &cfg->spnego_client_helper, true, &told);
	check_command(setup, "membership-helper", &cfg->membership_helper,
	    cfg->server && cfg->membership != NULL, &told);
	check_keytab(setup, "keytab", cfg->keytab);
	check_keytab(setup, "client-keytab", cfg->client_keytab);
	for (size_t i = 0; i < cfg->domains.n; i++)
		if (!identity_domain_valid(cfg->domains.v[i]))
			ph_complain(setup, "domains", "\"%s\" is not SHORT=LONG; write for example "
			    "LAB=lab.test", cfg->domains.v[i]);
	if (cfg->domains.n == 0 && (cfg->identity == IDENTITY_UPN || cfg->identity == IDENTITY_PLAIN))
		ph_complain(setup, "identity", "needs domains, to know whose names may be rewritten; write "
		    "domains: [LAB=lab.test] with your own");
	if (cfg->membership != NULL && (cfg->membership[0] == '\0' || !is_clean(cfg->membership)))
		ph_complain(setup, "require-membership", "is not a group; write LAB\\group or a SID");
	if (cfg->client_keytab != NULL && cfg->client_cache != NULL)
		ph_complain(setup, "client-cache", "cannot be set together with client-keytab: tickets come "
		    "from the one or the other");
	if (cfg->client_service[0] == '\0' || strpbrk(cfg->client_service, "@/ ") != NULL)
		ph_complain(setup, "client-service", "is \"%s\"; write the first part of the principal, for "
		    "example smtp", cfg->client_service);
	return 0;
}

/* --- setup --- */

/* The command and what is added to it, in memory that teardown frees. */
static int
command_make(struct ph_strings *out, const struct ph_strings *base, const char *option, const char *value)
{
	const char **v;
	size_t n = 0;

	*out = (struct ph_strings){ NULL, 0 };
	if (base->n == 0)
		return 0;
	v = calloc(base->n + 2, sizeof *v);
	if (v == NULL)
		return PH_ENOMEM;
	for (size_t i = 0; i < base->n; i++)
		v[n++] = base->v[i];
	if (value != NULL) {
		char *text = NULL;

		if (asprintf(&text, "%s=%s", option, value) < 0) {
			free(v);
			return PH_ENOMEM;
		}
		v[n++] = text;
	}
	*out = (struct ph_strings){ v, n };
	return 0;
}

static void
command_free(struct ph_strings *made, const struct ph_strings *base)
{
	if (made->n > base->n)
		free((char *)(uintptr_t)made->v[made->n - 1]);
	free((const char **)(uintptr_t)made->v);
}

static int
windows_setup(struct ph_setup *setup)
{
	struct windows_cfg *cfg = ph_setup_config(setup);
	struct ph_mechanism *m = cfg->mechanism;
	int rc;

	if (cfg->gssapi_helper.n == 0 && access(installed_gssapi[0], X_OK) == 0)
		cfg->gssapi_helper = (struct ph_strings){ installed_gssapi, 1 };
	rc = command_make(&cfg->command[HELPER_NTLM], &cfg->ntlm_helper, "--require-membership-of",
	    cfg->membership);
	if (rc == 0)
		rc = command_make(&cfg->command[HELPER_SPNEGO], &cfg->spnego_helper,
		    "--require-membership-of", cfg->membership);
	if (rc == 0)
		rc = command_make(&cfg->command[HELPER_GSSAPI], &cfg->gssapi_helper, "--keytab", cfg->keytab);
	if (rc == 0 && cfg->server && cfg->ntlm_helper.n > 0) {
		server_mechanism(m, "NTLM", cfg);
		rc = ph_provide_mechanism(setup, m++);
	}
	if (rc == 0 && cfg->server && (cfg->spnego_helper.n > 0 || cfg->gssapi_helper.n > 0)) {
		server_mechanism(m, "GSSAPI", cfg);
		rc = ph_provide_mechanism(setup, m++);
	}
	if (rc == 0 && cfg->server && cfg->spnego_helper.n > 0) {
		server_mechanism(m, "GSS-SPNEGO", cfg);
		rc = ph_provide_mechanism(setup, m++);
	}
	if (rc == 0 && cfg->ntlm_client_helper.n > 0) {
		client_mechanism(m, "NTLM", cfg);
		rc = ph_provide_mechanism(setup, m++);
	}
	if (rc == 0) {
		client_mechanism(m, "GSSAPI", cfg);
		rc = ph_provide_mechanism(setup, m++);
	}
	if (rc == 0 && cfg->server)
		ph_rules_admission(setup);
	return rc;
}

static void
windows_teardown(struct ph_setup *setup)
{
	struct windows_cfg *cfg = ph_setup_config(setup);

	command_free(&cfg->command[HELPER_NTLM], &cfg->ntlm_helper);
	command_free(&cfg->command[HELPER_SPNEGO], &cfg->spnego_helper);
	command_free(&cfg->command[HELPER_GSSAPI], &cfg->gssapi_helper);
}

/* --- a worker's pools --- */

static int
windows_worker_open(struct ph_worker *w, void *data)
{
	const struct windows_cfg *cfg = ph_worker_config(w);
	struct windows_worker *mine = data;

	for (size_t kind = 0; kind < HELPER_KINDS; kind++) {
		struct ph_helper_spec spec = {
			.size = sizeof spec, .command = cfg->command[kind], .framing = PH_FRAME_LINE,
			.total = cfg->helpers, .answer_limit = cfg->helper_timeout,
			.lease_wait = cfg->helper_wait, .max_answer = 2 * TOKEN_MAX,
		};

		if (cfg->command[kind].n == 0)
			continue;
		mine->pool[kind] = ph_helpers_open(w, &spec);
		if (mine->pool[kind] == NULL)
			return PH_EIO;
	}
	return 0;
}

static void
windows_worker_close(struct ph_worker *w, void *data)
{
	struct windows_worker *mine = data;

	(void)w;
	for (size_t kind = 0; kind < HELPER_KINDS; kind++)
		ph_helpers_close(&mine->pool[kind]);
}

PH_PLUGIN(auth_windows,
	.summary     = "integrated Windows authentication, of clients and to smart hosts",
	.doc         = "Clients log in with their domain account by NTLM or GSSAPI (SPNEGO and RFC 4752), "
	               "and the relay to smart hosts the same way. Helper programs speak with the domain: "
	               "ntlm_auth of Samba, on a machine that has joined it and runs winbindd, and "
	               "posthouse-gssapi for Kerberos alone.",
	.flags       = PH_SUPPLIES_LOGINS,
	.options     = windows_options,
	.config_size = sizeof(struct windows_cfg),
	.worker      = { sizeof(struct windows_worker), windows_worker_open, windows_worker_close },
	.check       = windows_check,
	.setup       = windows_setup,
	.teardown    = windows_teardown);
