/* facts.h - what is known of a session; written by the session, read by all. */
#ifndef MAIL_FACTS_H
#define MAIL_FACTS_H

#include <posthouse/types.h>

struct facts {
	struct ph_addr client, local;
	struct ph_str id;               /* session id, text */
	struct ph_str hello;            /* "" before HELO */
	bool esmtp;
	bool tls;
	struct ph_str tls_version, tls_cipher, tls_peer;
	struct ph_str login;            /* "" nobody */
	struct ph_str mechanism;
	bool admitted;                  /* by login or auth-anonymous: MAIL is open */
};

#endif
