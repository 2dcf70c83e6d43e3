/*
 * send_input.c - what is to be sent: reads files or standard input, gives
 * lines their CRLF, and makes a header where there is none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/fsutil.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/send.h"
#include "mail/trace.h"

#define INPUT_LIMIT ((size_t)1 << 30)

static int
read_stdin(struct buf *out)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf_room(out, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_grew(out, (size_t)n);
		if (out->len > INPUT_LIMIT)
			return PH_ELIMIT;
	}
}

static bool
has_header(struct ph_str in)
{
	struct ph_str rest, line = str_cut(in, '\n', &rest), name = str_cut(line, ':', &rest);

	return rest.p != NULL && header_name_valid(name);
}

static void
add_header(const struct send *snd, struct buf *out)
{
	char id[PH_MSGID_TEXT];

	buf_adds(out, "Date: ");
	trace_date(out, clock_wall_ms());
	buf_printf(out, "\r\nFrom: <" STR_FMT ">\r\n", STR_ARG(snd->env.from.full));
	for (uint32_t i = 0; i < snd->env.nrcpts; i++)
		buf_printf(out, "%s<" STR_FMT ">%s", i == 0 ? "To: " : "\t",
		    STR_ARG(snd->env.rcpts[i].to.full), i + 1 < snd->env.nrcpts ? ",\r\n" : "\r\n");
	buf_printf(out, "Message-ID: <%s@" STR_FMT ">\r\nSubject: %s\r\n\r\n",
	    id_text(id_new(), id), STR_ARG(snd->client.hostname), snd->o->subject);
}

/* Line ends become CRLF. PH_EINVAL with *line for a CR alone, which SMTP cannot carry. */
static int
add_lines(struct ph_str in, struct buf *out, bool *eight_bit, size_t *line)
{
	for (*line = 1; in.n > 0; ++*line) {
		const char *lf = memchr(in.p, '\n', in.n);
		size_t n = lf != NULL ? (size_t)(lf - in.p) : in.n, used = lf != NULL ? n + 1 : n;

		if (n > 0 && in.p[n - 1] == '\r')
			n--;
		if (n > 0 && memchr(in.p, '\r', n) != NULL)
			return PH_EINVAL;
		for (size_t i = 0; i < n && !*eight_bit; i++)
			*eight_bit = ((unsigned char)in.p[i] & 0x80) != 0;
		buf_add(out, in.p, n);
		buf_adds(out, "\r\n");
		in = str_skip(in, used);
	}
	return 0;
}

static int
read_message(struct send *snd, const char *file, struct send_message *msg)
{
	struct buf raw = { 0 }, text = { 0 };
	bool from_stdin = strcmp(file, "-") == 0;
	size_t line = 0;
	int rc = from_stdin ? read_stdin(&raw) : fs_read_file(file, INPUT_LIMIT, &raw);

	msg->file = from_stdin ? "standard input" : file;
	if (rc < 0) {
		(void)fprintf(stderr, "posthouse send: %s: %s\n", msg->file,
		    rc <= PH_ENOMEM ? ph_strerror(rc) : strerror(-rc));
		buf_free(&raw);
		return EX_NOINPUT;
	}
	if (!has_header(buf_view(&raw)))
		add_header(snd, &text);
	rc = add_lines(buf_view(&raw), &text, &msg->eight_bit, &line);
	if (rc != 0) {
		(void)fprintf(stderr, "posthouse send: %s:%zu: a carriage return within the line\n",
		    msg->file, line);
		rc = EX_DATAERR;
	} else {
		msg->content = content_new();
		content_append(msg->content, text.data + text.head, text.len, text.len);
	}
	buf_free(&raw);
	buf_free(&text);
	return rc;
}

int
send_read_input(struct send *snd, const struct opt_list *files)
{
	int rc = 0;

	if (snd->o->generate > 0)
		return 0;
	if (files->n == 0 && isatty(STDIN_FILENO) && !snd->o->quiet)
		(void)fprintf(stderr,
		    "posthouse send: reading the message from the terminal; end it with ^D\n");
	snd->nfiles = files->n > 0 ? files->n : 1;
	snd->files = mem_calloc(snd->nfiles, sizeof *snd->files);
	for (size_t i = 0; i < snd->nfiles && rc == 0; i++) {
		rc = read_message(snd, files->n > 0 ? files->v[i] : "-", &snd->files[i]);
		if (rc == 0 && snd->files[i].eight_bit)
			snd->env.body = BODY_8BITMIME;
	}
	return rc;
}
