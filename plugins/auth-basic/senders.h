/*
 * senders.h - the file that says which login may use which sender address.
 *
 * A line is a login and the addresses that it may use, separated by blanks or commas:
 *	bob@example.com         bob@example.com, bob.builder@example.com
 *	"LAB\alice smith"       @lab.example.com @.lab.example.com
 *	scanner.example.com     *
 *	*                       noreply@example.com
 * A login with blanks stands in double quotes; * is every login.  An address is one address,
 * @DOMAIN, @.DOMAIN (the domains below), or * for any.  Several lines of one login add up.  Case
 * of letters means nothing; # begins a comment.
 */
#ifndef AUTH_BASIC_SENDERS_H
#define AUTH_BASIC_SENDERS_H

#include "textfile.h"

struct senders;
/* As users_read. */
int senders_read(const char *path, struct senders **out, text_say say, void *arg)
	__attribute__((warn_unused_result));
struct senders *senders_ref(struct senders *s);
void senders_unref(struct senders **s);
size_t senders_count(const struct senders *s);     /* lines */
/* login as it is; default_domain is added or left out where that helps, and may be NULL. */
bool senders_allow(const struct senders *s, struct ph_str login, const char *default_domain,
                   struct ph_str sender);

/* One line.  1: *login and *addresses, still to be cut by senders_word; 0: nothing in it;
 * PH_EINVAL: *why. */
int senders_line(struct ph_str line, struct ph_str *login, struct ph_str *addresses,
                 const char **why) __attribute__((warn_unused_result));
bool senders_word(struct ph_str *rest, struct ph_str *word);
bool sender_matches(struct ph_str pattern, struct ph_str sender);

#endif
