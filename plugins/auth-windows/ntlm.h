/*
 * ntlm.h - as much of NTLM's messages (MS-NLMP 2.2.1) as is needed to refuse
 * what is none, and to know whose name a client claims.
 */
#ifndef AUTH_WINDOWS_NTLM_H
#define AUTH_WINDOWS_NTLM_H

#include <posthouse/types.h>

enum { NTLM_NAME_MAX = 255 };

struct ntlm_message {
	uint32_t type;                  /* 1, 2, 3 */
	uint32_t flags;                 /* 0 when the message has none */
	bool has_flags;
	/* type 3: DOMAIN\user as claimed, UTF-8; never an identity */
	char claimed[NTLM_NAME_MAX + 1];
	size_t claimed_n;
	bool anonymous;                 /* type 3 without a user */
};

bool ntlm_is(struct ph_str bytes);      /* begins with the signature */
/* 0, or PH_EINVAL: too short, of no known type, or a field points outside.
 * flags_agreed: those of the type 2 before, for a type 3 of old clients that has none. */
int  ntlm_parse(struct ph_str bytes, uint32_t flags_agreed, struct ntlm_message *out);
/* The first NTLM message inside a SPNEGO token: up to its end.  {NULL,0}: none. */
struct ph_str ntlm_inside(struct ph_str token);

#endif
