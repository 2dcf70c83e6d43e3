/*
 * deliver_hosts.h - the remote side of deliver_world.h: hosts that speak SMTP
 * with a temper, connections to them, dialling.  Included there, after W.
 */
#ifndef TESTS_DELIVER_HOSTS_H
#define TESTS_DELIVER_HOSTS_H

/* --- hosts --- */

static void
say(struct conn *c, const char *text)
{
	buf_adds(&c->in, text);
	buf_adds(&c->in, strstr(text, "\r\n") != NULL ? "" : "\r\n");
}

static void
leave(struct conn *c)
{
	c->eof = true;
}

static void
message_end(struct conn *c)
{
	struct host *h = c->h;

	h->messages++;
	c->taken++;
	if (h->hang_up_at_final)
		leave(c);
	else if (!h->silent_final)
		say(c, h->on_final != NULL ? h->on_final
		       : c->rcpts > 0      ? "250 2.0.0 taken"
					   : "554 5.5.1 no valid recipients");
	c->rcpts = 0;
	if (h->hang_up_after > 0 && c->taken >= h->hang_up_after && !h->hang_up_at_mail)
		leave(c);
}

static void
rcpt(struct conn *c, struct ph_str to)
{
	if (str_starts(to, "RCPT TO:<no")) {
		say(c, "550 5.1.1 no such mailbox");
	} else if (str_starts(to, "RCPT TO:<later")) {
		say(c, "450 4.2.1 later");
	} else if (str_starts(to, "RCPT TO:<many") && c->rcpts > 0) {
		say(c, "452 4.5.3 too many recipients");
	} else {
		say(c, "250 2.1.5 ok");
		if (++c->rcpts > c->h->rcpts_most)
			c->h->rcpts_most = c->rcpts;
	}
}

static void
command(struct conn *c, struct ph_str line)
{
	struct host *h = c->h;
	struct ph_str size, rest;

	buf_addstr(&h->commands, line);
	buf_addc(&h->commands, '\n');
	if (c->authing > 0) {
		unsigned at = c->authing++ - 1;

		assert_true(at < 3 && h->auth_then[at] != NULL);
		say(c, h->auth_then[at]);
		if (at == 2 || h->auth_then[at + 1] == NULL)
			c->authing = 0;
		return;
	}
	if (str_starts(line, "EHLO")) {
		say(c, c->tls && h->ehlo_tls != NULL ? h->ehlo_tls
		       : h->ehlo != NULL             ? h->ehlo
						     : STREAMING);
	} else if (str_starts(line, "STARTTLS")) {
		say(c, h->starttls != NULL ? h->starttls : "220 go");
	} else if (str_starts(line, "AUTH")) {
		say(c, h->auth);
		c->authing = h->auth_then[0] != NULL;
	} else if (str_starts(line, "MAIL")) {
		h->mails++;
		c->rcpts = 0;
		if (h->hang_up_at_mail && c->taken >= h->hang_up_after)
			leave(c);
		else if (h->bye_after > 0 && c->taken >= h->bye_after) {
			say(c, "421 4.7.0 enough for one connection");
			leave(c);
		} else
			say(c, h->on_mail != NULL ? h->on_mail : "250 2.1.0 ok");
	} else if (str_starts(line, "RCPT")) {
		rcpt(c, line);
	} else if (str_is(line, "DATA")) {
		c->data = c->rcpts > 0;
		say(c, c->data ? "354 go" : "554 5.5.1 no valid recipients");
	} else if (str_starts(line, "BDAT ")) {
		rest = str_skip(line, 5);
		size = str_cut(rest, ' ', &rest);
		assert_int_equal(str_u64(size, &c->chunk), 0);
		if (c->chunk == 0)
			message_end(c);
		c->chunk_mode = c->chunk > 0;
	} else if (str_is(line, "QUIT")) {
		h->quits++;
		say(c, "221 bye");
		leave(c);
	} else {
		say(c, "250 ok");
	}
}

static void
peer_reads(struct conn *c, const char *p, size_t n)
{
	for (size_t i = 0; i < n && !c->eof; i++) {
		if (c->chunk_mode) {
			buf_addc(&c->h->content, p[i]);
			if (--c->chunk == 0) {
				c->chunk_mode = false;
				message_end(c);
			}
			continue;
		}
		buf_addc(&c->line, p[i]);
		if (p[i] != '\n')
			continue;
		struct ph_str line = str_head(buf_view(&c->line), c->line.len - 2);
		if (!c->data) {
			command(c, line);
		} else if (str_is(line, ".")) {
			c->data = false;
			message_end(c);
		} else {
			buf_addstr(&c->h->content, buf_view(&c->line));
		}
		buf_clear(&c->line);
	}
}

/* --- connections --- */

static void
conn_later(struct conn *c)
{
	if (!c->noted)
		loop_defer(&W.loop, &c->note);
	c->noted = true;
}

