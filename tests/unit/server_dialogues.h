/*
 * server_dialogues.h - what is said to the server, and what comes of it:
 * every verb in every state, and the framing, address and resource attacks.
 * The 220 in front is left out; words are explained in server_driver.h.
 */
#ifndef TESTS_SERVER_DIALOGUES_H
#define TESTS_SERVER_DIALOGUES_H

enum {
	BARE_OK = 1, TLS = 2, TLS_MUST = 4, AUTH = 8, AUTH_MUST = 16, AUTH_IN_TLS = 32, PLAIN_SMTP = 64,
	FEW_ERRORS = 128, FEW_MAILS = 256, NOT_ADMITTED = 512, NO_ROOM = 1024, NO_LIMITS = 2048,
};

struct dialogue {
	const char *name;
	unsigned with;
	const char *script;
	size_t n;               /* bytes of it, 0: up to the NUL */
	const char *want;
};

#define L "\r\n"
#define H "EHLO x" L
#define M "MAIL FROM:<a@b>" L
#define R "RCPT TO:<c@d>" L
#define D "DATA" L
#define Q "QUIT" L
#define wH "250"
#define wM " 250/2.1.0 BEGIN"
#define wR " 250/2.1.5"
#define wD " 354"
#define wQ " 221/2.0.0 CLOSE"
#define wHMR wH wM wR
#define wHMRD wHMR wD
#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define STORED(what) " STORE(" what ") 250/2.0.0"
#define TWO_TEXTS(text) text, sizeof(text) - 1

