/*
 * answer.h - what helpers say: one line, read without trust.
 *
 * The protocols are those of Samba's ntlm_auth; posthouse-gssapi speaks the
 * dialect of gss-spnego.
 */
#ifndef AUTH_WINDOWS_ANSWER_H
#define AUTH_WINDOWS_ANSWER_H

#include <posthouse/types.h>

enum dialect {
	DIALECT_NTLM,           /* squid-2.5-ntlmssp: TT tok, AF user, NA status, BH text */
	DIALECT_SPNEGO,         /* gss-spnego: TT tok *, AF tok user, NA * status, BH * status */
	DIALECT_CLIENT,         /* ntlmssp-client-1, gss-spnego-client: OK, PW, YR tok, KK tok, AF [tok] */
};

enum answer_kind {
	ANSWER_NONE,            /* nothing that the dialect knows */
	ANSWER_TOKEN,           /* TT; client: YR, KK */
	ANSWER_ACCEPTED,        /* AF */
	ANSWER_REFUSED,         /* NA */
	ANSWER_BROKEN,          /* BH */
	ANSWER_OK, ANSWER_PASSWORD,
};

struct answer {
	enum answer_kind kind;
	struct ph_str token;    /* base64 as it came; empty: none */
	struct ph_str text;     /* the user's name, or the status with what is said about it */
};

/* Views into line, which has no LF. */
enum answer_kind answer_parse(enum dialect dialect, struct ph_str line, struct answer *out);

enum answer_blame {
	BLAME_UNKNOWN,          /* not in the table: nobody's fault that is known */
	BLAME_CREDENTIALS,      /* name, password, account: it will not help to try again */
	BLAME_MESSAGE,          /* what the client sent is no message of the mechanism */
	BLAME_DOMAIN,           /* no domain controller, no winbindd, no rights */
};
/* Whose fault an NA or BH is.  Unknown statuses are not the client's: a login that was refused
 * for a reason nobody has thought of must not cost mail. */
enum answer_blame answer_blame(const struct answer *a);

/* "NT_STATUS_LOGON_FAILURE", or the text itself, without anything that could be a token:
 * for the log.  out is ended by NUL. */
void answer_reason(const struct answer *a, char *out, size_t room);
/* What an administrator can do about it; NULL: nothing special. */
const char *answer_advice(const struct answer *a);

#endif
