/*
 * watched.h - a file that is read whole, kept as an object, and read anew when it changes.
 *
 * A struct watched belongs to the instance and outlives its workers.  What it holds is handed out
 * counted, to any thread.  One of the workers looks after the file, off its loop; mistakes in a
 * changed file are logged and leave what was read before in force.
 */
#ifndef AUTH_BASIC_WATCHED_H
#define AUTH_BASIC_WATCHED_H

#include <posthouse/posthouse.h>

#include "textfile.h"

struct watched_kind {
	const char *what;               /* "users", for the log */
	/* Reads path; what it returns by *out is one reference.  Says what is wrong, except for
	 * PH_ENOENT. */
	int (*read)(const char *path, const void *arg, void **out, text_say say, void *say_arg);
	void *(*ref)(void *object);
	void (*unref)(void *object);
	size_t (*count)(const void *object);
};

struct watched;
/* path lives as long as it; arg is given to read.  initial: a reference, or NULL. */
struct watched *watched_new(const struct watched_kind *kind, const char *path, const void *arg,
                            void *initial);
void watched_free(struct watched **f);
/* setup: reads it for the first time.  PH_ENOENT leaves initial in force. */
int watched_load(struct watched *f, text_say say, void *say_arg);
/* A reference; NULL only when there was no initial one.  Any thread. */
void *watched_get(struct watched *f);

/* A worker's part: begin in open, end in close. */
struct watch {
	struct watched *f;
	struct ph_worker *w;
	struct ph_timer *timer;
	bool mine;                      /* this worker looks after the file */
	bool working, ended;
	void *found;                    /* by the thread that reads */
	int status;
	bool changed;
	char said[1024];
};
void watch_begin(struct watch *watch, struct watched *f, struct ph_worker *w);
void watch_end(struct watch *watch);

#endif
