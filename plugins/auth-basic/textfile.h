/*
 * textfile.h - reading a file of lines whole, and saying what is wrong in which of them.
 */
#ifndef AUTH_BASIC_TEXTFILE_H
#define AUTH_BASIC_TEXTFILE_H

#include <posthouse/types.h>

/* What is wrong with a file, in words, with file and line; at most ten times. */
typedef void (*text_say)(void *arg, const char *text);

struct textfile {
	const char *path;
	text_say say;                   /* may be NULL */
	void *arg;
	unsigned said;
	char *text;                     /* ended by NUL, n octets before it */
	size_t n;
	struct ph_str rest;             /* not read yet */
	size_t number;                  /* of the line read last */
};

/* forbidden: bits of the mode that must not be set.  0; PH_ENOENT: no such file (nothing is
 * said); PH_EPERM: open to others, or may not be read; PH_ELIMIT; PH_EIO. */
int textfile_load(struct textfile *f, unsigned forbidden) __attribute__((warn_unused_result));
/* The next line, without its end; false at the end of the file. */
bool textfile_line(struct textfile *f, struct ph_str *out);
/* line 0: the file as a whole. */
void textfile_complain(struct textfile *f, size_t line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Gives the text away, or wipes and frees it. */
char *textfile_take(struct textfile *f);
void textfile_free(struct textfile *f);

/* The part before the first at; *rest is {NULL,0} when there is none. */
struct ph_str text_cut(struct ph_str s, char at, struct ph_str *rest);

#endif
