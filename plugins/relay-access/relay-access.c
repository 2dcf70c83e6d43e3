/*
 * relay-access.c - who may relay: clients of configured networks, clients that
 * logged in, and clients that showed one of the configured certificates.
 * Everybody else is refused at RCPT.
 */
#include <string.h>

#include <posthouse/posthouse.h>

struct relay_cfg { struct ph_networks allow; bool authenticated; struct ph_strings certificates; };

static bool
same_name(struct ph_str a, const char *b, size_t n)
{
	if (a.n != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		char x = a.p[i], y = b[i];

		x = (char)(x >= 'A' && x <= 'Z' ? x + 32 : x);
		y = (char)(y >= 'A' && y <= 'Z' ? y + 32 : y);
		if (x != y)
			return false;
	}
	return true;
}

/* "*.example.com" is every name below example.com, at any depth, and not itself. */
static bool
name_matches(struct ph_str name, const char *pattern)
{
	size_t n = strlen(pattern);

	if (pattern[0] != '*')
		return same_name(name, pattern, n);
	pattern++;
	n--;
	return name.n > n && name.p[0] != '.' &&
	    same_name((struct ph_str){ name.p + name.n - n, n }, pattern, n);
}

static bool
has_certificate(struct ph_call *call)
{
	const struct relay_cfg *cfg = ph_config(call);
	struct ph_str name = ph_client_certificate(call);

	for (size_t i = 0; i < cfg->certificates.n && name.n > 0; i++)
		if (name_matches(name, cfg->certificates.v[i]))
			return true;
	return false;
}

/* A certificate says who the client is as well as a login would. */
static enum ph_verdict
relay_hello(struct ph_call *call)
{
	if (has_certificate(call))
		ph_admit_anonymous(call);
	return PH_CONTINUE;
}

static enum ph_verdict
relay_rcpt(struct ph_call *call)
{
	const struct relay_cfg *cfg = ph_config(call);

	if (!ph_network_has(&cfg->allow, ph_client_addr(call)) &&
	    !(cfg->authenticated && ph_client_login(call).n > 0) && !has_certificate(call))
		return ph_reject(call, PH_R_RELAY_DENIED, NULL);
	ph_permit_relay(call);
	return PH_CONTINUE;
}

static void
check_certificate(struct ph_setup *setup, const char *s)
{
	const char *rest = strncmp(s, "*.", 2) == 0 ? s + 2 : s;

	if (*rest == '\0' || *rest == '.' || strchr(rest, '*') != NULL)
		ph_complain(setup, "certificates", "\"%.100s\" is neither a name nor *.domain", s);
	else if (rest != s && strchr(rest, '.') == NULL)
		ph_warn(setup, "certificates", "\"%.100s\" lets everybody relay who has a certificate "
		    "below that top-level domain", s);
}

/* A network of length 0 is everybody: said once, at the option's place. */
static int
relay_check(struct ph_setup *setup)
{
	const struct relay_cfg *cfg = ph_setup_config(setup);

	for (size_t i = 0; i < cfg->allow.n; i++)
		if (cfg->allow.v[i].bits == 0)
			ph_warn(setup, "allow", "a network of length 0 lets everybody relay; list the "
			    "networks of your own clients instead");
	for (size_t i = 0; i < cfg->certificates.n; i++)
		check_certificate(setup, cfg->certificates.v[i]);
	if (cfg->allow.n == 0 && !cfg->authenticated && cfg->certificates.n == 0)
		ph_warn(setup, "allow", "nobody may relay: allow and certificates are empty and "
		    "authenticated is no");
	return 0;
}

static int
relay_setup(struct ph_setup *setup)
{
	const struct relay_cfg *cfg = ph_setup_config(setup);
	int rc = 0;

	ph_rules_relay(setup);
	if (cfg->certificates.n > 0) {
		ph_rules_admission(setup);
		ph_expects_certificates(setup, "certificates");
		rc = ph_on_decide(setup, PH_HOOK_HELLO, relay_hello);
	}
	return rc == 0 ? ph_on_decide(setup, PH_HOOK_RCPT, relay_rcpt) : rc;
}

static const struct ph_option relay_options[] = {
	PH_OPT(struct relay_cfg, allow, "allow", .dflt = "[127.0.0.0/8, \"::1\"]",
	    .doc = "Networks and addresses whose clients may relay without a login."),
	PH_OPT(struct relay_cfg, authenticated, "authenticated", .dflt = "yes",
	    .doc = "Whether clients that logged in may relay from anywhere."),
	PH_OPT(struct relay_cfg, certificates, "certificates",
	    .doc = "Names in client certificates whose owners may relay from anywhere, without a login. "
	    "\"*.example.com\" stands for all names below example.com. A certificate counts once the "
	    "plugin tls has verified it, so that plugin must ask for one and know who signs them."),
	PH_OPT_END
};

PH_PLUGIN(relay_access,
	.summary     = "who may relay, by address, login or certificate",
	.doc         = "Refuses a recipient with 550 5.7.1 unless the client comes from one of the "
	               "networks of allow, has logged in, or has shown one of the certificates.",
	.options     = relay_options,
	.config_size = sizeof(struct relay_cfg),
	.check       = relay_check,
	.setup       = relay_setup);
