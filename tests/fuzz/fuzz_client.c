/*
 * fuzz_client.c - the client engine against a server that says anything.
 *
 * Input: a byte of settings, then steps of a byte each: submit a message,
 * take output in part or whole, quit, or say the bytes that follow.  Held to:
 * every message comes back exactly once, with outcomes unless it was lost;
 * what is sent has no bare CR or LF outside BDAT chunks, no line that starts
 * with a single dot but the final one, and as many octets as BDAT announces.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/abort.h"
#include "base/mem.h"
#include "base/str.h"
#include "smtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGES = 12, LINE_MAX_SEEN = 2048 };

static const char *const contents[] = {
	"",
	".",
	".\r\n",
	"a\r\n.\r\nb\r\n",
	"\n.\nRSET\n",
	"x\r.\r",
	"..\r\n.b\r\n...",
	"Subject: x\r\n\r\nbody\r\n",
	"\r",
	"\n",
	"a\r\n.\rb\n.",
};

/* Reads the sent bytes as a server would. */
struct reader_of_output { char line[LINE_MAX_SEEN]; size_t n; uint64_t chunk; char last; };

struct fuzz {
	struct smtp_client *c;
	struct smtp_client_txn txns[MESSAGES];
	struct smtp_client_rcpt rcpts[MESSAGES][3];
	struct ph_content *content[MESSAGES];
	bool back[MESSAGES];
	unsigned submitted;
	bool ready, failed;
	struct arena arena;
	struct reader_of_output seen;
	struct buf in;
};

static void
see_line(struct reader_of_output *s)
{
	struct ph_str line = str_make(s->line, s->n);
	uint64_t n;

	if (line.n > 0 && line.p[0] == '.')
		ph_assert(line.n == 1 || line.p[1] == '.');
	if (str_starts(line, "BDAT ")) {
		struct ph_str rest = str_skip(line, 5);
		ph_assert(str_u64(str_cut(rest, ' ', &rest), &n) == 0 && str_is(rest, "LAST"));
		s->chunk = n;
	}
	s->n = 0;
}

static void
see(struct reader_of_output *s, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s->chunk > 0) {
			s->chunk--;
			s->last = 0;
			continue;
		}
		ph_assert((p[i] == '\n') == (s->last == '\r'));
		s->last = p[i];
		if (p[i] == '\n')
			see_line(s);
		else if (p[i] != '\r') {
			ph_assert(s->n < sizeof s->line);
			s->line[s->n++] = p[i];
		}
	}
}

static void
drain(struct fuzz *f)
{
	struct smtp_client_event ev;

	while (smtp_client_event(f->c, &ev)) {
		ph_assert(!f->failed || ev.kind == SMTP_EV_QUIT);
		switch (ev.kind) {
		case SMTP_EV_READY:
			ph_assert(!f->ready);
			f->ready = true;
			break;
		case SMTP_EV_TXN: {
			size_t i = (size_t)(ev.txn - f->txns);
			ph_assert(i < f->submitted && !f->back[i]);
			f->back[i] = true;
			for (uint32_t k = 0; k < ev.txn->nrcpts; k++)
				ph_assert(
				    ev.txn->rcpts[k].code >= 200 && ev.txn->rcpts[k].reply.n > 0);
			break;
		}
		case SMTP_EV_WANT: {
			size_t i = (size_t)(ev.txn - f->txns);
			const char *text = ev.txn->arg;
			ph_assert(i < f->submitted && !f->back[i] && ev.txn->offset < ev.txn->size);
			smtp_client_content(
			    f->c, ev.txn, str_head(str_of(text + ev.txn->offset), 3));
			break;
		}
		case SMTP_EV_FAILED:
			ph_assert(ev.status < 0);
			f->failed = true;
			break;
		case SMTP_EV_STARTTLS:
			buf_clear(&f->in);
			smtp_client_secured(f->c);
			break;
		case SMTP_EV_AUTH:
			smtp_client_auth(f->c, STR("PLAIN"), ev.text.n % 2 == 0, STR("AGEAYg=="));
			break;
		case SMTP_EV_AUTH_STEP:
			smtp_client_auth_step(
			    f->c, ev.text.n > 20 ? (struct ph_str){ NULL, 0 } : STR("YQ=="));
			break;
		default:
			break;
		}
	}
}

