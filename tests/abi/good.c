/* good.c - nothing wrong with it: what the others are compared with. */
#include <posthouse/posthouse.h>

static enum ph_verdict
good_rcpt(struct ph_call *call)
{
	return ph_reject(call, PH_R_NO_SUCH_MAILBOX, NULL);
}

static int
good_setup(struct ph_setup *setup)
{
	return ph_on_decide(setup, PH_HOOK_RCPT, good_rcpt);
}

PH_PLUGIN(good, .summary = "as it should be", .setup = good_setup, .version = "3.1");
