/*
 * actors.h - those who talk to the relay in a dialogue: clients, and the hops
 * it delivers to.  A script names them; what they are told to do is one line.
 */
#ifndef TESTS_ACTORS_H
#define TESTS_ACTORS_H

#include "base/buf.h"

/* One line of a script: NAME VERB REST. The verbs stand in run.c. */
void actor_does(const char *name, const char *verb, char *rest);
void actors_go(void);           /* all hang up and are forgotten */

/* '*' is any text. */
bool text_matches(struct ph_str pattern, struct ph_str text);
/* Some line of text (LF or CRLF) matches. */
bool text_has_line(struct ph_str text, const char *pattern);

#endif
