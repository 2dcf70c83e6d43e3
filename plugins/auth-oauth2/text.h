/*
 * text.h - text that may hold secrets: it grows without leaving copies behind
 * and is wiped when it ends.  And base64url (RFC 4648 5, without padding).
 */
#ifndef OAUTH_TEXT_H
#define OAUTH_TEXT_H

#include <posthouse/posthouse.h>

/* Always ended by NUL when p is not NULL.  failed: memory ran out or the limit was passed; the
 * additions after that are dropped, so that only the end has to be looked at. */
struct oauth_text { char *p; size_t n, room, most; bool failed; };

void oauth_text_add(struct oauth_text *t, const void *p, size_t n);
void oauth_text_adds(struct oauth_text *t, const char *s);
/* key=value of a form (RFC 6749 appendix B), with a & in front when it is not the first. */
void oauth_text_form(struct oauth_text *t, const char *key, const char *value, size_t n);
void oauth_text_escape(struct oauth_text *t, const char *value, size_t n);
void oauth_text_base64url(struct oauth_text *t, const void *p, size_t n);
void oauth_text_done(struct oauth_text *t);     /* wiped, freed, zeroed; NULL is none */

/* Bytes written, or PH_EINVAL, PH_ELIMIT.  Strict: no padding, no other characters. */
int  oauth_base64url_decode(struct ph_str in, uint8_t *out, size_t room);

char *oauth_copy(const char *p, size_t n);      /* NULL: no memory */
void  oauth_forget(char **p);                   /* wipes, frees, NULLs a string */

/* Words of somebody else for the log: printable ASCII, the first line, cut. */
void oauth_plain(char *out, size_t room, const char *text);

/* Milliseconds that never jump and go on while the machine sleeps. */
int64_t oauth_now(void);

#endif
