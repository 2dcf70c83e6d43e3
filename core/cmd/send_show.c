/*
 * send_show.c - the dialogue of a session for people: "> " what was sent,
 * "< " what came.  It follows the outgoing stream to tell commands from
 * content, so it needs no help from the engine.
 */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "cmd/send.h"

enum { IN_COMMANDS, IN_DATA, IN_CHUNK };

static void
show_line(const char *mark, struct ph_str line)
{
	struct buf text = { 0 };

	while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	buf_adds(&text, mark);
	for (size_t i = 0; i < line.n; i++) /* nothing the other side says steers the terminal */
		buf_addc(
		    &text, (unsigned char)line.p[i] < ' ' || line.p[i] == 0x7f ? '?' : line.p[i]);
	buf_addc(&text, '\n');
	(void)fwrite(text.data + text.head, 1, text.len, stderr);
	buf_free(&text);
}

static void
content_over(struct send_show *v)
{
	if (v->level < 2)
		(void)fprintf(
		    stderr, "> [%llu octets of content]\n", (unsigned long long)v->content);
	v->content = 0;
	v->at = IN_COMMANDS;
}

static void
command_sent(struct send_show *v, struct ph_str line)
{
	struct ph_str rest;
	uint64_t n;

	show_line("> ", line);
	if (str_istarts(line, "BDAT ")) {
		rest = str_skip(line, 5);
		if (str_u64(str_cut(str_trim(str_head(rest, strcspn(rest.p, "\r\n"))), ' ', &rest),
			&n) == 0 &&
		    n > 0) {
			v->chunk_left = n;
			v->at = IN_CHUNK;
		}
	} else if (str_istarts(line, "DATA\r")) {
		/* what follows DATA is content if it was asked for (RFC 2920 3.1: DATA ends a
		 * group) */
		v->go_ahead = false;
		v->at = IN_DATA;
	}
}

/* One line (with its end) of dot-stuffed content, or a command if no 354 came. */
static void
data_sent(struct send_show *v, struct ph_str line)
{
	if (!v->go_ahead) {
		v->at = IN_COMMANDS;
		command_sent(v, line);
		return;
	}
	if (str_is(line, ".\r\n")) {
		content_over(v);
		show_line("> ", line);
		return;
	}
	v->content += line.n;
	if (v->level >= 2)
		show_line("> ", line);
}

void
send_show_out(struct send_show *v, const char *p, size_t n)
{
	if (v->level == 0)
		return;
	buf_add(&v->out, p, n);
	while (v->out.len > 0) {
		struct ph_str all = buf_view(&v->out);
		const char *lf = memchr(all.p, '\n', all.n);
		size_t used = lf != NULL ? (size_t)(lf - all.p) + 1 : 0;

		if (v->at == IN_CHUNK) {
			used = used > 0 && used <= v->chunk_left ? used
			       : all.n < v->chunk_left           ? all.n
								 : v->chunk_left;
			if (v->level >= 2)
				show_line("> ", str_head(all, used));
			v->content += used;
			v->chunk_left -= used;
			if (v->chunk_left == 0)
				content_over(v);
		} else if (used == 0) {
			break;
		} else if (v->at == IN_DATA) {
			data_sent(v, str_head(all, used));
		} else {
			command_sent(v, str_head(all, used));
		}
		buf_eat(&v->out, used);
	}
}

void
send_show_in(struct send_show *v, struct ph_str bytes)
{
	if (v->level == 0)
		return;
	buf_addstr(&v->in, bytes);
	for (;;) {
		struct ph_str all = buf_view(&v->in);
		const char *lf = all.n > 0 ? memchr(all.p, '\n', all.n) : NULL;

		if (lf == NULL)
			return;
		all.n = (size_t)(lf - all.p) + 1;
		if (str_istarts(all, "354"))
			v->go_ahead = true;
		show_line("< ", all);
		buf_eat(&v->in, all.n);
	}
}

void
send_show_free(struct send_show *v)
{
	buf_free(&v->out);
	buf_free(&v->in);
}
