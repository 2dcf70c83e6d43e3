/*
 * directory.h - the link to a directory service: one connection of a worker,
 * questions sent without waiting, answers in the order of the questions.
 */
#ifndef EXAMPLE_DIRECTORY_H
#define EXAMPLE_DIRECTORY_H

#include <posthouse/posthouse.h>

struct directory;
struct directory *directory_open(struct ph_worker *w, const struct ph_endpoint *at,
                                 ph_duration retry);
void directory_close(struct directory **d);
/* The ticket is woken with a bool, or with NULL when the link fails. PH_EBUSY: too many
 * questions wait. */
int  directory_ask(struct directory *d, struct ph_str address, struct ph_ticket ticket);

#endif
