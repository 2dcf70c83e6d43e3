/*
 * test_conn.c - a connection on the fake loop: input in pieces, output that
 * blocks, pausing, ends of all kinds, and a toy transport layer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/str.h"
#include "net/conn.h"
#include "../dialogue/fake_loop.h"

enum { MAX_INPUT = 64 };
static const struct ph_addr server = { 4, 2525, { 127, 0, 0, 1 } };
static const struct ph_addr client = { 4, 0, { 203, 0, 113, 7 } };

/* An owner that takes lines, remembers them, and sends what lies in out. */
struct owner {
	struct conn *c;
	struct buf lines, out;
	size_t shown;                   /* calls of input */
	int closed, secured, closed_calls;
	const char *pause_at, *close_at, *secure_at;    /* a line that makes it do so */
	bool polite, eats_all, eats_nothing;
	const struct ph_secure *toy;
};

static struct loop *l;
static struct listener *ln;
static int listen_fd;
static struct owner o;
static struct fake_peer *p;

static void
owner_line(struct owner *w, struct ph_str line)
{
	static const struct ph_secure_want want = { .size = sizeof want, .side = PH_SERVER };
	buf_addstr(&w->lines, line);
	buf_addc(&w->lines, '|');
	if (w->pause_at != NULL && str_is(line, w->pause_at))
		conn_pause(w->c, true);
	if (w->secure_at != NULL && str_is(line, w->secure_at))
		assert_int_equal(conn_secure(w->c, w->toy, NULL, &want), 0);
	if (w->close_at != NULL && str_is(line, w->close_at))
		conn_close(&w->c, w->polite);
}

static bool
owner_stops(const struct owner *w, struct ph_str line)
{
	return (w->pause_at != NULL && str_is(line, w->pause_at)) ||
	       (w->close_at != NULL && str_is(line, w->close_at)) ||
	       (w->secure_at != NULL && str_is(line, w->secure_at));
}

static size_t
owner_input(struct conn *c, void *arg, struct ph_str data)
{
	struct owner *w = arg;
	size_t used = 0;
	assert_ptr_equal(c, w->c);
	assert_int_equal(w->closed_calls == 0 || w->closed == PH_ECLOSED, 1);
	w->shown++;
	if (w->eats_nothing)
		return 0;
	while (used < data.n) {
		struct ph_str rest = str_skip(data, used);
		const char *nl = memchr(rest.p, '\n', rest.n);
		if (nl == NULL)
			return w->eats_all ? data.n : used;
		struct ph_str line = str_make(rest.p, (size_t)(nl - rest.p));
		used += line.n + 1;
		owner_line(w, line);
		if (owner_stops(w, line))
			break;
	}
	return used;
}

static int
owner_output(struct conn *c, void *arg, struct iovec *iov, int max)
{
	struct owner *w = arg;
	(void)c;
	struct ph_str v = buf_view(&w->out);
	if (v.n == 0)
		return 0;
	size_t half = v.n / 2;          /* two pieces, when there is something to halve */
	iov[0] = (struct iovec){ (char *)(uintptr_t)v.p, half > 0 ? half : v.n };
	if (half == 0 || max < 2)
		return 1;
	iov[1] = (struct iovec){ (char *)(uintptr_t)v.p + half, v.n - half };
	return 2;
}

static void
owner_sent(struct conn *c, void *arg, size_t n)
{
	struct owner *w = arg;
	(void)c;
	buf_eat(&w->out, n);
}

static void
owner_closed(struct conn *c, void *arg, int status)
{
	struct owner *w = arg;
	assert_ptr_equal(c, w->c);
	w->closed = status;
	w->closed_calls++;
}

static void
owner_secured(struct conn *c, void *arg, int status)
{
	struct owner *w = arg;
	assert_ptr_equal(c, w->c);
	w->secured = status == 0 ? 1 : status;
}

static const struct conn_events owner_events = {
	owner_input, owner_output, owner_sent, owner_closed, owner_secured
};

static void
got(void *arg, struct stream *s)
{
	(void)arg;
	assert_null(o.c);
	o.c = conn_new(l, s, MAX_INPUT, &owner_events, &o);
}

