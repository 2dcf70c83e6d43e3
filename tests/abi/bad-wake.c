/* bad-wake.c - every way to wake wrongly, by the option how. */
#include <posthouse/posthouse.h>

enum { NEVER, TWICE, LATE, INSIDE, STALE };
struct bad_cfg { int how; };
struct bad_worker { struct ph_worker *w; struct ph_ticket ticket; };

static const struct ph_choice ways[] = {
	{ "never", NEVER, NULL }, { "twice", TWICE, NULL }, { "late", LATE, NULL },
	{ "inside", INSIDE, NULL }, { "stale", STALE, NULL }, { NULL, 0, NULL }
};
static const struct ph_option bad_options[] = {
	PH_OPT_CHOICE(struct bad_cfg, how, "how", ways, .dflt = "never", .doc = "The way to wake."),
	PH_OPT_END
};

static bool yes = true, no = false;

static enum ph_verdict
bad_resume(struct ph_call *call)
{
	const bool *answer = ph_answer(call);

	return answer != NULL && *answer ? PH_CONTINUE : ph_reject(call, PH_R_POLICY, "wrong answer");
}

static void
bad_timer(void *arg)
{
	struct bad_worker *mine = arg;
	const struct bad_cfg *cfg = ph_worker_config(mine->w);
	int first = ph_wake(mine->ticket, &yes);
	int second = cfg->how == TWICE ? ph_wake(mine->ticket, &no) : 0;

	ph_log_worker(mine->w, PH_INFO, "first %d second %d", first, second);
}

static enum ph_verdict
bad_rcpt(struct ph_call *call)
{
	const struct bad_cfg *cfg = ph_config(call);
	struct bad_worker *mine = ph_worker_data(call);
	struct ph_ticket former = mine->ticket;
	int64_t when = cfg->how == LATE ? 2000 : 500;

	mine->w = ph_worker_of(call);
	mine->ticket = ph_ticket_of(call);
	switch (cfg->how) {
	case INSIDE:
		if (ph_wake(mine->ticket, &yes) != 0)
			return ph_fail(call, "could not wake itself");
		break;
	case STALE:
		if (former.session != 0)
			mine->ticket = former;
		/* fall through */
	case TWICE:
	case LATE:
		if (ph_timer_start(mine->w, (ph_duration){ when }, bad_timer, mine) == NULL)
			return ph_fail(call, "no timer");
		break;
	}
	return ph_suspend(call, (ph_duration){ 1000 }, bad_resume, NULL, "better days");
}

static int
bad_setup(struct ph_setup *setup)
{
	return ph_on_decide(setup, PH_HOOK_RCPT, bad_rcpt);
}

PH_PLUGIN(bad_wake, .summary = "wakes wrongly", .options = bad_options,
	.config_size = sizeof(struct bad_cfg), .setup = bad_setup,
	.worker = { sizeof(struct bad_worker), NULL, NULL });