static void
conn_run(struct ph_note *note)
{
	struct conn *c = container_of(note, struct conn, note);

	c->noted = false;
	if (c->closed) {
		buf_free(&c->in);
		buf_free(&c->line);
		free(c);
		return;
	}
	if (c->shaking && c->h->handshake_hangs)
		return;
	if (c->shaking) {
		c->shaking = false;
		if (c->h->leaves_in_handshake) {
			c->told = true;
			c->ev->closed(c, c->arg, PH_ECLOSED);
			return;
		}
		if (!c->h->handshake_fails) {
			c->tls = true;
			c->h->secured++;
			if (c->h->implicit) {
				say(c, c->h->greeting != NULL ? c->h->greeting : "220 mx ESMTP");
				conn_later(c);
			}
		}
		c->ev->secured(c, c->arg, c->h->handshake_fails ? PH_EPROTO : 0);
		return;
	}
	if (c->in.len > 0) {
		size_t used = c->ev->input(c, c->arg, buf_view(&c->in));
		if (!c->closed && !c->shaking)
			buf_eat(&c->in, used);
	}
	if (!c->closed && c->eof && !c->told && !c->shaking) {
		c->told = true;
		c->ev->closed(c, c->arg, PH_ECLOSED);
	}
}

struct conn *
conn_new(struct loop *l, struct stream *s, size_t max, const struct conn_events *ev, void *arg)
{
	struct conn *c = mem_new(struct conn);
	struct host *h = (struct host *)(void *)s;

	(void)l;
	(void)max;
	c->ev = ev;
	c->arg = arg;
	c->h = h;
	c->note.run = conn_run;
	h->connections++;
	h->open++;
	if (h->room > 0 && h->open > h->room)
		say(c, "421 4.3.2 too many connections");
	else if (!h->implicit)
		say(c, h->greeting != NULL ? h->greeting : "220 mx ESMTP");
	conn_later(c);
	return c;
}

static void
pull(struct conn *c)
{
	struct iovec v[3];
	int n;

	while ((n = c->ev->output(c, c->arg, v, 3)) > 0) {
		size_t all = 0;
		for (int i = 0; i < n; i++) {
			peer_reads(c, v[i].iov_base, v[i].iov_len);
			all += v[i].iov_len;
		}
		c->ev->sent(c, c->arg, all);
	}
}

void
conn_kick(struct conn *c)
{
	pull(c);
	if (c->in.len > 0 || c->eof)
		conn_later(c);
}

void
conn_close(struct conn **cp, bool polite)
{
	struct conn *c = *cp;

	*cp = NULL;
	assert_false(c->closed);
	if (polite && !c->eof)
		pull(c);
	c->h->open--;
	c->closed = true;
	conn_later(c);
}

int
conn_secure(struct conn *c, const struct ph_secure *p, struct ph_worker *w,
    const struct ph_secure_want *want)
{
	(void)w;
	assert_ptr_equal(p, &W.secure);
	assert_int_equal(want->side, PH_CLIENT);
	assert_string_equal(want->name.p, W.secure_name != NULL ? W.secure_name
	    : W.endpoints[c->h - W.hosts].host);
	buf_clear(&c->in);
	c->shaking = true;
	conn_later(c);
	return 0;
}

bool
conn_facts(struct conn *c, struct ph_secure_facts *out)
{
	*out = (struct ph_secure_facts){
		.version = STR("TLSv1.3"), .cipher = STR("X"), .verified = W.verified
	};
	if (!c->tls)
		out->problem = STR("bad certificate");
	return true;
}

int
conn_binding(struct conn *c, const char *type, uint8_t *out, size_t *len)
{
	(void)c; (void)type; (void)out; (void)len;
	return PH_ENOTSUP;
}

/* --- dialling --- */

static void
dial_run(struct ph_note *note)
{
	struct dial *d = container_of(note, struct dial, note);
	struct dial_result res = { .status = PH_ENOENT, .why = "no further host to try" };
	char why[120];

	for (size_t i = d->first; i < d->hop->hosts.n && !d->ended; i++) {
		size_t at = (size_t)(d->hop->hosts.v + i - W.endpoints);
		if (d->skip[i])
			continue;
		if (W.hosts[at].refuses) {
			snprintf(why, sizeof why, "%s[192.0.2.%u]:25: connection refused",
			    d->hop->hosts.v[i].host, (unsigned)i + 1);
			res = (struct dial_result){ .status = PH_EREFUSED, .why = why };
			continue;
		}
		res = (struct dial_result){ .stream = (struct stream *)(void *)&W.hosts[at],
			.host = d->hop->hosts.v[i].host,
			.host_index = i,
			.addr = { 4, 25, { 192, 0, 2, (uint8_t)(i + 1) } },
			.why = "" };
		break;
	}
	if (!d->ended)
		d->fn(d->arg, &res);
	free(d);
}

struct dial *
dial_start(struct loop *l, struct resolver *r, const struct ph_next_hop *hop, size_t first,
    ph_duration limit, void (*fn)(void *, const struct dial_result *), void *arg)
{
	struct dial *d = mem_new(struct dial);

	(void)r;
	(void)limit;
	*d = (struct dial){
		.hop = hop, .first = first, .fn = fn, .arg = arg, .note = { NULL, dial_run }
	};
	loop_defer(l, &d->note);
	return d;
}

void dial_skip(struct dial *d, const struct ph_addr *a) { d->skip[a->ip[3] - 1] = true; }
void dial_cancel(struct dial **d) { if (*d != NULL) (*d)->ended = true; *d = NULL; }

#endif
