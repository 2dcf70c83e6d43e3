/* bad-write.c - writes to its configuration after setup. */
#include <posthouse/posthouse.h>

struct bad_cfg { bool seen; };

static const struct ph_option bad_options[] = {
	PH_OPT(struct bad_cfg, seen, "seen", .dflt = "no", .doc = "Whether it was called."),
	PH_OPT_END
};

static enum ph_verdict
bad_rcpt(struct ph_call *call)
{
	((struct bad_cfg *)(uintptr_t)ph_config(call))->seen = true;
	return PH_CONTINUE;
}

static int
bad_setup(struct ph_setup *setup)
{
	((struct bad_cfg *)ph_setup_config(setup))->seen = false;       /* here it may */
	return ph_on_decide(setup, PH_HOOK_RCPT, bad_rcpt);
}

PH_PLUGIN(bad_write, .summary = "keeps notes in the wrong place", .options = bad_options,
	.config_size = sizeof(struct bad_cfg), .setup = bad_setup);
