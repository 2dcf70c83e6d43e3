/* bad-open.c - fails on the worker. */
#include <posthouse/posthouse.h>

static int
bad_open(struct ph_worker *w, void *data)
{
	(void)w;
	(void)data;
	return PH_EREFUSED;
}

PH_PLUGIN(bad_open, .summary = "does not open", .worker = { 8, bad_open, NULL });
