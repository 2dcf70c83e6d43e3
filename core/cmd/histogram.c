/*
 * histogram.c - logarithmic buckets with 64 linear steps each, as HdrHistogram
 * has them: 18 KiB whatever is counted, one addition per sample.
 */
#include <math.h>
#include "cmd/histogram.h"

static unsigned
bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_FINE)
		return (unsigned)value;
	shift = 63U - (unsigned)__builtin_clzll(value) - 6U;    /* value >> shift is 64 to 127 */
	if (shift >= HISTOGRAM_DOUBLINGS)
		return HISTOGRAM_BUCKETS - 1;
	return HISTOGRAM_FINE * shift + (unsigned)(value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t
bucket_top(unsigned i)
{
	unsigned shift;

	if (i < 2 * HISTOGRAM_FINE)
		return i;
	shift = i / HISTOGRAM_FINE - 1;
	return ((((uint64_t)i - HISTOGRAM_FINE * shift) + 1) << shift) - 1;
}

void
histogram_add(struct histogram *h, uint64_t value)
{
	if (h->count == 0 || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->sum += value;
	h->bucket[bucket_of(value)]++;
}

void
histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (from->count == 0)
		return;
	if (into->count == 0 || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum += from->sum;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t
histogram_percentile(const struct histogram *h, double percent)
{
	uint64_t seen = 0, want = (uint64_t)ceil((double)h->count * percent / 100.0);

	if (h->count == 0)
		return 0;
	if (want == 0)
		return h->min;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want) {
			uint64_t top = bucket_top(i);

			/* the last bucket is open, and none says more than was seen */
			return i == HISTOGRAM_BUCKETS - 1 || top > h->max ? h->max : top;
		}
	}
	return h->max;
}

double
histogram_mean(const struct histogram *h)
{
	return h->count == 0 ? 0 : (double)h->sum / (double)h->count;
}
