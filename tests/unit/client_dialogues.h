/*
 * client_dialogues.h - dialogues of the client engine, from basic to odd.
 * test_smtp_client.c says how a script is read.
 */
#ifndef TESTS_CLIENT_DIALOGUES_H
#define TESTS_CLIENT_DIALOGUES_H

#include "mail/envelope.h"
#include "smtp/client.h"

/* Rows name what differs from nothing. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct msg {
	const char *from, *rcpts, *content;
	enum mail_body body;
	bool eight_bit, smtputf8, stored;
	const char *envid, *orcpt; uint8_t notify; enum mail_ret ret;
	uint64_t size;          /* claimed instead of the real one */
};
struct dialogue {
	const char *name;
	struct msg msgs[4];
	const char *script;
	int starttls; bool auth, no_chunking, no_pipelining;
	uint32_t window; uint64_t window_bytes;
};

#define M1 { .from = "a@x.example", .rcpts = "b@y.example", .content = "Subject: 1\r\n\r\none\r\n" }
#define M2 { .from = "c@x.example", .rcpts = "d@y.example", .content = "Subject: 2\r\n\r\ntwo\r\n" }
#define HELLO "< 220 mx.example ESMTP\n> EHLO me.example\n"
#define STREAM HELLO "< 250-mx.example\n< 250-PIPELINING\n< 250 CHUNKING\n! READY\n"
#define GROUPS HELLO "< 250-mx.example\n< 250 PIPELINING\n! READY\n"
#define PLAIN HELLO "< 250 mx.example\n! READY\n"
#define SEND1 "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> BDAT 19 LAST\n> Subject: 1\n> \n> one\n"
#define SEND2 "> MAIL FROM:<c@x.example>\n> RCPT TO:<d@y.example>\n> BDAT 19 LAST\n> Subject: 2\n> \n> two\n"