static void
take_output(struct fuzz *f, size_t most)
{
	struct iovec v[5];
	size_t all = 0;
	int n = smtp_client_output(f->c, v, (int)(most % 5) + 1);

	for (int i = 0; i < n && all < most; i++) {
		size_t k = v[i].iov_len < most - all ? v[i].iov_len : most - all;
		ph_assert(v[i].iov_len > 0);
		see(&f->seen, v[i].iov_base, k);
		all += k;
	}
	smtp_client_sent(f->c, all);
	drain(f);
}

static void
submit(struct fuzz *f, uint8_t how)
{
	static struct recipient to[3] = { { .to = { .full = { "b@y.example", 11 } } },
		{ .to = { .full = { "c@y.example", 11 } } },
		{ .to = { .full = { "evil\r\nRSET", 10 } } } };
	static struct envelope env = { .from = { .full = { "a@x.example", 11 } } };
	unsigned i = f->submitted;
	struct smtp_client_txn *t = &f->txns[i];
	const char *text = contents[how % (sizeof contents / sizeof contents[0])];

	if (i == MESSAGES || !f->ready || f->failed)
		return;
	f->content[i] = how & 64 ? content_stored(strlen(text)) : content_new();
	if ((how & 64) == 0)
		content_append(f->content[i], text, strlen(text), 0);
	*t = (struct smtp_client_txn){ .env = &env,
		.rcpts = f->rcpts[i],
		.nrcpts = 1 + how % 3,
		.content = f->content[i],
		.size = strlen(text),
		.arena = &f->arena,
		.arg = (void *)(uintptr_t)text };
	for (uint32_t k = 0; k < t->nrcpts; k++)
		f->rcpts[i][k] = (struct smtp_client_rcpt){ .rcpt = &to[k] };
	f->submitted++;
	smtp_client_submit(f->c, t);
	drain(f);
}

static void
feed(struct fuzz *f, const uint8_t *p, size_t n)
{
	struct ph_str view;

	buf_add(&f->in, p, n);
	view = buf_view(&f->in);
	(void)smtp_client_feed(f->c, &view);
	buf_eat(&f->in, f->in.len - view.n);
	drain(f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_client_config cfg = {
		.hostname = STR("me.example"), .window_messages = 4, .window_bytes = 100
	};
	struct smtp_client_txn *t;
	struct fuzz f = { 0 };

	if (size == 0)
		return 0;
	cfg.use_chunking = data[0] & 1;
	cfg.use_pipelining = data[0] & 2;
	cfg.auth = data[0] & 4;
	cfg.starttls = (data[0] & 8) != 0    ? SMTP_CLIENT_TLS_IF
		       : (data[0] & 16) != 0 ? SMTP_CLIENT_TLS_MUST
					     : SMTP_CLIENT_TLS_NO;
	arena_init(&f.arena, 2048);
	f.c = smtp_client_new(&cfg);
	for (size_t i = 1; i < size; ) {
		uint8_t op = data[i++];
		if (op < 128) {                 /* say up to 127 bytes */
			size_t n = op < size - i ? op : size - i;
			feed(&f, data + i, n);
			i += n;
		} else if (op < 0xc0)
			submit(&f, op & 63);
		else if (op < 0xd0)
			submit(&f, (op & 15) | 64);
		else if (op == 0xff)
			smtp_client_quit(f.c);
		else
			take_output(&f, op == 0xfe ? 100000 : (size_t)op - 0xcf);
		ph_assert(smtp_client_timeout_ms(f.c) >= 0 && smtp_client_waiting_for(f.c) != NULL);
	}
	while ((t = smtp_client_end(f.c)) != NULL) {
		size_t i = (size_t)(t - f.txns);
		ph_assert(i < f.submitted && !f.back[i]);
		f.back[i] = true;
	}
	for (unsigned i = 0; i < f.submitted; i++)
		ph_assert(f.back[i]);
	smtp_client_free(&f.c);
	for (unsigned i = 0; i < MESSAGES; i++)
		ph_content_unref(&f.content[i]);
	buf_free(&f.in);
	arena_reset(&f.arena);
	return 0;
}
