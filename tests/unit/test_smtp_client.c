/*
 * test_smtp_client.c - dialogues of the client engine.
 *
 * A script is lines: what the server says, what the client must have sent,
 * what the owner does and which events it must see.  Each runs with replies fed
 * line by line and byte by byte, and with output taken whole and in crumbs.
 *
 *   < line      the server says it            > line   the client sent exactly this next
 *   -           the client has nothing more   + n      submit message n
 *   ! event     this event comes next         ? n      slots that are free
 *   A mech ib   answer AUTH ("-" no initial)  S text   answer the challenge ("*" cancels)
 *   T           the layer is on               Q        quit
 *   E n sent    end gives back message n      W ms what   time-out and what for
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "smtp/client.h"
#include "base/mem.h"
#include "base/str.h"

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
	{ "STARTTLS is required but not offered", { M1 }, HELLO "< 250 x\n! FAILED ENOTSUP 0 4.7.4 STARTTLS is required but not offered\n-\n",
	  .starttls = SMTP_CLIENT_TLS_MUST },
	{ "STARTTLS is required but refused", { M1 }, HELLO "< 250-x\n< 250 STARTTLS\n> STARTTLS\n< 454 4.7.0 not now\n"
	  "! FAILED ENOTSUP 454 454 4.7.0 not now\n-\n", .starttls = SMTP_CLIENT_TLS_MUST },
	{ "STARTTLS if possible: refused, goes on", { M1 }, HELLO "< 250-x\n< 250-PIPELINING\n< 250 STARTTLS\n> STARTTLS\n< 454 4.7.0 not now\n! READY\n? 2\n",
	  .starttls = SMTP_CLIENT_TLS_IF },
	{ "AUTH with an initial response", { M1 }, HELLO "< 250-x\n< 250-AUTH=OLD\n< 250 AUTH plain LOGIN\n! AUTH OLD\nA PLAIN AGEAYg==\n> AUTH PLAIN AGEAYg==\n-\n"
	  "W 120000 reply to AUTH\n< 235 2.7.0 ok\n! AUTH_OK\n! READY\n", .auth = true },
	{ "AUTH in steps", { M1 }, HELLO "< 250-x\n< 250 AUTH LOGIN\n! AUTH LOGIN\nA LOGIN -\n> AUTH LOGIN\n< 334 VXNlcm5hbWU6\n! AUTH_STEP VXNlcm5hbWU6\n"
	  "S YQ==\n> YQ==\n< 334 UGFzc3dvcmQ6\n! AUTH_STEP UGFzc3dvcmQ6\nS Yg==\n> Yg==\n< 535 5.7.8 no\n! AUTH_FAILED 535 535 5.7.8 no\n", .auth = true },
	{ "AUTH canceled", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X =\n> AUTH X =\n< 334 \n! AUTH_STEP\nS *\n> *\n< 501 5.7.0 canceled\n! AUTH_FAILED 501 501 5.7.0 canceled\n", .auth = true },
	{ "AUTH is needed but not offered", { M1 }, HELLO "< 250 x\n! FAILED ENOTSUP 0 4.7.0 a login is configured but AUTH is not offered\n", .auth = true },
	{ "AUTH: a line break from a mechanism is not sent", { M1 }, HELLO "< 250-x\n< 250 AUTH X\n! AUTH X\nA X a!b\n! FAILED EINVAL 0 login mechanism gave bytes that are not base64\n-\n", .auth = true },
};

/* --- running one --- */

struct run {
	const struct dialogue *d;
	struct smtp_client *c;
	struct smtp_client_txn txns[4];
	struct envelope env[4];
	struct arena arena;
	struct ph_content *content[4];
	const char *pos[4];
	struct smtp_client_event queue[16]; int head, n;
	struct buf in, out;
	bool bytewise, crumbs;
	int line;
};

#define FAIL(r, ...) do { print_error("%s (%s, %s) step %d: ", (r)->d->name, (r)->bytewise ? "bytes" : "lines", \
	(r)->crumbs ? "crumbs" : "whole", (r)->line); print_error(__VA_ARGS__); print_error("\n"); fail(); } while (0)