static const struct dialogue dialogues[] = {
	/* --- before READY --- */
	{ "EHLO is refused with 5xx: HELO", { M1 }, HELLO "< 502 what?\n> HELO me.example\n< 250 ok\n! READY\n-\n? 1\n"
	  "+ 0\n> MAIL FROM:<a@x.example>\n-\n< 250 ok\n> RCPT TO:<b@y.example>\n-\n< 250 ok\n> DATA\n-\n"
	  "< 354 go\n> Subject: 1\n> \n> one\n> .\n-\n< 250 2.0.0 taken\n! TXN 0 250\n" },
	{ "EHLO gets 4xx: no HELO", { M1 }, HELLO "< 451 later\n! FAILED EBUSY 451 451 later\n> QUIT\n-\n" },
	{ "greeting 554", { M1 }, "< 554-go\n< 554 away\n! FAILED EREFUSED 554 554 go|away\n> QUIT\n< 221 bye\n! QUIT\n" },
	{ "greeting 421", { M1 }, "< 421 4.3.2 busy\n! FAILED EBUSY 421 421 4.3.2 busy\n-\n" },
	{ "greeting in several lines", { M1 }, "< 220-mx\n< 220 hi\n> EHLO me.example\n-\nW 300000 reply to EHLO\n" },
	{ "greeting is HTTP", { M1 }, "W 300000 greeting\n< HTTP/1.1 400 Bad Request\n! FAILED EPROTO 0 not an SMTP reply\n-\n" },
	{ "greeting 250", { M1 }, "< 250 hm\n! FAILED EPROTO 250 250 hm\n-\n" },
	{ "HELO is refused as well", { M1 }, HELLO "< 500 no\n> HELO me.example\n< 550 5.7.1 no\n"
	  "! FAILED EREFUSED 550 550 5.7.1 no\n" },
	{ "codes differ between lines", { M1 }, HELLO "< 250-a\n< 251 b\n! FAILED EPROTO 0 not an SMTP reply\n" },
	{ "a reply nobody asked for", { M1 }, PLAIN "< 250 hm\n! FAILED EPROTO 250 reply without a command\n" },
	{ "idle connection is told 421", { M1 }, PLAIN "W 0 nothing\n< 421 4.4.2 idle\n! FAILED EBUSY 421 421 4.4.2 idle\n-\n" },
	{ "QUIT", { M1 }, PLAIN "Q\n> QUIT\n-\n< 221 bye\n! QUIT\n? 0\n" },

	/* --- STREAM --- */
	{ "streaming: two messages, nothing waited for", { M1, M2 }, STREAM "? 32\n+ 0\n+ 1\n" SEND1 "> RSET\n" SEND2 "-\n? 30\n"
	  "< 250 ok\n< 250 ok\n< 250 2.0.0 first\n! TXN 0 250\n< 250 reset\n< 250 ok\n< 250 ok\n< 250 2.0.0 second\n! TXN 1 250\n? 32\n" },
	{ "streaming: no RSET behind a known good end", { M1, M2 }, STREAM "+ 0\n" SEND1 "< 250 ok\n< 250 ok\n"
	  "< 250 done\n! TXN 0 250\n+ 1\n" SEND2 "-\n" },
	{ "streaming: all recipients refused, BDAT error consumed, RSET leads the next", { M1, M2 }, STREAM "+ 0\n" SEND1
	  "< 250 ok\n< 550 5.1.1 unknown\n< 554 5.5.1 no valid recipients\n! TXN 0 550\n+ 1\n> RSET\n" SEND2
	  "< 250 ok\n< 250 ok\n< 250 ok\n< 250 ok\n! TXN 1 250\n" },
	{ "streaming: MAIL refused applies to all", { { "a@x.example", "b@y.example e@y.example", "x\r\n" }, M2 }, STREAM "+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> RCPT TO:<e@y.example>\n> BDAT 3 LAST\n> x\n-\n"
	  "< 450 4.1.8 later\n< 503 no\n< 503 no\n< 503 no\n! TXN 0 450 450\n" },
	{ "streaming: BDAT itself fails for those taken", { { "a@x.example", "b@y.example e@y.example", "x\r\n" } }, STREAM "+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> RCPT TO:<e@y.example>\n> BDAT 3 LAST\n> x\n"
	  "< 250 ok\n< 550 no\n< 250 ok\n< 452 4.3.1 full\n! TXN 0 550 452\n" },
	{ "streaming: window of messages", { M1, M2, M1 }, STREAM "+ 0\n" SEND1 "+ 1\n-\n? 0\n< 250 ok\n< 250 ok\n< 250 ok\n"
	  "! TXN 0 250\n" SEND2 "-\n", .window = 1 },
	{ "streaming: window of bytes, one may exceed it", { M1, M2 }, STREAM "+ 0\n" SEND1 "? 0\n+ 1\n-\n< 250 ok\n< 250 ok\n< 250 ok\n"
	  "! TXN 0 250\n" SEND2 "-\n", .window_bytes = 10 },
	{ "streaming: 421 in the middle; what follows was not sent for good", { M1, M2 }, STREAM "+ 0\n+ 1\n" SEND1 "> RSET\n" SEND2
	  "< 250 ok\n< 250 ok\n< 421 4.3.2 going\n! TXN 0 421\n! FAILED EBUSY 421 421 4.3.2 going\nE 1 0\nE -\n" },
	{ "streaming: connection ends: final reply was due", { M1, M2 }, STREAM "+ 0\n+ 1\n" SEND1 "> RSET\n" SEND2
	  "< 250 ok\nW 300000 reply to RCPT\nE 0 1\nE 1 1\nE -\n" },
	{ "streaming: final reply 354", { M1 }, STREAM "+ 0\n" SEND1 "< 250 ok\n< 250 ok\n< 354 what\n! FAILED EPROTO 354 354 what\nE 0 1\nE -\n" },
	{ "streaming: RSET refused", { M1, M2 }, STREAM "+ 0\n+ 1\n" SEND1 "> RSET\n" SEND2
	  "< 250 ok\n< 250 ok\n< 250 ok\n! TXN 0 250\n< 500 what\n! FAILED EPROTO 500 500 what\nE 1 1\nE -\n" },
	{ "streaming: empty message", { { "", "b@y.example", "" } }, STREAM "+ 0\n> MAIL FROM:<>\n> RCPT TO:<b@y.example>\n> BDAT 0 LAST\n-\n"
	  "< 250 ok\n< 250 ok\nW 600000 reply to BDAT\n< 250 ok\n! TXN 0 250\n" },
	{ "streaming: stored content is asked for", { { "a@x.example", "b@y.example", "Subject: 1\r\n\r\none\r\n", .stored = true } },
	  STREAM "+ 0\n" SEND1 "-\n< 250 ok\n< 250 ok\n< 250 ok\n! TXN 0 250\n" },

	/* --- GROUPS --- */
	{ "pipelining: content and the next group leave together", { M1, M2 }, GROUPS "? 2\n+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n-\n+ 1\n-\n? 0\n< 250 ok\n< 250 ok\n< 354 go\n"
	  "> Subject: 1\n> \n> one\n> .\n> MAIL FROM:<c@x.example>\n> RCPT TO:<d@y.example>\n> DATA\n-\nW 600000 reply to end of data\n"
	  "< 250 2.0.0 one\n! TXN 0 250\n? 1\n< 250 ok\n< 250 ok\n< 354 go\n> Subject: 2\n> \n> two\n> .\n-\n< 250 two\n! TXN 1 250\n" },
	{ "pipelining: 354 although all were refused gets a lone dot", { M1, M2 }, GROUPS "+ 0\n+ 1\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n< 250 ok\n< 550 no\n< 354 go\n> .\n"
	  "> MAIL FROM:<c@x.example>\n> RCPT TO:<d@y.example>\n> DATA\n-\n< 554 none\n! TXN 0 550\n< 250 ok\n< 250 ok\n< 354 go\n" },
	{ "pipelining: DATA refused, RSET before the next", { M1, M2 }, GROUPS "+ 0\n+ 1\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n< 250 ok\n< 250 ok\n< 451 4.3.0 not now\n! TXN 0 451\n"
	  "> RSET\n> MAIL FROM:<c@x.example>\n> RCPT TO:<d@y.example>\n> DATA\n-\n" },
	{ "pipelining: MAIL refused, no RSET needed", { M1, M2 }, GROUPS "+ 0\n+ 1\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n< 550 5.7.1 you not\n< 503 no\n< 503 no\n! TXN 0 550\n"
	  "> MAIL FROM:<c@x.example>\n> RCPT TO:<d@y.example>\n> DATA\n-\n" },
	{ "pipelining: final dot refused", { M1 }, GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n"
	  "< 250 ok\n< 250 ok\n< 354 go\n> Subject: 1\n> \n> one\n> .\n< 554-5.7.1 looks like spam\n< 554 5.7.1 to us\n! TXN 0 554\n"
	  "! TEXT 0 0 554 5.7.1 looks like spam|to us\n" },
	{ "pipelining: dots and missing end of line", { { "a@x.example", "b@y.example", ".a\r\n..b\r\nc" } }, GROUPS "+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n< 250 ok\n< 250 ok\n< 354 go\n> ..a\n> ...b\n> c\n> .\n-\n" },
	{ "pipelining: bare newlines become CRLF before dots are doubled", { { "a@x.example", "b@y.example", "a\n.\nb\r.\r\n" } }, GROUPS "+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n< 250 ok\n< 250 ok\n< 354 go\n> a\n> ..\n> b\n> ..\n> .\n-\n" },
	{ "pipelining: stored content", { { "a@x.example", "b@y.example", ".one\r\n.two\r\n", .stored = true } }, GROUPS "+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n< 250 ok\n< 250 ok\n< 354 go\n> ..one\n> ..two\n> .\n-\n" },
	{ "pipelining: 250 to DATA", { M1 }, GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n"
	  "< 250 ok\n< 250 ok\n< 250 ok\n! FAILED EPROTO 250 250 ok\nE 0 0\nE -\n" },
	{ "pipelining: 421 to RCPT", { M1 }, GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n"
	  "< 250 ok\n< 421 bye\n! TXN 0 421\n! FAILED EBUSY 421 421 bye\nE -\n" },
	{ "552 behind taken recipients is temporary", { { "a@x.example", "b@y.example e@y.example", "x\r\n" } }, GROUPS "+ 0\n"
	  "> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> RCPT TO:<e@y.example>\n> DATA\n< 250 ok\n< 250 ok\n< 552 too many\n"
	  "< 354 go\n> x\n> .\n< 250 ok\n! TXN 0 250 452\n" },
	{ "told not to use CHUNKING", { M1 }, STREAM "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n-\n",
	  .no_chunking = true },

	/* --- PLAIN --- */
	{ "plain: CHUNKING without PIPELINING", { M1 }, HELLO "< 250-x\n< 250 CHUNKING\n! READY\n+ 0\n> MAIL FROM:<a@x.example>\n-\n< 250 ok\n"
	  "> RCPT TO:<b@y.example>\n-\n< 250 ok\n> BDAT 19 LAST\n> Subject: 1\n> \n> one\n-\n< 250 ok\n! TXN 0 250\n? 1\n" },
	{ "plain: all refused, RSET, its reply waited for", { M1, M2 }, PLAIN "+ 0\n+ 1\n> MAIL FROM:<a@x.example>\n-\n< 250 ok\n"
	  "> RCPT TO:<b@y.example>\n< 550 no\n! TXN 0 550\n> RSET\n-\n< 250 ok\n> MAIL FROM:<c@x.example>\n-\n" },
	{ "plain: MAIL refused", { M1, M2 }, PLAIN "+ 0\n+ 1\n> MAIL FROM:<a@x.example>\n-\n< 552 5.3.4 big\n! TXN 0 552\n> MAIL FROM:<c@x.example>\n-\n" },

	/* --- what the remote can and cannot --- */
	{ "SIZE is declared; too large is not sent", { M1, { "a@x.example", "b@y.example", "0123456789012345678901234567890\r\n" } },
	  HELLO "< 250-x\n< 250-pipelining\n< 250 size 30\n! READY\n+ 1\n! TXN 1 552o\n-\n"
	  "! TEXT 1 0 552 5.3.4 message of 33 bytes is too large: the next hop takes 30\n"
	  "+ 0\n> MAIL FROM:<a@x.example> SIZE=19\n> RCPT TO:<b@y.example>\n> DATA\n-\n" },
	{ "8BITMIME where offered", { { "a@x.example", "b@y.example", "\xc3\xa9\r\n", .eight_bit = true } },
	  HELLO "< 250-x\n< 250-PIPELINING\n< 250 8BITMIME\n! READY\n+ 0\n> MAIL FROM:<a@x.example> BODY=8BITMIME\n> RCPT TO:<b@y.example>\n> DATA\n" },
	{ "8-bit where it is not offered", { { "a@x.example", "b@y.example", "\xc3\xa9\r\n", BODY_8BITMIME, true } },
	  GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n" },
	{ "BINARYMIME where offered", { { "a@x.example", "b@y.example", "a\nb\r\n", BODY_BINARYMIME } },
	  HELLO "< 250-x\n< 250-PIPELINING\n< 250-CHUNKING\n< 250 BINARYMIME\n! READY\n+ 0\n> MAIL FROM:<a@x.example> BODY=BINARYMIME\n"
	  "> RCPT TO:<b@y.example>\n> BDAT 5 LAST\n= a\\nb\\r\\n\n-\n" },
	{ "BINARYMIME where it is not offered", { { "a@x.example", "b@y.example", "a\nb\r\n", BODY_BINARYMIME } },
	  STREAM "+ 0\n! TXN 0 554o\n-\n! TEXT 0 0 554 5.6.3 the next hop does not offer BINARYMIME with CHUNKING\n" },
	{ "SMTPUTF8 recipient to a hop without it", { { "a@x.example", "b@y.example \xc3\xa9@y.example", "x\r\n" } },
	  GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n-\n< 250 ok\n< 250 ok\n< 354 go\n> x\n> .\n< 250 ok\n! TXN 0 250 553o\n" },
	{ "SMTPUTF8 sender to a hop without it", { { "\xc3\xa9@x.example", "b@y.example", "x\r\n" } }, GROUPS "+ 0\n! TXN 0 553o\n-\n" },
	{ "SMTPUTF8 header to a hop without it",
	  { { "a@x.example", "b@y.example", "Subject: \xc3\xa9\r\n\r\n", .smtputf8 = true, .eight_bit = true } }, GROUPS "+ 0\n! TXN 0 553o\n-\n" },
	{ "SMTPUTF8 asked for but only the body is 8-bit",
	  { { "a@x.example", "b@y.example", "Subject: e\r\n\r\n\xc3\xa9\r\n", .smtputf8 = true, .eight_bit = true } },
	  GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n-\n" },
	{ "SMTPUTF8 where offered", { { "\xc3\xa9@x.example", "b@y.example", "x\r\n" } },
	  HELLO "< 250-x\n< 250-PIPELINING\n< 250 SMTPUTF8\n! READY\n+ 0\n> MAIL FROM:<\xc3\xa9@x.example> SMTPUTF8\n> RCPT TO:<b@y.example>\n> DATA\n" },
	{ "DSN where offered", { { "a@x.example", "b@y.example", "x\r\n", .envid = "QQ+3D", .orcpt = "rfc822;b@y.example",
	  .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE, .ret = RET_HDRS } },
	  HELLO "< 250-x\n< 250-PIPELINING\n< 250 DSN\n! READY\n+ 0\n> MAIL FROM:<a@x.example> RET=HDRS ENVID=QQ+3D\n"
	  "> RCPT TO:<b@y.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@y.example\n> DATA\n" },
	{ "DSN where it is not offered", { { "a@x.example", "b@y.example", "x\r\n", .envid = "Q", .notify = NOTIFY_NEVER, .ret = RET_FULL } },
	  GROUPS "+ 0\n> MAIL FROM:<a@x.example>\n> RCPT TO:<b@y.example>\n> DATA\n" },
	{ "a line break in ENVID stays out", { { "a@x.example", "b@y.example", "x\r\n", .envid = "Q\r\nRSET", .notify = NOTIFY_NEVER, .ret = RET_FULL } },
	  HELLO "< 250-x\n< 250-PIPELINING\n< 250 DSN\n! READY\n+ 0\n> MAIL FROM:<a@x.example> RET=FULL\n> RCPT TO:<b@y.example> NOTIFY=NEVER\n> DATA\n" },
	{ "a line break in an address is not sent", { { "a@x.example", "b@y.example>\r\nRSET\r\n", "x\r\n" }, { "a\nb@x.example", "b@y.example", "x\r\n" },
	  { "a@x.example", "b@y.example>", "x\r\n" } }, GROUPS "+ 0\n! TXN 0 501o\n+ 1\n! TXN 1 501o\n+ 2\n! TXN 2 501o\n-\n" },
	{ "quoted local part", { { "\"a b>\\\"\"@x.example", "postmaster", "x\r\n" } },
	  GROUPS "+ 0\n> MAIL FROM:<\"a b>\\\"\"@x.example>\n> RCPT TO:<postmaster>\n> DATA\n" },
	{ "LIMITS", { { "a@x.example", "b@y.example e@y.example", "x\r\n" }, M2 },
	  HELLO "< 250-x\n< 250-PIPELINING\n< 250-CHUNKING\n< 250 LIMITS RCPTMAX=1 MAILMAX=2 OTHER=7\n! READY\n? 2\n+ 0\n> MAIL FROM:<a@x.example>\n"
	  "> RCPT TO:<b@y.example>\n> BDAT 3 LAST\n> x\n-\n? 1\n< 250 ok\n< 250 ok\n< 250 ok\n! TXN 0 250 452o\n? 1\n+ 1\n" SEND2 "? 0\n"
	  "< 250 ok\n< 250 ok\n< 250 ok\n! TXN 1 250\n? 0\n" },

	/* --- STARTTLS, AUTH --- */
	{ "STARTTLS: what was offered in the clear is forgotten", { M1 }, HELLO "< 250-x\n< 250-STARTTLS\n< 250 PIPELINING\n> STARTTLS\n-\n"
	  "< 220 go\n! STARTTLS\nW 120000 TLS handshake\n< 250 injected\n-\nT\n> EHLO me.example\n< 250 x\n! READY\n? 1\n", .starttls = SMTP_CLIENT_TLS_MUST },
	{ "STARTTLS: what was offered in the clear is forgotten, also by who refuses EHLO then", { M1 }, HELLO "< 250-x\n< 250-STARTTLS\n< 250 SIZE 1\n"
	  "> STARTTLS\n-\n< 220 go\n! STARTTLS\nT\n> EHLO me.example\n< 502 what?\n> HELO me.example\n< 250 x\n! READY\n? 1\n"
	  "+ 0\n> MAIL FROM:<a@x.example>\n", .starttls = SMTP_CLIENT_TLS_MUST },
	{ "STARTTLS is required but not offered", { M1 }, HELLO "< 250 x\n! FAILED ENOTSUP 0 4.7.4 STARTTLS is required but not offered\n-\n",
	  .starttls = SMTP_CLIENT_TLS_MUST },
	{ "STARTTLS is required but refused", { M1 }, HELLO "< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 454 4.7.0 not now\n"
	  "! FAILED ENOTSUP 454 4.7.4 STARTTLS is required but refused: 454 4.7.0 not now\n-\n", .starttls = SMTP_CLIENT_TLS_MUST },
	{ "STARTTLS if possible: refused, goes on", { M1 }, HELLO "< 250-x\n< 250-PIPELINING\n< 250 STARTTLS\n> STARTTLS\n< 454 4.7.0 not now\n! READY\n? 2\n",
	  .starttls = SMTP_CLIENT_TLS_IF },
	{ "AUTH with an initial response", { M1 }, HELLO "< 250-x\n< 250-AUTH=OLD\n< 250 AUTH plain LOGIN\n! AUTH OLD\nA PLAIN AGEAYg==\n> AUTH PLAIN AGEAYg==\n-\n"
	  "W 120000 reply to AUTH\n< 235 2.7.0 ok\n! AUTH_OK\n! READY\n", .auth = true },
	{ "AUTH in steps", { M1 }, HELLO "< 250-x\n< 250 AUTH LOGIN\n! AUTH LOGIN\nA LOGIN -\n> AUTH LOGIN\n< 334 VXNlcm5hbWU6\n! AUTH_STEP VXNlcm5hbWU6\n"
	  "S YQ==\n> YQ==\n< 334 UGFzc3dvcmQ6\n! AUTH_STEP UGFzc3dvcmQ6\nS Yg==\n> Yg==\n< 535 5.7.8 no\n! AUTH_FAILED 535 535 5.7.8 no\n", .auth = true },
	{ "AUTH canceled", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X =\n> AUTH X =\n< 334 \n! AUTH_STEP\nS *\n> *\n< 501 5.7.0 canceled\n! AUTH_FAILED 501 501 5.7.0 canceled\n", .auth = true },
	{ "AUTH is needed but not offered", { M1 }, HELLO "< 250 x\n! AUTH\n", .auth = true },
	{ "AUTH: the words of a prompt are no challenge", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X -\n> AUTH X\n< 334 NTLM supported\n! AUTH_STEP\n"
	  "S YQ==\n> YQ==\n< 334 NTLM supported\n! AUTH_STEP NTLM supported\n", .auth = true },
	{ "AUTH: the words of a prompt where none is due", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X YQ==\n> AUTH X YQ==\n< 334 NTLM supported\n! AUTH_STEP NTLM supported\n",
	  .auth = true },
	{ "AUTH: a reply that repeats what was said", { M1 }, HELLO "< 250-x\n< 250 AUTH PLAIN\n! AUTH PLAIN\nA PLAIN AGEAYmJiYg==\n> AUTH PLAIN AGEAYmJiYg==\n"
	  "< 500-5.5.2 what is AUTH PLAIN AGEAYmJiYg==?\n< 500 5.5.2 or AGEAYmJiY?\n! AUTH_FAILED 500 500 5.5.2 what is AUTH PLAIN ************?|or *********?\n", .auth = true },
	{ "AUTH: tried once more", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X YQ==\n> AUTH X YQ==\n< 535 5.7.8 old\n! AUTH_FAILED 535 535 5.7.8 old\n"
	  "A X Yg==\n> AUTH X Yg==\n< 235 2.7.0 ok\n! AUTH_OK\n! READY\n", .auth = true },
	{ "AUTH: a line break from a mechanism is not sent", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X a!b\n! FAILED EINVAL 0 login mechanism gave bytes that are not base64\n-\n", .auth = true },
};

#endif
