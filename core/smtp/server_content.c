/*
 * server_content.c - content by DATA and BDAT, and what is asked at its end.
 *
 * Content that is refused half-way (size, a plugin's word on the header) is
 * still read to its end and dropped, so that none of it is ever taken for a
 * command; the reply is given there.  A bare CR or LF ends the connection at
 * once, since then the end is a matter of opinion.
 */
#include "base/clock.h"
#include "smtp/bdat.h"
#include "smtp/server_private.h"

void
server_content_start(struct smtp_server *s)
{
	header_scan_start(&s->scan);
	s->content_size = 0;
	s->p.octets = 0;
	s->p.newline_state = 0;
	s->p.refusal = PH_R_NONE;
	s->p.content_over = s->p.header_asked = s->p.message_asked = false;
}

/* The message will not be taken: the first reason counts. */
static void
refuse_later(struct smtp_server *s, enum ph_reply reply, const char *text)
{
	if (s->p.refusal != PH_R_NONE)
		return;
	s->p.refusal = reply;
	/* NUL ended by the arena */
	s->p.refusal_text = text != NULL ? arena_str(s->arena, str_of(text)) : str_make(NULL, 0);
}

/* The end of the message: asks what is still to be asked, then stores or refuses. */
static void
finish(struct smtp_server *s)
{
	s->p.content_over = true;
	/* 6.3: counting finds loops that nothing else does */
	if (s->cfg->max_hops != 0 && s->scan.hops >= s->cfg->max_hops)
		refuse_later(s, PH_R_TOO_MANY_HOPS, NULL);
	if (s->p.refusal != PH_R_NONE) {
		enum ph_reply reply = s->p.refusal;

		s->p.refusal = PH_R_NONE;
		server_refuse(s, reply, s->p.refusal_text.p);
		if (s->state != SMTP_CLOSE) {
			server_end_transaction(s);
			server_enter(s, SMTP_READY);
		}
	} else if (!s->p.header_asked) {
		s->p.header_asked = true;
		server_ask(s, PH_HOOK_HEADER);
	} else if (!s->p.message_asked) {
		s->p.message_asked = true;
		server_ask(s, PH_HOOK_MESSAGE);
	} else {
		s->env.arrived = clock_wall_ms();
		s->p.due |= DUE_STORE;
	}
}

void
server_content_verdict(struct smtp_server *s, enum ph_hook hook, enum ph_reply refusal,
                       const char *text)
{
	(void)hook;
	if (refusal != PH_R_NONE)
		refuse_later(s, refusal, text);
	if (s->p.content_over)
		finish(s);
}

/* A run of content: a request to append it, or SERVER_GO_ON when it is dropped. */
static int
content(struct smtp_server *s, struct ph_str run, struct smtp_request *req)
{
	uint64_t max = s->cfg->max_message_size;

	if (run.n == 0 || s->p.refusal != PH_R_NONE)
		return SERVER_GO_ON;
	s->content_size += run.n;
	if (max != 0 && s->content_size > max) {
		refuse_later(s, PH_R_TOO_BIG, NULL);
		return SERVER_GO_ON;
	}
	header_scan_feed(&s->scan, run);
	if (s->scan.done && !s->p.header_asked) {
		s->p.header_asked = true;
		server_ask(s, PH_HOOK_HEADER);  /* given out by the step after this run */
	}
	req->bytes = run;
	return SMTP_RQ_CONTENT;
}

int
server_read_data(struct smtp_server *s, struct ph_str *in, struct smtp_request *req)
{
	while (in->n != 0) {
		size_t before = in->n;
		struct ph_str run;
		enum dots_result rc;
		int rq;

		rc = dots_decode(&s->p.newline_state, s->cfg->accept_bare_newline, in, &run);
		server_count_octets(s, before - in->n);
		if (rc == DOTS_BARE) {
			server_refuse(s, PH_R_BARE_NEWLINE, NULL);
			return SERVER_GO_ON;
		}
		if (rc == DOTS_END) {
			s->progress++;
			finish(s);
			return SERVER_GO_ON;
		}
		rq = content(s, run, req);
		if (rq != SERVER_GO_ON)
			return rq;
	}
	return SMTP_RQ_NONE;
}

