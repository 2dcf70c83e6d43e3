/* refuse.c - a whole plugin: refuses mail from the domains of a list. */
#include <string.h>
#include <strings.h>
#include <posthouse/posthouse.h>

struct refuse_cfg { struct ph_strings domains; };

static enum ph_verdict
refuse_mail(struct ph_call *call)
{
	const struct refuse_cfg *cfg = ph_config(call);
	struct ph_str from = ph_sender_domain(call);

	for (size_t i = 0; i < cfg->domains.n; i++)
		if (strlen(cfg->domains.v[i]) == from.n &&
		    strncasecmp(cfg->domains.v[i], from.p, from.n) == 0)
			return ph_reject(call, PH_R_POLICY, "No mail from your domain");
	return PH_CONTINUE;
}

static int
refuse_setup(struct ph_setup *setup)
{
	return ph_on_decide(setup, PH_HOOK_MAIL, refuse_mail);
}

static const struct ph_option refuse_options[] = {
	PH_OPT(struct refuse_cfg, domains, "domains", .doc = "Sender domains that are refused."),
	PH_OPT_END
};

PH_PLUGIN(refuse,
	.summary = "refuses mail from listed domains", .options = refuse_options,
	.config_size = sizeof(struct refuse_cfg), .setup = refuse_setup);