static void
drain(struct run *r)
{
	struct smtp_client_event ev;

	while (smtp_client_event(r->c, &ev)) {
		if (ev.kind == SMTP_EV_WANT) {
			/* two bytes at a time */
			const struct msg *m = &r->d->msgs[ev.txn - r->txns];
			size_t n = strlen(m->content + ev.txn->offset);
			smtp_client_content(r->c, ev.txn, str_make(m->content + ev.txn->offset, n < 2 ? n : 2));
			continue;
		}
		ev.text = arena_str(&r->arena, ev.text);
		assert_true(r->n < 16);
		r->queue[r->n++] = ev;
	}
}

static void
pull(struct run *r)
{
	for (;;) {
		struct iovec v[7];
		int n = smtp_client_output(r->c, v, r->crumbs ? 1 : 7);
		size_t all = 0;

		drain(r);
		if (n == 0) {
			n = smtp_client_output(r->c, v, 7);
			if (n == 0)
				return;
		}
		for (int i = 0; i < n; i++) {
			size_t k = r->crumbs && v[i].iov_len > 3 ? 3 : v[i].iov_len;
			buf_add(&r->out, v[i].iov_base, k);
			all += k;
			if (r->crumbs)
				break;
		}
		smtp_client_sent(r->c, all);
		drain(r);
	}
}

static void
say(struct run *r, const char *text, size_t n)
{
	size_t step = r->bytewise ? 1 : n + 2;
	char line[600];

	assert_true(n + 2 < sizeof line);
	memcpy(line, text, n);
	memcpy(line + n, "\r\n", 2);
	for (size_t at = 0; at < n + 2; at += step) {
		struct ph_str view;
		buf_add(&r->in, line + at, step < n + 2 - at ? step : n + 2 - at);
		view = buf_view(&r->in);
		(void)smtp_client_feed(r->c, &view);
		buf_eat(&r->in, r->in.len - view.n);
		drain(r);
		pull(r);
	}
}

static void
submit(struct run *r, int i)
{
	const struct msg *m = &r->d->msgs[i];
	struct smtp_client_txn *t = &r->txns[i];
	struct envelope *e = &r->env[i];
	const char *p = m->rcpts;
	uint64_t size = strlen(m->content);

	envelope_init(e, &r->arena);
	e->from.full = arena_str(&r->arena, str_of(m->from));
	e->from.utf8 = !str_ascii(e->from.full);
	e->body = m->body;
	e->smtputf8 = m->smtputf8;
	e->ret = m->ret;
	e->envid = str_of(m->envid);
	while (*p != '\0') {
		size_t n = strcspn(p, " ");
		struct recipient *rcpt = envelope_add(e);
		rcpt->to.full = arena_str(&r->arena, str_make(p, n));
		rcpt->to.utf8 = !str_ascii(rcpt->to.full);
		rcpt->notify = m->notify;
		rcpt->orcpt = str_of(m->orcpt);
		p += n + (p[n] == ' ');
	}
	r->content[i] = m->stored ? content_stored(size) : content_new();
	if (!m->stored) {       /* in two blocks */
		content_append(r->content[i], m->content + size / 2, size - size / 2, 0);
		content_prepend(r->content[i], m->content, size / 2);
	}
	*t = (struct smtp_client_txn){ .env = e, .content = r->content[i], .size = size,
		.eight_bit = m->eight_bit, .arena = &r->arena, .nrcpts = e->nrcpts };
	t->rcpts = arena_alloc(&r->arena, e->nrcpts * sizeof *t->rcpts);
	for (uint32_t k = 0; k < e->nrcpts; k++)
		t->rcpts[k].rcpt = &e->rcpts[k];
	smtp_client_submit(r->c, t);
	drain(r);
	pull(r);
}

static const char *
status_name(int status)
{
	return status == PH_EPROTO ? "EPROTO" : status == PH_EBUSY ? "EBUSY" : status == PH_EREFUSED ? "EREFUSED"
	    : status == PH_ENOTSUP ? "ENOTSUP" : status == PH_EINVAL ? "EINVAL" : "?";
}

