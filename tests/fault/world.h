/*
 * world.h - a store on the fake disk together with a model of what it must
 * still know: every answer it gives is noted, every life is checked against that.
 */
#ifndef FAULT_WORLD_H
#define FAULT_WORLD_H

#include "base/mailbox.h"
#include "fake_io.h"

enum world_state { W_ASKED, W_STORED, W_REFUSED, W_DOUBT };
struct world_msg {
	struct ph_msgid id;
	uint32_t meta, size;    /* bytes; their values follow from the id */
	bool large;             /* sent in parts */
	enum world_state state;
	int status;
	bool remove_asked, removed;     /* removed: answered */
	uint32_t sent, sure;    /* progress: last asked, last answered; 0 none */
	bool reported;          /* in this life */
};
struct world {
	struct ph_store *store;
	struct store_config cfg;
	struct ph_mailbox home;
	struct world_msg *v;
	size_t n, cap;
	unsigned open;          /* requests under way */
	bool scanned, room;
	int scan_status;
	unsigned errors;        /* log lines of level error */
	int64_t now;            /* mono ms */
	bool damaged;           /* bytes on the disk were changed: only what is read must be right */
	char log[512];          /* the last line */
	struct ph_store_request *last;  /* of world_read, kept until the next */
};
extern struct world world;      /* one at a time */

void world_start(uint64_t seed, uint64_t segment_size); /* empty disk, clock, ids */
void world_open(void);
bool world_pump(void);         /* one turn of everything */
void world_settle(void);        /* pumps until nothing moves; time stands */
void world_pass(int64_t ms);    /* lets time pass and settles */
void world_close(void);         /* in order */
void world_die(void);           /* power goes now, if it has not: no answer counts any more */
void world_kill(void);          /* kill -9: the same, but the cache survives */
size_t world_append(uint32_t meta, uint32_t size, bool parts);  /* index of the message */
void world_progress(size_t i);
void world_remove(size_t i);
int  world_read(size_t i);      /* status; checks bytes when 0 */
/* Everything promised is there, byte for byte, and nothing else. */
void world_check(void);
void world_end(void);

#endif
