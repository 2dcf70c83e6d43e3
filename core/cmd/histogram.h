/*
 * histogram.h - counts of times (or of any number) in buckets that grow with
 * the value: no sample is kept, percentiles are right to 1/64 of their value,
 * and the histograms of several threads add up.
 */
#ifndef CMD_HISTOGRAM_H
#define CMD_HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_FINE = 64,            /* values below it have a bucket each */
	HISTOGRAM_DOUBLINGS = 34,       /* above: 64 buckets for each doubling, up to 2^40 */
	HISTOGRAM_BUCKETS = HISTOGRAM_FINE * (HISTOGRAM_DOUBLINGS + 1),
};

/* Zero-initialised is empty and valid. */
struct histogram {
	uint64_t count, sum, min, max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(
    struct histogram *h, uint64_t value); /* above 2^40: counted as that, max is true */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The smallest value that at least that share (0 to 100) of all samples does
 * not exceed, to 1/64; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
double   histogram_mean(const struct histogram *h);

#endif