void
server_chunk_start(struct smtp_server *s)
{
	uint64_t max = s->cfg->max_message_size;

	s->p.chunk_dropped = false;
	s->p.chunk_left = s->p.chunk_size;
	if (max != 0 && s->p.chunk_size > max - (s->content_size < max ? s->content_size : max))
		refuse_later(s, PH_R_TOO_BIG, NULL);
}

void
server_chunk_drop(struct smtp_server *s, enum ph_reply reply, const char *text,
                  enum smtp_state back_to)
{
	s->p.chunk_dropped = true;
	s->p.chunk_left = s->p.chunk_size;
	s->p.chunk_return = (uint8_t)back_to;
	/* Outside a transaction nothing holds a text, so literals and none only:
	 * a plugin's words come with the transaction's arena. */
	s->p.refusal = reply;
	s->p.refusal_text = text != NULL && s->p.in_transaction
	                    ? arena_str(s->arena, str_of(text)) : str_make(text, 0);
}

/* All octets of the chunk were read. */
static int
chunk_over(struct smtp_server *s, struct smtp_request *req)
{
	enum ph_reply refusal = s->p.refusal;
	struct ph_str run;
	int rq;

	s->progress++;
	if (s->p.chunk_dropped) {
		s->p.refusal = PH_R_NONE;
		server_refuse(s, refusal, s->p.refusal_text.p);
		if (s->state != SMTP_CLOSE) {
			if (s->p.chunk_return <= SMTP_READY)
				server_end_transaction(s);
			server_enter(s, (enum smtp_state)s->p.chunk_return);
		}
		return SERVER_GO_ON;
	}
	if (refusal != PH_R_NONE) {
		/* later chunks of the group find no transaction: 503 (RFC 3030 2) */
		finish(s);
		return SERVER_GO_ON;
	}
	if (!s->p.chunk_last) {
		char digits[24], *d = digits + sizeof digits;
		uint64_t v = s->p.chunk_size;

		do
			*--d = (char)('0' + v % 10);
		while ((v /= 10) != 0);
		buf_adds(&s->out, "250 2.0.0 ");
		buf_add(&s->out, d, (size_t)(digits + sizeof digits - d));
		buf_adds(&s->out, " octets received\r\n");
		server_enter(s, SMTP_BDAT);
		return SERVER_GO_ON;
	}
	if (bdat_pass_end(&s->p.newline_state, s->cfg->accept_bare_newline, &run) == DOTS_BARE) {
		server_refuse(s, PH_R_BARE_NEWLINE, NULL);
		return SERVER_GO_ON;
	}
	rq = content(s, run, req);
	if (s->p.hook == NO_HOOK)
		finish(s);
	else
		s->p.content_over = true;
	return rq;
}

int
server_read_chunk(struct smtp_server *s, struct ph_str *in, struct smtp_request *req)
{
	for (;;) {
		struct ph_str piece, run;
		size_t taken;
		int rq;

		if (s->p.chunk_left == 0)
			return chunk_over(s, req);
		if (in->n == 0)
			return SMTP_RQ_NONE;
		piece = str_head(*in, s->p.chunk_left < in->n ? (size_t)s->p.chunk_left : in->n);
		taken = piece.n;
		if (s->p.chunk_dropped || s->p.refusal != PH_R_NONE ||
		    s->env.body == BODY_BINARYMIME) {
			run = piece;
		} else if (bdat_pass(&s->p.newline_state, s->cfg->accept_bare_newline, &piece, &run)
		           == DOTS_MORE) {
			taken -= piece.n;
		} else {
			server_refuse(s, PH_R_BARE_NEWLINE, NULL);
			return SERVER_GO_ON;
		}
		*in = str_skip(*in, taken);
		s->p.chunk_left -= taken;
		server_count_octets(s, taken);
		rq = s->p.chunk_dropped ? SERVER_GO_ON : content(s, run, req);
		if (rq != SERVER_GO_ON)
			return rq;
	}
}
