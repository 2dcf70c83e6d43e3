/*
 * clock.c - the one place that asks the system for the time.
 */
#include <stddef.h>
#include <time.h>

#include "base/clock.h"

static int64_t
read_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t
real_mono(void)
{
	return read_us(CLOCK_MONOTONIC);
}

static int64_t
real_wall(void)
{
	return read_us(CLOCK_REALTIME);
}

static struct clock in_use = { real_mono, real_wall };

void
clock_use(const struct clock *c)
{
	in_use = c != NULL ? *c : (struct clock){ real_mono, real_wall };
}

int64_t
clock_mono_us(void)
{
	return in_use.mono_us();
}

int64_t
clock_mono_ms(void)
{
	return in_use.mono_us() / 1000;
}

int64_t
clock_wall_ms(void)
{
	return in_use.wall_us() / 1000;
}