/* The event as the script writes it; LF shown as '|'. */
static void
describe(struct run *r, const struct smtp_client_event *ev, struct buf *out)
{
	static const char *const names[] = { "NONE", "READY", "STARTTLS", "AUTH", "AUTH_STEP", "AUTH_OK", "AUTH_FAILED",
	                                     "WANT", "TXN", "FAILED", "QUIT" };
	buf_adds(out, names[ev->kind]);
	if (ev->kind == SMTP_EV_TXN) {
		buf_printf(out, " %d", (int)(ev->txn - r->txns));
		for (uint32_t i = 0; i < ev->txn->nrcpts; i++)
			buf_printf(out, " %d%s", ev->txn->rcpts[i].code, ev->txn->rcpts[i].ours ? "o" : "");
	} else if (ev->kind == SMTP_EV_FAILED)
		buf_printf(out, " %s %d " STR_FMT, status_name(ev->status), ev->code, STR_ARG(ev->text));
	else if (ev->kind == SMTP_EV_AUTH_FAILED)
		buf_printf(out, " %d " STR_FMT, ev->code, STR_ARG(ev->text));
	else if (ev->text.n > 0)
		buf_printf(out, " " STR_FMT, STR_ARG(ev->text));
	for (size_t i = 0; i < out->len; i++)
		if (out->data[out->head + i] == '\n')
			out->data[out->head + i] = '|';
}

static void
expect_event(struct run *r, struct ph_str want)
{
	struct buf got = { 0 };

	if (str_starts(want, "TEXT ")) {
		struct ph_str reply = r->txns[want.p[5] - '0'].rcpts[want.p[7] - '0'].reply;
		buf_addstr(&got, reply);
		for (size_t i = 0; i < got.len; i++)
			if (got.data[got.head + i] == '\n')
				got.data[got.head + i] = '|';
		want = str_skip(want, 9);
	} else {
		if (r->head == r->n)
			FAIL(r, "no event, expected \"" STR_FMT "\"", STR_ARG(want));
		describe(r, &r->queue[r->head++], &got);
		if (r->head == r->n)
			r->head = r->n = 0;
	}
	if (!str_eq(buf_view(&got), want))
		FAIL(r, "event \"" STR_FMT "\", expected \"" STR_FMT "\"", STR_ARG(buf_view(&got)), STR_ARG(want));
	buf_free(&got);
}

static void
expect_sent(struct run *r, struct ph_str line, bool raw)
{
	struct buf want = { 0 };

	for (size_t i = 0; i < line.n; i++)
		if (raw && line.p[i] == '\\')
			buf_addc(&want, line.p[++i] == 'n' ? '\n' : '\r');
		else
			buf_addc(&want, line.p[i]);
	if (!raw)
		buf_adds(&want, "\r\n");
	if (r->out.len < want.len || memcmp(r->out.data + r->out.head, want.data + want.head, want.len) != 0)
		FAIL(r, "sent \"" STR_FMT "\", expected \"" STR_FMT "\"", STR_ARG(buf_view(&r->out)), STR_ARG(buf_view(&want)));
	buf_eat(&r->out, want.len);
	buf_free(&want);
}

static void
expect_end(struct run *r, struct ph_str want)
{
	struct smtp_client_txn *t = smtp_client_end(r->c);
	char got[16] = "-";

	if (t != NULL)
		snprintf(got, sizeof got, "%d %d", (int)(t - r->txns), t->sent);
	if (!str_is(want, got))
		FAIL(r, "end gives \"%s\", expected \"" STR_FMT "\"", got, STR_ARG(want));
}

