/*
 * relay-access.c - who may relay: clients of configured networks, and clients
 * that logged in.  Everybody else is refused at RCPT.
 */
#include <posthouse/posthouse.h>

struct relay_cfg { struct ph_networks allow; bool authenticated; };

static enum ph_verdict
relay_rcpt(struct ph_call *call)
{
	const struct relay_cfg *cfg = ph_config(call);

	if (!ph_network_has(&cfg->allow, ph_client_addr(call)) &&
	    !(cfg->authenticated && ph_client_login(call).n > 0))
		return ph_reject(call, PH_R_RELAY_DENIED, NULL);
	ph_permit_relay(call);
	return PH_CONTINUE;
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
	if (cfg->allow.n == 0 && !cfg->authenticated)
		ph_warn(setup, "allow", "nobody may relay: allow is empty and authenticated is no");
	return 0;
}

static int
relay_setup(struct ph_setup *setup)
{
	ph_rules_relay(setup);
	return ph_on_decide(setup, PH_HOOK_RCPT, relay_rcpt);
}

static const struct ph_option relay_options[] = {
	PH_OPT(struct relay_cfg, allow, "allow", .dflt = "[127.0.0.0/8, \"::1\"]",
	    .doc = "Networks and addresses whose clients may relay without a login."),
	PH_OPT(struct relay_cfg, authenticated, "authenticated", .dflt = "yes",
	    .doc = "Whether clients that logged in may relay from anywhere."),
	PH_OPT_END
};

PH_PLUGIN(relay_access,
	.summary     = "who may relay, by address or login",
	.doc         = "Refuses a recipient with 550 5.7.1 unless the client comes from one of the "
	               "networks of allow, or has logged in.",
	.options     = relay_options,
	.config_size = sizeof(struct relay_cfg),
	.check       = relay_check,
	.setup       = relay_setup);
