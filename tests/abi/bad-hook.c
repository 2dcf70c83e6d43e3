/* bad-hook.c - registers an observer on a hook that decides. */
#include <posthouse/posthouse.h>

static void
bad_rcpt(struct ph_call *call)
{
	(void)call;
}

static int
bad_setup(struct ph_setup *setup)
{
	return ph_on_observe(setup, PH_HOOK_RCPT, bad_rcpt);
}

PH_PLUGIN(bad_hook, .summary = "takes one for the other", .setup = bad_setup);
