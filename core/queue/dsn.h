/* dsn.h - RFC 3464 reports: text built from an envelope and outcomes; no I/O. */
#ifndef QUEUE_DSN_H
#define QUEUE_DSN_H

#include "mail/envelope.h"
#include "mail/content.h"

enum dsn_kind { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED };
struct dsn_rcpt { const struct recipient *rcpt; int code; struct ph_str reply, remote; bool expired; };
struct dsn_input {
	enum dsn_kind kind;
	struct ph_str hostname;
	struct ph_msgid about, id;      /* the message, the report itself */
	const struct envelope *env;
	const struct dsn_rcpt *rcpts; size_t nrcpts;
	int64_t now, retry_until;       /* wall ms */
	const struct ph_content *content;       /* for RET; NULL or not in memory: headers as given */
	struct ph_str headers;          /* header section when content is not in memory */
	uint64_t max_original;          /* bytes of the original returned at most */
};
/* Writes the whole message (with its own Date, From, To, Message-ID, Auto-Submitted).
 * Remote text is folded and escaped; boundary cannot be guessed; lines <= 998. */
void dsn_build(const struct dsn_input *in, struct buf *out);

#endif