static const struct dialogue dialogues[] = {
	/* --- ordinary use --- */
	{ "one message", 0, H M R D "Subject: x" L L "y" L "." L Q, 0,
	  wHMRD STORED("a@b;c@d;Subject: x\r\n\r\ny\r\n") wQ },
	{ "as typed by hand", 0, "ehlo server" L "mail from: a@b.com  " L "Rcpt To:  c@d.com" L "data " L
	  "Subject: Test Message" L L "This is a test" L "." L "quit" L, 0,
	  wHMRD STORED("a@b.com;c@d.com;Subject: Test Message\r\n\r\nThis is a test\r\n") wQ },
	{ "command lines that end by LF alone", 0, "HELO x\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nx" L "." L
	  "QUIT\n", 0, wHMRD STORED("a@b;c@d;x\r\n") wQ },
	{ "two messages on one connection", 0, H M R D "x" L "." L "MAIL FROM:<>" L R D "y" L "." L Q, 0,
	  wHMRD STORED("a@b;c@d;x\r\n") wM wR wD STORED(";c@d;y\r\n") wQ },
	{ "several recipients, postmaster, quoted, route", 0, H M "RCPT TO:<postmaster>" L
	  "RCPT TO:<\"x y\"@d>" L "RCPT TO:<@r:c@d>" L D "." L, 0,
	  wH wM wR wR wR wD STORED("a@b;postmaster,\"x y\"@d,c@d;") },
	{ "empty message", 0, H M R D "." L Q, 0, wHMRD STORED("a@b;c@d;") wQ },
	{ "stuffed dots", 0, H M R D "..x" L "..." L "x.y" L "." L, 0,
	  wHMRD STORED("a@b;c@d;.x\r\n..\r\nx.y\r\n") },
	{ "eight bits are content like others", 0, H M R D "\xff\xfe" L "." L, 0,
	  wHMRD STORED("a@b;c@d;\xff\xfe\r\n") },
	{ "controls in content pass", 0, TWO_TEXTS(H M R D "a\0b\x01\x1b" L "." L Q),
	  wHMRD STORED("a@b;c@d;a~b\x01\x1b\r\n") wQ },
	/* --- verbs in every state --- */
	{ "before hello", 0, "MAIL FROM:<a@b>" L R D "VRFY x" L "NOOP" L "RSET" L "HELP" L "EXPN x" L
	  "STARTTLS" L "AUTH PLAIN" L Q, 0,
	  "503/5.5.1 503/5.5.1 503/5.5.1 252/2.5.0 250/2.0.0 250/2.0.0 214/2.0.0 502/5.5.1 503/5.5.1 "
	  "503/5.5.1" wQ },
	{ "between transactions", 0, H R D "VRFY x" L "NOOP y" L "RSET" L "HELP x" L "ETRN x" L "TURN" L
	  "ATRN" L "EHLO y" L "HELO z" L Q, 0,
	  wH " 503/5.5.1 503/5.5.1 252/2.5.0 250/2.0.0 250/2.0.0 214/2.0.0 502/5.5.1 502/5.5.1 502/5.5.1 "
	  "250 250" wQ },
	{ "sender given", TLS | AUTH, H M M D "BDAT 2" L "xxSTARTTLS" L "AUTH PLAIN" L "VRFY x" L "NOOP" L
	  "HELP" L "SEND x" L "RSET" L R Q, 0,
	  wH wM " 503/5.5.1 503/5.5.1 503/5.5.1 503/5.5.1 503/5.5.1 252/2.5.0 250/2.0.0 214/2.0.0 "
	  "502/5.5.1 250/2.0.0 END 503/5.5.1" wQ },
	{ "recipient given", TLS | AUTH, H M R M "STARTTLS" L "AUTH PLAIN" L "VRFY x" L "NOOP" L "HELP" L R
	  "RSET" L D Q, 0,
	  wHMR " 503/5.5.1 503/5.5.1 503/5.5.1 252/2.5.0 250/2.0.0 214/2.0.0 250/2.1.5 250/2.0.0 END "
	  "503/5.5.1" wQ },
	{ "between chunks", TLS | AUTH, H M R "BDAT 1" L "x" M R D "STARTTLS" L "AUTH PLAIN" L "VRFY x" L
	  "NOOP" L "HELP" L "BDAT 0 LAST" L Q, 0,
	  wHMR " 250/2.0.0 503/5.5.1 503/5.5.1 503/5.5.1 503/5.5.1 503/5.5.1 252/2.5.0 250/2.0.0 214/2.0.0"
	  STORED("a@b;c@d;x") wQ },
	{ "RSET between chunks", 0, H M R "BDAT 1" L "x" "RSET" L "BDAT 1 LAST" L "y" Q, 0,
	  wHMR " 250/2.0.0 250/2.0.0 END 503/5.5.1" wQ },
	{ "hello in a transaction ends it", 0, H M R "EHLO y" L D M "HELO z" L R Q, 0,
	  wHMR " 250 END 503/5.5.1" wM " 250 END 503/5.5.1" wQ },
	{ "hello between chunks ends it", 0, H M R "BDAT 1" L "xEHLO y" L "BDAT 1 LAST" L "y" Q, 0,
	  wHMR " 250/2.0.0 250 END 503/5.5.1" wQ },
	{ "quit in a transaction", 0, H M R Q "NOOP" L, 0, wHMR " 221/2.0.0 END CLOSE" },
	{ "nothing is read after quit", 0, Q M R D, 0, "221/2.0.0 CLOSE" },
	{ "junk parameters", 0, H "RSET x" L "QUIT x" L "VRFY" L M R "DATA x" L Q, 0,
	  wH " 501/5.5.4 501/5.5.4 501/5.5.4" wM wR " 501/5.5.4 221/2.0.0 END CLOSE" },
	{ "unknown verbs", 0, H "FOO" L "" L "X" L "XCLIENT ADDR=1" L "XFORWARD x" L "DEBUG" L "PROXY TCP4" L
	  " NOOP" L "MAILFROM:<a@b>" L "NOOPNOOPNOOP" L, 0,
	  wH " 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 "
	  "500/5.5.2" },
	/* --- hello names --- */
	{ "odd hello names", 0, "EHLO my_host" L "EHLO 192.168.1.5" L "EHLO [192.0.2.1]" L "HELO PC\xfc""" L
	  "EHLO ;rm" L "EHLO my pc" L, 0, "250 250 250 250 250 250" },
	{ "hello without name", 0, "EHLO" L "HELO " L "EHLO \t " L M, 0, "501/5.5.4 501/5.5.4 501/5.5.4 503/5.5.1" },
	{ "hello name too long", 0, "EHLO " X100 X100 X100 L "EHLO " X100 X100 L, 0, "501/5.5.4 250" },
	{ "hello refused", 0, "EHLO bad.host" L M "EHLO x" L M "EHLO bad.host" L R M, 0,
	  "550/5.7.1 503/5.5.1 250" wM " 550/5.7.1 END 503/5.5.1 503/5.5.1" },
	/* --- MAIL and RCPT --- */
	{ "sender syntax", 0, H "MAIL" L "MAIL TO:<a@b>" L "MAIL FROM <a@b>" L "MAIL FROM:" L "MAIL FROM:<a@b" L
	  "MAIL FROM:<a@b>x" L "MAIL FROM:<a>" L "MAIL FROM:<a@b@c>" L "MAIL FROM : <a@b>" L, 0,
	  wH " 501/5.5.4 501/5.5.4 501/5.5.4 501/5.1.7 501/5.1.7 501/5.1.7 501/5.1.7 501/5.1.7" wM },
	{ "recipient syntax", 0, H M "RCPT" L "RCPT FROM:<c@d>" L "RCPT TO:" L "RCPT TO:<>" L "RCPT TO:<c>" L
	  "RCPT TO:<c@d.>" L "RCPT TO:c@d" L, 0,
	  wH wM " 501/5.5.4 501/5.5.4 501/5.1.3 501/5.1.3 501/5.1.3 501/5.1.3" wR },
	{ "sender parameters", 0, H "MAIL FROM:<a@b> SIZE=" L "MAIL FROM:<a@b> SIZE=x" L
	  "MAIL FROM:<a@b> SIZE=-1" L "MAIL FROM:<a@b> SIZE=1 size=2" L "MAIL FROM:<a@b> BODY=9BIT" L
	  "MAIL FROM:<a@b> SMTPUTF8=1" L "MAIL FROM:<a@b> RET=BOTH" L "MAIL FROM:<a@b> ENVID=" L
	  "MAIL FROM:<a@b> ENVID=a+0D+0Ab" L "MAIL FROM:<a@b> ENVID=a+4" L "MAIL FROM:<a@b> AUTH=" L
	  "MAIL FROM:<a@b> FOO=1" L
	  "MAIL FROM:<a@b> SIZE=10 BODY=8bitmime SMTPUTF8 RET=full ENVID=a+2Bb AUTH=<>" L, 0,
	  wH " 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 "
	  "501/5.5.4 501/5.5.4 555/5.5.4" wM },
	{ "sizes above the limit", 0, H "MAIL FROM:<a@b> SIZE=1001" L
	  "MAIL FROM:<a@b> SIZE=99999999999999999999" L "MAIL FROM:<a@b> SIZE=999999999999999999999" L
	  "MAIL FROM:<a@b> SIZE=1000" L, 0, wH " 552/5.3.4 552/5.3.4 501/5.5.4" wM },
	{ "recipient parameters", 0, H M "RCPT TO:<c@d> NOTIFY=" L "RCPT TO:<c@d> NOTIFY=NEVER,DELAY" L
	  "RCPT TO:<c@d> NOTIFY=DELAY,DELAY" L "RCPT TO:<c@d> NOTIFY=SOON" L "RCPT TO:<c@d> ORCPT=x" L
	  "RCPT TO:<c@d> ORCPT=rfc822;" L "RCPT TO:<c@d> ORCPT=rfc 822;x" L "RCPT TO:<c@d> ORCPT=rfc822;a+0Ab" L
	  "RCPT TO:<c@d> SIZE=1" L "RCPT TO:<c@d> NOTIFY=never NOTIFY=never" L
	  "RCPT TO:<c@d> NOTIFY=success,Failure,DELAY ORCPT=rfc822;a+2Bb" L, 0,
	  wH wM " 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 555/5.5.4 "
	  "501/5.5.4" wR },
	{ "parameters of what is not offered", PLAIN_SMTP, H "MAIL FROM:<a@b> SMTPUTF8" L
	  "MAIL FROM:<a@b> RET=FULL" L "MAIL FROM:<a@b> ENVID=x" L "MAIL FROM:<a@b> BODY=BINARYMIME" L M
	  "RCPT TO:<c@d> NOTIFY=NEVER" L "RCPT TO:<c@d> ORCPT=rfc822;x" L "BDAT 6 LAST" L Q "NOOP" L, 0,
	  wH " 555/5.5.4 555/5.5.4 555/5.5.4 501/5.5.4" wM " 555/5.5.4 555/5.5.4 502/5.5.1 250/2.0.0" },
	{ "UTF-8 addresses", 0, H "MAIL FROM:<\xc3\xa4@b>" L "MAIL FROM:<\xe4@b>" L "MAIL FROM:<\xc3\xa4@b> SMTPUTF8" L
	  "RCPT TO:<\xc3\xb6@d>" L "RSET" L M "RCPT TO:<\xc3\xb6@d>" L, 0,
	  wH " 553/5.6.7 501/5.1.7" wM wR " 250/2.0.0 END" wM " 553/5.6.7" },
	{ "not admitted", NOT_ADMITTED, H M R D Q, 0, wH " 530/5.7.0 503/5.5.1 503/5.5.1" wQ },
	{ "login required", AUTH_MUST, H M, 0, wH " 530/5.7.0" },
	{ "no room", NO_ROOM, H M R, 0, wH " 452/4.3.1 503/5.5.1" },
	{ "hooks refuse", 0, H "MAIL FROM:<refuse@b>" L "MAIL FROM:<fail@b>" L M "RCPT TO:<denied@d>" L
	  "RCPT TO:<later@d>" L D R D "." L, 0,
	  wH " 550/5.7.1 451/4.3.0" wM " 550/5.7.1 451/4.7.1 503/5.5.1" wR wD STORED("a@b;c@d;") },
	{ "a hook hangs up", 0, H "MAIL FROM:<hangup@b>" L M, 0, wH " 421/4.3.2 CLOSE" },
	{ "too many recipients keep the earlier ones", 0, H M R R R R R D "." L, 0,
	  wH wM wR wR wR " 452/4.5.3 452/4.5.3" wD STORED("a@b;c@d,c@d,c@d;") },
	{ "too many messages", FEW_MAILS, H M "RSET" L M "RSET" L M R, 0,
	  wH wM " 250/2.0.0 END" wM " 250/2.0.0 END 421/4.7.0 CLOSE" },
	{ "too many errors", FEW_ERRORS, H "A" L "B" L "C" L "D" L M, 0,
	  wH " 500/5.5.2 500/5.5.2 500/5.5.2 421/4.7.0 CLOSE" },
	{ "too many errors in a transaction", FEW_ERRORS, H M R "A" L "B" L "C" L D, 0,
	  wHMR " 500/5.5.2 500/5.5.2 500/5.5.2 421/4.7.0 END CLOSE" },
	/* --- lines --- */
	{ "overlong line, once", 0, "NOOP " X100 X100 X100 X100 X100 X100 X100 L "NOOP" L Q, 0,
	  "500/5.5.2 250/2.0.0" wQ },
	{ "its tail is no command", 0, X100 X100 X100 X100 X100 X10 " QUIT" L Q, 0, "500/5.5.2" wQ },
	{ "a line of exactly the limit", 0, "NOOP " X100 X100 X100 X100 X100 "xxxxx" L "NOOP " X100 X100 X100
	  X100 X100 "xxxxxx" L Q, 0, "250/2.0.0 500/5.5.2" wQ },
	{ "CR alone ends no command", 0, H "NOOP\rRCPT TO:<c@d>" L "NOOP\r\r\n" Q, 0, wH " 500/5.5.2 500/5.5.2" wQ },
	{ "controls in commands", 0, TWO_TEXTS(H "NOOP \0QUIT" L "MAIL FROM:<a\x01@b>" L "MAIL FROM:<a@b\x7f>" L
	  "MAIL FROM:<\"a\rRCPT\"@b>" L "MAIL\tFROM:<a@b>" L Q), wH " 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2" wM
	  " 221/2.0.0 END CLOSE" },
	/* --- other protocols --- */
	{ "HTTP GET", 0, "GET / HTTP/1.1" L "Host: x" L L H M, 0, "521/5.5.1 CLOSE" },
	{ "HTTP POST with commands in it", 0, H "POST / HTTP/1.1" L L M R D "x" L "." L, 0, wH " 521/5.5.1 CLOSE" },
	{ "HTTP in a transaction", 0, H M "OPTIONS * HTTP/1.1" L R, 0, wH wM " 521/5.5.1 END CLOSE" },
	{ "HTTP behind an overlong line", 0, X100 X100 X100 X100 X100 X100 L "PUT /x" L H, 0,
	  "500/5.5.2 521/5.5.1 CLOSE" },
	{ "TLS hello", 0, TWO_TEXTS("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n" H), "521/5.5.1 CLOSE" },
	{ "SSH", 0, "SSH-2.0-OpenSSH_9.2" L H, 0, "521/5.5.1 CLOSE" },
	/* --- DATA refused --- */
	{ "DATA without valid recipient", 0, H M "RCPT TO:<denied@d>" L D "RSET" L M, 0,
	  wH wM " 550/5.7.1 503/5.5.1 250/2.0.0 END" wM },
	{ "pipelined past a refused DATA", 0, H M "RCPT TO:<denied@d>" L D "Subject: x" L L "MAIL FROM:<e@f>" L
	  "RCPT TO:<c@d>" L "DATA" L "." L, 0, wH wM " 550/5.7.1 503/5.5.1 503/5.5.1 END CLOSE" },
	{ "pipelined past DATA that a hook refused", 0, H "MAIL FROM:<nodata@b>" L R D "Subject: x" L "." L M, 0,
	  wH wM wR " 554/5.7.1 END 503/5.5.1 CLOSE" },
	{ "a hook refuses DATA, the client goes on", 0, H "MAIL FROM:<nodata@b>" L R D M R D "." L, 0,
	  wH wM wR " 554/5.7.1 END" wM wR wD STORED("a@b;c@d;") },
	/* --- end of data --- */
	{ "smuggling by LF.LF", 0, H M R D "x\n.\nMAIL FROM:<e@f>" L R D "y" L "." L, 0,
	  wHMRD " 521/5.5.2 END CLOSE" },
	{ "smuggling by LF.CRLF", 0, H M R D "x\n.\r\n" M, 0, wHMRD " 521/5.5.2 END CLOSE" },
	{ "smuggling by CRLF.LF", 0, H M R D "x\r\n.\n" M, 0, wHMRD " 521/5.5.2 END CLOSE" },
	{ "smuggling by CR.CR", 0, H M R D "x\r.\r" M, 0, wHMRD " 521/5.5.2 END CLOSE" },
	{ "smuggling by CRLF.CR", 0, H M R D "x\r\n.\r" M, 0, wHMRD " 521/5.5.2 END CLOSE" },
	{ "smuggling by CRLF.CR.CRLF", 0, H M R D "x\r\n.\r.\r\n" M, 0, wHMRD " 521/5.5.2 END CLOSE" },
	{ "smuggling by a NUL near the dot", 0, TWO_TEXTS(H M R D "x\r\n\0.\r\nQUIT\r\n.\r\n"), wHMRD
	  STORED("a@b;c@d;x\r\n~.\r\nQUIT\r\n") },
	{ "bare newlines accepted are mended", BARE_OK, H M R D "x\n.\n" M "y\rz" L "." L Q, 0,
	  wHMRD STORED("a@b;c@d;x\r\n.\r\nMAIL FROM:<a@b>\r\ny\r\nz\r\n") wQ },
	{ "too big while reading", 0, H M R D X100 X100 X100 X100 X100 L X100 X100 X100 X100 X100 L "QUIT" L "." L
	  "NOOP" L, 0, wHMRD " 552/5.3.4 END 250/2.0.0" },
	{ "of exactly the size", 0, H M R D X100 X100 X100 X100 X100 X100 X100 X100 X100 X10 X10 X10 X10 X10
	  X10 X10 X10 X10 "xxxxxxxx" L "." L, 0, wHMRD STORED("a@b;c@d;" X100 X100 X100 X100 X100 X100 X100 X100
	  X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxxxxxx\r\n") },
	{ "SIZE lies", 0, H "MAIL FROM:<a@b> SIZE=1" L R D X100 L "." L, 0, wHMRD STORED("a@b;c@d;" X100 "\r\n") },
	{ "hops at the limit", 0, H M R D "Received: 1" L "received: 2" L "RECEIVED: 3" L "Received : 4" L
	  "Received:5" L L "." L Q, 0, wHMRD " 554/5.4.6 END" wQ },
	{ "hops below the limit", 0, H M R D "Received: 1" L " Received: x" L "Received: 2" L "X-Received: y" L
	  "Received: 3" L "Received: 4" L L "Received: body" L "." L Q, 0,
	  wHMRD STORED("a@b;c@d;Received: 1\r\n Received: x\r\nReceived: 2\r\nX-Received: y\r\nReceived: 3\r\n"
	  "Received: 4\r\n\r\nReceived: body\r\n") wQ },
	{ "header refused, the rest is dropped", 0, H M R D "Refuse-Header: x" L L "QUIT" L ".." L "." L "NOOP" L, 0,
	  wHMRD " 554/5.7.1 END 250/2.0.0" },
	{ "header without body refused", 0, H M R D "Refuse-Header: x" L "." L "NOOP" L, 0,
	  wHMRD " 554/5.7.1 END 250/2.0.0" },
	{ "message refused", 0, H M R D "a: b" L L "Refuse-Message" L "." L "NOOP" L, 0,
	  wHMRD " 550/5.7.1 END 250/2.0.0" },
	{ "store full", 0, H "MAIL FROM:<full@b>" L R D "x" L "." L M, 0, wHMRD " STORE(full@b;c@d;x\r\n) 452/4.3.1" wM },
	{ "store broken", 0, H "MAIL FROM:<broken@b>" L R D "x" L "." L M, 0,
	  wHMRD " STORE(broken@b;c@d;x\r\n) 451/4.3.0" wM },
	{ "the end never comes", 0, H M R D "x" L "." "\r", 0, wHMRD },
	/* --- BDAT --- */
	{ "one chunk", 0, H M R "BDAT 3 LAST" L "x" L Q, 0, wHMR STORED("a@b;c@d;x\r\n") wQ },
	{ "three chunks, cut in a CRLF", 0, H M R "BDAT 2" L "x\rBDAT 2" L "\ny" "bdat 0  last" L Q, 0,
	  wHMR " 250/2.0.0 250/2.0.0" STORED("a@b;c@d;x\r\ny") wQ },
	{ "dots and ends of data in a chunk are content", 0, H M R "BDAT 12 LAST" L ".\r\n..\r\n\r\n.\r\n" Q, 0,
	  wHMR STORED("a@b;c@d;.\r\n..\r\n\r\n.\r\n") wQ },
	{ "commands in a chunk are content", 0, H M R "BDAT 6 LAST" L "QUIT" L "NOOP" L, 0,
	  wHMR STORED("a@b;c@d;QUIT\r\n") " 250/2.0.0" },
	{ "empty chunks", 0, H M R "BDAT 0" L "BDAT 0" L "BDAT 0 LAST" L, 0, wHMR " 250/2.0.0 250/2.0.0" STORED("a@b;c@d;") },
	{ "bad chunk sizes", 0, H M R "BDAT" L "BDAT -1" L "BDAT x" L "BDAT 18446744073709551617" L
	  "BDAT 9223372036854775808" L "BDAT 1 FIRST" L "BDAT 1 LAST x" L "BDAT 1 LAST" L "x", 0,
	  wHMR " 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4" STORED("a@b;c@d;x") },
	{ "refused chunks are read and dropped", 0, "BDAT 6" L "QUIT" L H "BDAT 6 LAST" L "QUIT" L M "BDAT 6" L
	  "QUIT" L "NOOP" L, 0, "503/5.5.1 250 503/5.5.1" wM " 503/5.5.1 250/2.0.0" },
	{ "hook refuses, pipelined chunks drop", 0, H "MAIL FROM:<nodata@b>" L R "BDAT 6" L "QUIT" L "BDAT 6 LAST" L
	  "QUIT" L "NOOP" L, 0, wHMR " 554/5.7.1 END 503/5.5.1 250/2.0.0" },
	{ "header refused in a chunk", 0, H M R "BDAT 20" L "Refuse-Header: x" L L "BDAT 6 LAST" L "QUIT" L "NOOP" L, 0,
	  wHMR " 554/5.7.1 END 503/5.5.1 250/2.0.0" },
	{ "chunks too big", 0, H M R "BDAT 4" L "x" L "yBDAT 998 LAST" L X100 X100 X100 X100 X100 X100 X100 X100 X100
	  X10 X10 X10 X10 X10 X10 X10 X10 X10 "QUIT\r\n\r\n" "NOOP" L, 0, wHMR " 250/2.0.0 552/5.3.4 END 250/2.0.0" },
	{ "bare newline in a chunk", 0, H M R "BDAT 3 LAST" L "x\nyNOOP" L, 0, wHMR " 521/5.5.2 END CLOSE" },
	{ "bare CR at the end of the last chunk", 0, H M R "BDAT 2 LAST" L "x\rNOOP" L, 0, wHMR " 521/5.5.2 END CLOSE" },
	{ "bare newlines in chunks mended", BARE_OK, H M R "BDAT 6" L "x\ny\rz\rBDAT 2 LAST" L "w\r" Q, 0,
	  wHMR " 250/2.0.0" STORED("a@b;c@d;x\r\ny\r\nz\r\nw\r\n") wQ },
	{ "binary content is left alone", 0, TWO_TEXTS(H "MAIL FROM:<a@b> BODY=BINARYMIME" L R "BDAT 7 LAST" L
	  "\n.\n\r.\r\r" "DATA" L "NOOP" L), wHMR STORED("a@b;c@d;\n.\n\r.\r\r") " 503/5.5.1 250/2.0.0" },
	{ "binary content by DATA", 0, H "MAIL FROM:<a@b> BODY=BINARYMIME" L R D "BDAT 1 LAST" L "x", 0,
	  wHMR " 503/5.5.1" STORED("a@b;c@d;x") },
	/* --- STARTTLS, AUTH --- */
	{ "STARTTLS", TLS, H "STARTTLS" L "\x1a" M "EHLO y" L "STARTTLS" L M, 0,
	  wH " 220/2.0.0 TLS 503/5.5.1 250 503/5.5.1" wM },
	{ "STARTTLS injection is dropped", TLS, H "STARTTLS" L "EHLO evil" L M "\x1a" M Q, 0,
	  wH " 220/2.0.0 TLS 503/5.5.1" wQ },
	{ "STARTTLS not offered, with argument", 0, H "STARTTLS" L "AUTH PLAIN" L, 0, wH " 502/5.5.1 502/5.5.1" },
	{ "STARTTLS with argument", TLS, H "STARTTLS now" L, 0, wH " 501/5.5.4" },
	{ "TLS required", TLS_MUST | AUTH, H M "VRFY x" L "AUTH PLAIN" L "NOOP" L "STARTTLS" L "\x1a" H M, 0,
	  wH " 530/5.7.0 530/5.7.0 530/5.7.0 250/2.0.0 220/2.0.0 TLS 250" wM },
	{ "login with initial response", AUTH_MUST, H "AUTH PLAIN good" L "AUTH PLAIN good" L M, 0,
	  wH " AUTH 235/2.7.0 503/5.5.1" wM },
	{ "login in steps", AUTH, H "auth login" L "good" L M, 0, wH " AUTH 334 STEP 235/2.7.0" wM },
	{ "wrong password, then right", AUTH, H "AUTH PLAIN bad" L "AUTH PLAIN =" L "AUTH PLAIN good" L, 0,
	  wH " AUTH 535/5.7.8 AUTH 535/5.7.8 AUTH 235/2.7.0" },
	{ "policy refuses a login", AUTH_MUST, H "AUTH PLAIN policy" L M, 0, wH " AUTH 550/5.7.1 530/5.7.0" },
	{ "login canceled, bad lines", AUTH, H "AUTH PLAIN" L "*" L "NOOP" L "AUTH PLAIN" L "a\x01" L "NOOP" L "AUTH PLAIN" L
	  L "NOOP" L, 0, wH " AUTH 334 501/5.7.0 CANCEL 250/2.0.0 AUTH 334 501/5.5.2 CANCEL 250/2.0.0 AUTH 334 "
	  "STEP 535/5.7.8 250/2.0.0" },
	{ "bad AUTH commands", AUTH, H "AUTH" L "AUTH FOO" L "AUTH PLAIN a b" L, 0, wH " 501/5.5.4 504/5.5.4 501/5.5.4" },
	{ "cleartext login wants TLS", TLS | AUTH_IN_TLS, H "AUTH PLAIN good" L "STARTTLS" L "\x1a" H "AUTH PLAIN good" L M, 0,
	  wH " 538/5.7.11 220/2.0.0 TLS 250 AUTH 235/2.7.0" wM },
	{ "STARTTLS after a login", TLS | AUTH, H "AUTH PLAIN good" L "STARTTLS" L, 0, wH " AUTH 235/2.7.0 503/5.5.1" },
	/* --- without limits --- */
	{ "no limits set", NO_LIMITS, H M R R R R R D X100 X100 X100 X100 X100 X100 X100 X100 X100 X100 X100 L "." L, 0,
	  wH wM wR wR wR wR wR wD STORED("a@b;c@d,c@d,c@d,c@d,c@d;" X100 X100 X100 X100 X100 X100 X100 X100 X100
	  X100 X100 "\r\n") },
};

#endif
