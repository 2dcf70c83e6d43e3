/* bad-symbol.c - calls a function that this posthouse does not have. */
#include <posthouse/posthouse.h>

extern int ph_from_the_future(struct ph_setup *setup);

static int
bad_setup(struct ph_setup *setup)
{
	return ph_from_the_future(setup);
}

PH_PLUGIN(bad_symbol, .summary = "ahead of its time", .setup = bad_setup);