static void
step(struct run *r, char what, struct ph_str rest)
{
	struct ph_str a, b;
	char got[80];

	switch (what) {
	case '<': say(r, rest.p, rest.n); break;
	case '>': expect_sent(r, rest, false); break;
	case '=': expect_sent(r, rest, true); break;
	case '+': submit(r, rest.p[0] - '0'); break;
	case '!': expect_event(r, rest); break;
	case 'E': expect_end(r, rest); break;
	case 'T': buf_clear(&r->in); smtp_client_secured(r->c); pull(r); break;
	case 'Q': smtp_client_quit(r->c); pull(r); break;
	case 'S': smtp_client_auth_step(r->c, str_is(rest, "*") ? (struct ph_str){ NULL, 0 } : rest); pull(r); break;
	case 'A':
		a = str_cut(rest, ' ', &b);
		smtp_client_auth(r->c, a, !str_is(b, "-"), str_is(b, "-") ? STR("") : b);
		drain(r);
		pull(r);
		break;
	case '-':
		if (r->out.len > 0)
			FAIL(r, "sent \"" STR_FMT "\", expected nothing", STR_ARG(buf_view(&r->out)));
		break;
	case '?':
		snprintf(got, sizeof got, "%u", smtp_client_free_slots(r->c));
		if (!str_is(rest, got))
			FAIL(r, "%s slots, expected " STR_FMT, got, STR_ARG(rest));
		break;
	case 'W':
		snprintf(got, sizeof got, "%lld %s", (long long)smtp_client_timeout_ms(r->c), smtp_client_waiting_for(r->c));
		if (!str_is(rest, got))
			FAIL(r, "waits \"%s\", expected \"" STR_FMT "\"", got, STR_ARG(rest));
		break;
	default: FAIL(r, "bad step %c", what);
	}
}

static void
run_dialogue(const struct dialogue *d, bool bytewise, bool crumbs)
{
	struct smtp_client_config cfg = {
		.hostname = STR("me.example"), .window_messages = d->window, .window_bytes = d->window_bytes,
		.use_chunking = !d->no_chunking, .use_pipelining = !d->no_pipelining, .auth = d->auth,
	};
	struct run r = { .d = d, .bytewise = bytewise, .crumbs = crumbs };
	struct ph_str script = str_of(d->script);

	cfg.starttls = d->starttls;
	arena_init(&r.arena, 4096);
	r.c = smtp_client_new(&cfg);
	while (script.n > 0) {
		struct ph_str line = str_cut(script, '\n', &script);
		r.line++;
		step(&r, line.p[0], line.n > 2 ? str_skip(line, 2) : STR(""));
	}
	if (r.head != r.n)
		FAIL(&r, "an event is left over");
	while (smtp_client_end(r.c) != NULL)
		;
	smtp_client_free(&r.c);
	for (int i = 0; i < 4; i++)
		ph_content_unref(&r.content[i]);
	buf_free(&r.in);
	buf_free(&r.out);
	arena_reset(&r.arena);
}

static void
test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++)
		for (int how = 0; how < 4; how++)
			run_dialogue(&dialogues[i], how & 1, how & 2);
}

