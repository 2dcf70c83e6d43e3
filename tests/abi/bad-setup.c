/* bad-setup.c - cannot be set up. */
#include <posthouse/posthouse.h>

static int
bad_setup(struct ph_setup *setup)
{
	(void)setup;
	return PH_EPERM;
}

PH_PLUGIN(bad_setup, .summary = "not today", .setup = bad_setup);
