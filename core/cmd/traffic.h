/*
 * traffic.h - generated messages that can be told from each other and
 * verified where they arrive.  The first field of each is
 *
 *   X-Posthouse-Check: RUN-NUMBER LENGTH HASH
 *
 * (16, 10, 10 and 16 digits; RUN and HASH hexadecimal).  Length and hash
 * (XXH3, seeded by run and number) are of all that follows the field, so
 * relays may put fields on top, and nothing else.
 */
#ifndef CMD_TRAFFIC_H
#define CMD_TRAFFIC_H

#include "base/buf.h"
#include "base/codec.h"

enum { TRAFFIC_HEAD = 192, TRAFFIC_MIN_SIZE = 512 };

/* Owner: the command; read-only once made, so threads share it. */
struct traffic {
	uint64_t run;           /* random: ids of two runs never meet */
	struct buf rest;        /* what follows the head, the same in each message */
	struct buf stuffed;     /* the same with dots doubled (RFC 5321 4.5.2) */
	size_t head_size, size; /* of the head, of a whole message */
};
/* size: octets of a message, at least TRAFFIC_MIN_SIZE. */
void traffic_init(
    struct traffic *t, uint64_t run, size_t size, struct ph_str from, struct ph_str to);
void traffic_done(struct traffic *t);
/* Writes the head (t->head_size octets; no dot begins a line) of a message. */
void traffic_head(
    const struct traffic *t, struct codec_sum *sum, uint64_t number, char head[TRAFFIC_HEAD]);

/* --- verifying, at any split --- */
enum traffic_verdict { TRAFFIC_FOREIGN /* no check field */, TRAFFIC_GOOD, TRAFFIC_CHANGED };
struct traffic_check {
	struct codec_sum *sum;          /* kept for the next message */
	enum { TRAFFIC_IN_LINE, TRAFFIC_HASHING, TRAFFIC_ABSENT } state;
	unsigned line_len;
	char line[80];                  /* the beginning of the line being read */
	uint64_t run, number, length, hash, seen;
};
void traffic_check_start(struct traffic_check *c);
void traffic_check_feed(struct traffic_check *c, struct ph_str bytes);
enum traffic_verdict traffic_check_end(struct traffic_check *c);
void traffic_check_done(struct traffic_check *c);

/* --- which numbers have been seen, per run --- */
enum { TRAFFIC_RUNS = 32, TRAFFIC_MAX_NUMBER = 200000000 };
struct traffic_seen {
	struct traffic_run {
		uint64_t run, *bits, words, distinct, duplicates, highest;
	} runs[TRAFFIC_RUNS];
	unsigned n;
	uint64_t untracked;             /* more runs or higher numbers than we follow */
};
/* true: seen for the first time. */
bool traffic_seen_add(struct traffic_seen *s, uint64_t run, uint64_t number);
void traffic_seen_merge(struct traffic_seen *into, const struct traffic_seen *from);
/* Numbers from 0 to the highest seen that are missing, over all runs. */
uint64_t traffic_seen_missing(const struct traffic_seen *s);
uint64_t traffic_seen_distinct(const struct traffic_seen *s);
uint64_t traffic_seen_duplicates(const struct traffic_seen *s);
void traffic_seen_free(struct traffic_seen *s);

#endif