/* A 250 for a message of which not all has left cannot be true. */
static void
test_reply_before_content_left(void **state)
{
	static const char ehlo[] = "220 x\r\n250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
	static const struct { const char *replies; size_t sent; bool alive; int code; } cases[] = {
		{ "250 ok\r\n250 ok\r\n250 ok\r\n", 60, false, 0 },
		{ "250 ok\r\n250 ok\r\n552 5.3.4 too big\r\n", 1000, true, 552 },       /* early refusal */
		{ "250 ok\r\n", 5, false, 0 },                                          /* before MAIL has left */
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct smtp_client_config cfg = { .hostname = STR("me"), .use_chunking = true, .use_pipelining = true };
		struct dialogue d = { "early reply", { M1 }, "", .auth = false };
		struct run r = { .d = &d };
		struct iovec v[8];
		struct ph_str in = str_of(ehlo);
		char big[3000];

		memset(big, 'x', sizeof big - 1);
		big[sizeof big - 1] = '\0';
		d.msgs[0].content = big;
		arena_init(&r.arena, 4096);
		r.c = smtp_client_new(&cfg);
		(void)smtp_client_feed(r.c, &in);       /* the greeting alone: the EHLO has not left */
		drain(&r);
		assert_int_equal(r.queue[0].kind, SMTP_EV_FAILED);
		smtp_client_free(&r.c);

		r.n = 0;
		r.c = smtp_client_new(&cfg);
		in = str_head(str_of(ehlo), 7);
		assert_int_equal(smtp_client_feed(r.c, &in), 0);
		pull(&r);
		in = str_skip(str_of(ehlo), 7);
		assert_int_equal(smtp_client_feed(r.c, &in), 0);
		drain(&r);
		assert_int_equal(r.queue[0].kind, SMTP_EV_READY);
		r.n = 0;
		/* submit() pulls everything; here it must stay in the engine */
		struct recipient rc = { .to = { .full = STR("b@y") } };
		struct envelope env = { .from = { .full = STR("a@x") } };
		struct smtp_client_rcpt rcpt = { .rcpt = &rc };
		struct ph_content *content = content_new();
		content_append(content, big, sizeof big - 1, 0);
		struct smtp_client_txn t = { .env = &env, .rcpts = &rcpt, .nrcpts = 1, .content = content,
			.size = sizeof big - 1, .arena = &r.arena };
		smtp_client_submit(r.c, &t);
		assert_true(smtp_client_output(r.c, v, 8) > 0);
		smtp_client_sent(r.c, cases[i].sent);
		in = str_of(cases[i].replies);
		assert_int_equal(smtp_client_feed(r.c, &in), cases[i].alive ? 0 : PH_EPROTO);
		drain(&r);
		if (!cases[i].alive) {
			assert_int_equal(r.n, 1);
			assert_int_equal(r.queue[0].kind, SMTP_EV_FAILED);
			assert_ptr_equal(smtp_client_end(r.c), &t);
			assert_false(t.sent);
			assert_int_equal(rcpt.code, 0);
		} else {
			assert_int_equal(r.n, 0);       /* the octets that were announced follow */
			pull(&r);
			assert_int_equal(r.n, 1);
			assert_int_equal(r.queue[0].kind, SMTP_EV_TXN);
			assert_int_equal(rcpt.code, cases[i].code);
		}
		assert_null(smtp_client_end(r.c));
		smtp_client_free(&r.c);
		ph_content_unref(&content);
		buf_free(&r.in);
		buf_free(&r.out);
		arena_reset(&r.arena);
	}
}

/* A challenge may be far longer than a reply line (RFC 4954 4); a long initial
 * response waits for the first 334. */
static void
test_long_auth(void **state)
{
	struct smtp_client_config cfg = { .hostname = STR("me"), .auth = true };
	struct dialogue d = { "long auth", { M1 }, "", .auth = true };
	struct run r = { .d = &d };
	char *line = mem_alloc(12304), *initial = mem_alloc(700);
	struct ph_str in;
	(void)state;

	arena_init(&r.arena, 4096);
	r.c = smtp_client_new(&cfg);
	pull(&r);
	say(&r, "220 x", 5);
	say(&r, "250-x", 5);
	say(&r, "250 AUTH NTLM", 13);
	buf_clear(&r.out);
	memset(initial, 'A', 700);
	smtp_client_auth(r.c, STR("NTLM"), true, str_make(initial, 700));
	pull(&r);
	expect_sent(&r, STR("AUTH NTLM"), false);
	assert_int_equal(r.out.len, 0);
	say(&r, "334 ", 4);
	expect_sent(&r, str_make(initial, 700), false);
	assert_int_equal(r.out.len, 0);

	r.n = 0;
	memcpy(line, "334 ", 4);
	memset(line + 4, 'B', 12286);
	memcpy(line + 12290, "\r\n", 2);
	for (size_t n = 1; n <= 12292; n += 173) {
		in = str_make(line, n);
		assert_int_equal(smtp_client_feed(r.c, &in), 0);
		assert_int_equal(in.n, n);
	}
	in = str_make(line, 12292);
	assert_int_equal(smtp_client_feed(r.c, &in), 0);
	drain(&r);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.queue[0].kind, SMTP_EV_AUTH_STEP);
	assert_int_equal(r.queue[0].text.n, 12286);
	smtp_client_free(&r.c);
	free(line);
	free(initial);
	buf_free(&r.in);
	buf_free(&r.out);
	arena_reset(&r.arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_reply_before_content_left),
		cmocka_unit_test(test_long_auth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
