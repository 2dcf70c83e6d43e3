/*
 * company.c - when a sync is worth waiting for company.
 *
 * Sessions that were answered together come back with their next messages
 * within a moment of each other.  A committer that runs with the first of
 * them has the others wait for a second sync: two small batches in place of
 * one.  So it naps while clearly fewer wait than came lately, at most as long
 * as a sync takes.  A lone session is never kept waiting.
 */
#include <sys/prctl.h>
#include <time.h>

#include "store/embedded.h"

enum { NAP_NS = 60000, NAPS = 5, COUNT_MOST = 256 };

void
company_thread(void)
{
	/* A nap of 60 us is to take 60 us, not 60 and the kernel's slack of 50. */
	(void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
}

static unsigned
waiting(const struct embedded *e)
{
	unsigned n = 0;

	for (const struct ph_note *at = e->appends.first; at != NULL && n < COUNT_MOST; at = at->next)
		n++;
	return n;
}

bool
company_expected(const struct embedded *e)
{
	return e->cfg.threads && waiting(e) < e->company - e->company / 4;
}

void
company_nap(void)
{
	const struct timespec nap = { 0, NAP_NS };

	(void)nanosleep(&nap, NULL);    /* cut short by a signal: looks earlier */
}

bool
company_patient(unsigned naps)
{
	return naps < NAPS;
}

/* What came this time counts at once when it is more, and fades when it is less. */
void
company_came(struct embedded *e, unsigned n)
{
	if (n > COUNT_MOST)
		n = COUNT_MOST;
	e->company = n >= e->company ? n : (e->company + n) / 2;
	if (e->company < 2)
		e->company = 0;
}
