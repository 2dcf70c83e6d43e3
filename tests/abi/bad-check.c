/* bad-check.c - refuses its configuration, once with a complaint, once without. */
#include <posthouse/posthouse.h>

struct bad_cfg { bool silent; };

static const struct ph_option bad_options[] = {
	PH_OPT(struct bad_cfg, silent, "silent", .dflt = "no", .doc = "Whether it says why."),
	PH_OPT_END
};

static int
bad_check(struct ph_setup *setup)
{
	const struct bad_cfg *cfg = ph_setup_config(setup);

	if (cfg->silent)
		return PH_EINVAL;
	ph_complain(setup, "silent", "is %s, which %s does not like", "no", ph_setup_instance(setup));
	return 0;       /* the complaint alone is enough */
}

PH_PLUGIN(bad_check, .summary = "never content", .options = bad_options,
	.config_size = sizeof(struct bad_cfg), .check = bad_check);