static int
setup(void **state)
{
	(void)state;
	memset(&o, 0, sizeof o);
	l = loop_new();
	listen_fd = listen_tcp(&server, false, 16);
	ln = listener_open(l, listen_fd, got, NULL);
	p = fake_connect(&server, &client);
	fake_run_until_idle();
	return ln == NULL || p == NULL || o.c == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	conn_close(&o.c, false);
	fake_peer_free(&p);
	listener_close(&ln);
	conn_loop_done(l);
	loop_free(&l);
	fake_reset_world();
	buf_free(&o.lines);
	buf_free(&o.out);
	return 0;
}

static void
says(const char *text)
{
	fake_sends(p, text);
	fake_run_until_idle();
}

static void
reply(const char *text)
{
	buf_adds(&o.out, text);
	conn_kick(o.c);
}

static void
lines_are(const char *want)
{
	struct ph_str v = buf_view(&o.lines);
	if (!str_is(v, want))
		fail_msg("lines \"%.*s\", expected \"%s\"", STR_ARG(v), want);
}

static void
received_is(const char *want)
{
	struct ph_str v = fake_received(p);
	if (!str_is(v, want))
		fail_msg("received \"%.*s\", expected \"%s\"", STR_ARG(v), want);
}

/* --- input --- */

static void
input_is_shown_whole_however_it_comes(void **state)
{
	static const struct { const char *name; size_t slice; } cases[] = {
		{ "at once", 0 }, { "byte by byte", 1 }, { "by three", 3 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (i > 0)
			assert_int_equal(setup(state), 0);
		fake_slices(p, cases[i].slice);
		says("EHLO a\nMAIL");
		lines_are("EHLO a|");
		says(" b\nRC");
		says("PT c\n");
		lines_are("EHLO a|MAIL b|RCPT c|");
		if (i + 1 < sizeof cases / sizeof cases[0])
			teardown(state);
	}
}

static void
more_than_is_kept_at_most_flows_through(void **state)
{
	(void)state;
	struct buf big = { 0 };
	for (int i = 0; i < 1000; i++)
		buf_printf(&big, "line %d\n", i);
	fake_send(p, buf_view(&big).p, big.len);
	fake_run_until_idle();
	assert_int_equal(o.lines.len, big.len);
	assert_int_equal(o.closed_calls, 0);
	buf_free(&big);
}

static void
an_owner_that_takes_nothing_is_told_of_the_limit(void **state)
{
	(void)state;
	char block[MAX_INPUT * 2];
	memset(block, 'x', sizeof block);
	o.eats_nothing = true;
	fake_send(p, block, sizeof block);
	fake_run_until_idle();
	assert_int_equal(o.closed, PH_ELIMIT);
	assert_int_equal(o.closed_calls, 1);
	size_t shown = o.shown;
	says("more\n");
	assert_int_equal(o.shown, shown);
}

static void
a_pause_keeps_input_until_resumed(void **state)
{
	(void)state;
	o.pause_at = "MAIL";
	says("EHLO\nMAIL\nRCPT\nDA");
	lines_are("EHLO|MAIL|");
	says("TA\n");
	lines_are("EHLO|MAIL|");
	conn_pause(o.c, false);
	lines_are("EHLO|MAIL|");        /* never from inside */
	fake_run_until_idle();
	lines_are("EHLO|MAIL|RCPT|DATA|");
	says("QUIT\n");
	lines_are("EHLO|MAIL|RCPT|DATA|QUIT|");
}

static void
a_paused_connection_stops_reading_but_not_for_ever(void **state)
{
	(void)state;
	o.pause_at = "MAIL";
	says("MAIL\n");
	for (int i = 0; i < 100; i++)
		says("line\n");         /* 500 bytes, 64 are kept */
	lines_are("MAIL|");
	conn_pause(o.c, false);
	fake_run_until_idle();
	assert_int_equal(o.lines.len, 5 + 500);
	assert_int_equal(o.closed_calls, 0);
}

/* --- ends --- */

static void
the_end_is_told_once_after_the_input(void **state)
{
	(void)state;
	fake_sends(p, "EHLO\nrest");
	fake_end(p);
	fake_run_until_idle();
	lines_are("EHLO|");
	assert_int_equal(o.closed, PH_ECLOSED);
	fake_loop_advance(10000);
	assert_int_equal(o.closed_calls, 1);
}

static void
the_end_is_told_while_paused(void **state)
{
	static const struct { const char *name; int lines; } cases[] = { { "little input", 1 }, { "full", 50 } };
	for (size_t i = 0; i < 2; i++) {
		if (i > 0)
			assert_int_equal(setup(state), 0);
		o.pause_at = "MAIL";
		says("MAIL\n");
		for (int k = 0; k < cases[i].lines; k++)
			says("RCPT\n");
		assert_int_equal(o.closed_calls, 0);
		fake_end(p);
		fake_run_until_idle();
		assert_int_equal(o.closed, PH_ECLOSED);
		lines_are("MAIL|");
		/* The peer still listens, and what was kept is not lost. */
		reply("250 ok\n");
		received_is("250 ok\n");
		conn_pause(o.c, false);
		fake_run_until_idle();
		assert_true(o.lines.len >= 10);
		assert_int_equal(o.closed_calls, 1);
		if (i == 0)
			teardown(state);
	}
}

static void
a_reset_is_an_error_and_the_last_word(void **state)
{
	(void)state;
	fake_sends(p, "EHLO\n");
	fake_run_until_idle();
	fake_reset(p);
	fake_run_until_idle();
	assert_int_equal(o.closed, PH_EIO);
	buf_adds(&o.out, "late");
	conn_kick(o.c);
	fake_loop_advance(10000);
	assert_int_equal(o.closed_calls, 1);
	lines_are("EHLO|");
}

static void
a_write_error_is_told_on_a_clean_stack(void **state)
{
	(void)state;
	o.pause_at = "MAIL";
	says("MAIL\n");
	fake_hang_up(p);
	buf_adds(&o.out, "250 ok\n");
	conn_kick(o.c);
	assert_int_equal(o.closed_calls, 0);
	fake_run_until_idle();
	assert_int_equal(o.closed_calls, 1);
}

/* --- output --- */

static void
output_waits_for_room_and_keeps_its_order(void **state)
{
	(void)state;
	struct buf all = { 0 };
	fake_window(p, 10);
	fake_slices(p, 3);
	reply("abcdefghijklmnopqrstuvwxyz");
	fake_run_until_idle();
	assert_int_equal(fake_received(p).n, 10);
	reply("0123456789");
	assert_int_equal(fake_received(p).n, 10);
	while (fake_received(p).n > 0) {
		buf_addstr(&all, fake_received(p));
		fake_eat(p, fake_received(p).n);
		fake_run_until_idle();
	}
	assert_true(str_is(buf_view(&all), "abcdefghijklmnopqrstuvwxyz0123456789"));
	says("still\n");
	lines_are("still|");
	buf_free(&all);
}

static void
a_polite_close_sends_what_is_left(void **state)
{
	(void)state;
	fake_window(p, 8);
	o.close_at = "QUIT";
	o.polite = true;
	buf_adds(&o.out, "221 closing the channel\n");
	says("QUIT\nNOOP\n");
	lines_are("QUIT|");             /* nothing after the close */
	assert_int_equal(o.out.len, 0); /* taken over: the owner may go */
	assert_false(fake_ended(p));
	received_is("221 clos");
	fake_eat(p, 8);
	fake_run_until_idle();
	received_is("ing the ");
	fake_eat(p, 8);
	fake_run_until_idle();
	received_is("channel\n");
	assert_true(fake_ended(p));
	assert_false(fake_closed(p));   /* no reset before the peer has read it */
	says("more that is read away\n");
	fake_end(p);
	fake_run_until_idle();
	assert_true(fake_closed(p));
	assert_int_equal(o.closed_calls, 0);
}

static void
a_polite_close_gives_up(void **state)
{
	static const struct { const char *name; size_t window; int64_t limit; } cases[] = {
		{ "peer does not read", 4, 5000 }, { "peer does not close", 0, 2000 },
	};
	for (size_t i = 0; i < 2; i++) {
		if (i > 0)
			assert_int_equal(setup(state), 0);
		fake_window(p, cases[i].window);
		buf_adds(&o.out, "221 bye\n");
		conn_close(&o.c, true);
		fake_loop_advance(cases[i].limit - 1);
		assert_false(fake_closed(p));
		fake_loop_advance(1);
		assert_true(fake_closed(p));
		if (i == 0)
			teardown(state);
	}
}

static void
a_rude_close_is_at_once(void **state)
{
	(void)state;
	o.close_at = "DROP";
	buf_adds(&o.out, "never sent");
	says("DROP\nNOOP\n");
	lines_are("DROP|");
	assert_true(fake_closed(p));
	received_is("");
	assert_int_equal(o.closed_calls, 0);
}

static void
the_loop_can_be_freed_while_last_words_are_sent(void **state)
{
	(void)state;
	fake_window(p, 1);
	buf_adds(&o.out, "221 bye\n");
	conn_close(&o.c, true);
	assert_true(loop_busy(l) > 1);
	conn_loop_done(l);
	assert_true(fake_closed(p));
}

/* --- a toy layer: the client says "HI", the server "YO", then all bytes are xored ---
 * "\xff" as ciphertext is the goodbye; a wrong greeting fails, with "!" as alert. */

struct toy { size_t seen; bool said, closed, peer_closed; enum ph_side side; };
enum { TOY_KEY = 0x2a };

static int
toy_open(struct ph_worker *w, void *layer, const struct ph_secure_want *want)
{
	(void)w;
	((struct toy *)layer)->side = want->side;
	return want->policy == PH_TLS_VERIFY ? PH_ENOTSUP : 0;
}

static void
toy_put(struct ph_secure_io *io, char c)
{
	io->cipher_out[io->cipher_out_len++] = (uint8_t)c;
}

static int
toy_pump(void *layer, struct ph_secure_io *io, enum ph_secure_state *state)
{
	struct toy *t = layer;
	const char *expected = t->side == PH_SERVER ? "HI" : "YO";
	const char *ours = t->side == PH_SERVER ? "YO" : "HI";
	for (; t->seen < 2 && io->cipher_in_len > 0; io->cipher_in++, io->cipher_in_len--) {
		if (*io->cipher_in != (uint8_t)expected[t->seen++]) {
			toy_put(io, '!');
			return PH_EPROTO;
		}
	}
	if (!t->said && (t->side == PH_CLIENT || t->seen == 2)) {
		t->said = true;
		toy_put(io, ours[0]);
		toy_put(io, ours[1]);
	}
	if (t->seen < 2) {
		*state = PH_SECURE_HANDSHAKE;
		return 0;
	}
	*state = t->peer_closed ? PH_SECURE_CLOSED : PH_SECURE_OPEN;
	while (io->cipher_in_len > 0 && io->plain_out_len < io->plain_out_room && !t->peer_closed) {
		uint8_t c = *io->cipher_in++;
		io->cipher_in_len--;
		if (c == 0xfe) {                /* the protocol's own: no plaintext, and an answer */
			toy_put(io, (char)0xfd);
		} else if (c == 0xff) {
			t->peer_closed = true;
			*state = PH_SECURE_CLOSED;
		} else {
			io->plain_out[io->plain_out_len++] = c ^ TOY_KEY;
		}
	}
	while (io->plain_in_len > 0 && io->cipher_out_len < io->cipher_out_room) {
		toy_put(io, (char)(*io->plain_in++ ^ TOY_KEY));
		io->plain_in_len--;
	}
	if (io->closing && !t->closed) {
		t->closed = true;
		toy_put(io, (char)0xff);
	}
	return 0;
}

static void
toy_facts(void *layer, struct ph_secure_facts *out)
{
	(void)layer;
	out->version = STR("TOYv1");
}

static int toys_closed;
static void toy_close(void *layer) { (void)layer; toys_closed++; }

static const struct ph_secure toy = {
	.size = sizeof toy, .layer_size = sizeof(struct toy), .open = toy_open, .pump = toy_pump,
	.facts = toy_facts, .close = toy_close,
};

static void
sealed(const char *plain)
{
	char c[256];
	size_t n = strlen(plain);
	assert_true(n <= sizeof c);
	for (size_t i = 0; i < n; i++)
		c[i] = (char)(plain[i] ^ TOY_KEY);
	fake_send(p, c, n);
	fake_run_until_idle();
}

static void
received_sealed(const char *want)
{
	struct ph_str v = fake_received(p);
	assert_int_equal(v.n, strlen(want));
	for (size_t i = 0; i < v.n; i++)
		assert_int_equal(v.p[i] ^ TOY_KEY, want[i]);
	fake_eat(p, v.n);
}

static void
put_on(void)
{
	struct ph_secure_facts f;
	o.toy = &toy;
	o.secure_at = "STARTTLS";
	assert_false(conn_facts(o.c, &f));
	says("STARTTLS\n");
	assert_int_equal(o.secured, 0);
	says("HI");
	assert_int_equal(o.secured, 1);
	received_is("YO");
	fake_eat(p, 2);
	assert_true(conn_facts(o.c, &f));
	assert_true(str_is(f.version, "TOYv1"));
}

static void
a_layer_carries_bytes_both_ways(void **state)
{
	static const size_t slices[] = { 0, 1, 7 };
	for (size_t i = 0; i < 3; i++) {
		if (i > 0)
			assert_int_equal(setup(state), 0);
		fake_slices(p, slices[i]);
		put_on();
		sealed("EHLO again\nMA");
		sealed("IL\n");
		lines_are("STARTTLS|EHLO again|MAIL|");
		reply("250 fine\n");
		fake_run_until_idle();
		received_sealed("250 fine\n");
		assert_int_equal(conn_unsent(o.c), 0);
		assert_int_equal(conn_secure(o.c, &toy, NULL, &(struct ph_secure_want){ 0 }), PH_EEXIST);
		if (i < 2)
			teardown(state);
	}
}

static void
a_burst_larger_than_all_buffers_gets_through_the_layer(void **state)
{
	(void)state;
	char block[4000];
	put_on();
	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (char)((i % 10 == 9 ? '\n' : 'x') ^ TOY_KEY);
	fake_send(p, block, sizeof block);      /* one read of ciphertext, many of plaintext */
	fake_run_until_idle();
	assert_int_equal(o.lines.len, 9 + sizeof block);
	assert_int_equal(o.closed_calls, 0);
}

/* TLS 1.3 key updates, say: they bring nothing, and each wants an answer, which is not read. */
static void
a_flood_without_plaintext_does_not_fill_memory(void **state)
{
	enum { FLOOD = 4 << 20, AT_MOST = 1 << 20 };
	char *flood = malloc(FLOOD);
	struct mallinfo2 before, after;
	size_t n = 0;

	(void)state;
	put_on();
	assert_non_null(flood);
	memset(flood, 0xfe, FLOOD);
	fake_window(p, 100);
	fake_send(p, flood, FLOOD);
	free(flood);
	before = mallinfo2();
	fake_run_until_idle();
	after = mallinfo2();
	assert_true(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + AT_MOST);
	fake_window(p, FLOOD);
	while (n < FLOOD) {
		size_t got = fake_received(p).n;

		assert_true(got > 0);
		n += got;
		fake_eat(p, got);
		fake_run_until_idle();
	}
	sealed("NOOP\n");
	lines_are("STARTTLS|NOOP|");
	assert_int_equal(o.closed_calls, 0);
}

static void
commands_smuggled_in_the_clear_are_dropped(void **state)
{
	(void)state;
	o.toy = &toy;
	o.secure_at = "STARTTLS";
	says("STARTTLS\nMAIL injected\nRCPT inj");      /* one segment, before the handshake */
	says("HI");
	assert_int_equal(o.secured, 1);
	sealed("EHLO\n");
	lines_are("STARTTLS|EHLO|");
}

static void
replies_from_before_the_layer_leave_in_the_clear(void **state)
{
	(void)state;
	o.toy = &toy;
	o.secure_at = "STARTTLS";
	fake_window(p, 4);
	buf_adds(&o.out, "220 go ahead\n");
	says("STARTTLS\n");
	fake_sends(p, "HI");
	struct buf all = { 0 };
	do {
		fake_run_until_idle();
		buf_addstr(&all, fake_received(p));
		fake_eat(p, fake_received(p).n);
		fake_run_until_idle();
	} while (fake_received(p).n > 0);
	assert_true(str_is(buf_view(&all), "220 go ahead\nYO"));
	buf_free(&all);
}

static void
a_client_side_speaks_first(void **state)
{
	(void)state;
	const struct ph_secure_want want = { .size = sizeof want, .side = PH_CLIENT, .name = STR("x") };
	assert_int_equal(conn_secure(o.c, &toy, NULL, &want), 0);
	fake_run_until_idle();
	received_is("HI");
	says("YO");
	assert_int_equal(o.secured, 1);
}

static void
a_provider_may_refuse(void **state)
{
	(void)state;
	const struct ph_secure_want want = { .size = sizeof want, .policy = PH_TLS_VERIFY };
	assert_int_equal(conn_secure(o.c, &toy, NULL, &want), PH_ENOTSUP);
	says("PLAIN\n");
	lines_are("PLAIN|");
}

static void
a_failed_handshake_is_told_with_its_alert_sent(void **state)
{
	(void)state;
	struct ph_secure_facts f;
	o.toy = &toy;
	o.secure_at = "STARTTLS";
	says("STARTTLS\n");
	says("HELO x\n");
	assert_int_equal(o.secured, PH_EPROTO);
	received_is("!");
	assert_true(conn_facts(o.c, &f));
	says("MAIL\n");
	fake_end(p);
	fake_run_until_idle();
	lines_are("STARTTLS|");
	assert_int_equal(o.closed_calls, 0);
}

static void
who_leaves_during_the_handshake_is_closed(void **state)
{
	(void)state;
	o.toy = &toy;
	o.secure_at = "STARTTLS";
	says("STARTTLS\nH");
	fake_end(p);
	fake_run_until_idle();
	assert_int_equal(o.closed, PH_ECLOSED);
	assert_int_equal(o.secured, 0);
}

static void
after_the_layers_goodbye_nothing_is_read(void **state)
{
	(void)state;
	put_on();
	sealed("EHLO\n");
	fake_send(p, "\xff" "MAIL in the clear\n", 19);
	fake_run_until_idle();
	lines_are("STARTTLS|EHLO|");
	assert_int_equal(o.closed, PH_ECLOSED);
}

static void
a_pause_holds_inside_the_layer_too(void **state)
{
	(void)state;
	put_on();
	o.pause_at = "MAIL";
	sealed("MAIL\n");
	for (int i = 0; i < 40; i++)
		sealed("line\n");
	lines_are("STARTTLS|MAIL|");
	conn_pause(o.c, false);
	fake_run_until_idle();
	assert_int_equal(o.lines.len, 9 + 5 + 200);
}

static void
a_polite_close_says_the_layers_goodbye(void **state)
{
	(void)state;
	put_on();
	toys_closed = 0;
	buf_adds(&o.out, "221 bye\n");
	conn_close(&o.c, true);
	assert_int_equal(toys_closed, 1);
	fake_run_until_idle();
	struct ph_str v = fake_received(p);
	assert_int_equal(v.n, 9);
	assert_int_equal((uint8_t)v.p[8], 0xff);
	fake_eat(p, 9);
	assert_true(fake_ended(p));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(input_is_shown_whole_however_it_comes), T(more_than_is_kept_at_most_flows_through),
		T(an_owner_that_takes_nothing_is_told_of_the_limit), T(a_pause_keeps_input_until_resumed),
		T(a_paused_connection_stops_reading_but_not_for_ever),
		T(the_end_is_told_once_after_the_input), T(the_end_is_told_while_paused),
		T(a_reset_is_an_error_and_the_last_word), T(a_write_error_is_told_on_a_clean_stack),
		T(output_waits_for_room_and_keeps_its_order), T(a_polite_close_sends_what_is_left),
		T(a_polite_close_gives_up), T(a_rude_close_is_at_once),
		T(the_loop_can_be_freed_while_last_words_are_sent),
		T(a_layer_carries_bytes_both_ways),
		T(a_burst_larger_than_all_buffers_gets_through_the_layer),
		T(a_flood_without_plaintext_does_not_fill_memory), T(commands_smuggled_in_the_clear_are_dropped),
		T(replies_from_before_the_layer_leave_in_the_clear), T(a_client_side_speaks_first),
		T(a_provider_may_refuse), T(a_failed_handshake_is_told_with_its_alert_sent),
		T(who_leaves_during_the_handshake_is_closed), T(after_the_layers_goodbye_nothing_is_read),
		T(a_pause_holds_inside_the_layer_too), T(a_polite_close_says_the_layers_goodbye),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
