/*
 * envelope.c - the envelope and the delivery progress, and their stored form.
 *
 * The stored form is what the queue's "meta" and "progress" bytes are: a
 * version byte, then fields in fixed order, little-endian.  Reading trusts
 * nothing: every length is checked against what is there, and bytes that are
 * left over are as wrong as bytes that are missing.
 *
 *   envelope: u8 version=1 | u8 body | u8 smtputf8 | u8 ret | u64 declared size
 *     | u64 arrived | from | envid | client_addr | client_hello | login | protocol
 *     | u32 n | n * (to | orcpt | u8 notify)
 *   address:  u16 local length | u8 flags (1 utf8, 2 literal) | lstr full
 *   progress: u8 version=1 | u64 last attempt | u32 n
 *     | n * (u8 state | u16 code | lstr reply | lstr remote)
 */
#include "mail/envelope.h"

#define VERSION 1
#define REPLY_MAX 1000          /* of a remote's last words */
#define REMOTE_MAX 255
#define FIRST_RCPTS 4
#define RCPT_BYTES_MIN (2 + 1 + 4 + 4 + 1)
#define PROGRESS_BYTES_MIN (1 + 2 + 4 + 4)

enum { A_UTF8 = 1, A_LITERAL = 2 };

void
envelope_init(struct envelope *e, struct arena *arena)
{
	*e = (struct envelope){ .arena = arena };
}

struct recipient *
envelope_add(struct envelope *e)
{
	if (e->nrcpts == e->cap) {
		uint32_t cap = e->cap != 0 ? e->cap * 2 : FIRST_RCPTS;
		struct recipient *v = arena_alloc(e->arena, cap * sizeof(*v));

		if (e->nrcpts != 0)
			memcpy(v, e->rcpts, e->nrcpts * sizeof(*v));
		e->rcpts = v;
		e->cap = cap;
	}
	return &e->rcpts[e->nrcpts++];
}

static void
put_address(struct buf *out, const struct address *a)
{
	buf_u16(out, (uint16_t)a->local.n);
	buf_u8(out, (uint8_t)((a->utf8 ? A_UTF8 : 0) | (a->literal ? A_LITERAL : 0)));
	buf_lstr(out, a->full);
}

void
envelope_encode(const struct envelope *e, struct buf *out)
{
	buf_u8(out, VERSION);
	buf_u8(out, (uint8_t)e->body);
	buf_u8(out, e->smtputf8);
	buf_u8(out, (uint8_t)e->ret);
	buf_u64(out, e->declared_size);
	buf_u64(out, (uint64_t)e->arrived);
	put_address(out, &e->from);
	buf_lstr(out, e->envid);
	buf_lstr(out, e->client_addr);
	buf_lstr(out, e->client_hello);
	buf_lstr(out, e->login);
	buf_lstr(out, e->protocol);
	buf_u32(out, e->nrcpts);
	for (uint32_t i = 0; i < e->nrcpts; i++) {
		put_address(out, &e->rcpts[i].to);
		buf_lstr(out, e->rcpts[i].orcpt);
		buf_u8(out, e->rcpts[i].notify);
	}
}

static struct ph_str
get_str(struct reader *r, struct arena *arena)
{
	struct ph_str s = read_lstr(r);

	return r->bad || s.n == 0 ? STR("") : arena_str(arena, s);
}

static void
get_address(struct reader *r, struct arena *arena, struct address *a)
{
	uint16_t local = read_u16(r);
	uint8_t flags = read_u8(r);
	struct ph_str full = get_str(r, arena);

	if (local > full.n || (local < full.n && full.p[local] != '@') || flags > 3)
		r->bad = true;
	if (r->bad)
		return;
	a->full = full;
	a->local = str_head(full, local);
	a->domain = local < full.n ? str_skip(full, (size_t)local + 1) : STR("");
	a->utf8 = (flags & A_UTF8) != 0;
	a->literal = (flags & A_LITERAL) != 0;
}

int
envelope_decode(struct ph_str bytes, struct arena *arena, struct envelope *out)
{
	struct reader r = reader_of(bytes);
	struct envelope e = { .arena = arena };
	uint8_t body, utf8, ret;
	uint32_t n;

	if (read_u8(&r) != VERSION)
		return PH_ECORRUPT;
	body = read_u8(&r);
	utf8 = read_u8(&r);
	ret = read_u8(&r);
	if (body > BODY_BINARYMIME || utf8 > 1 || ret > RET_HDRS)
		return PH_ECORRUPT;
	e.body = (enum mail_body)body;
	e.smtputf8 = utf8 != 0;
	e.ret = (enum mail_ret)ret;
	e.declared_size = read_u64(&r);
	e.arrived = (int64_t)read_u64(&r);
	get_address(&r, arena, &e.from);
	e.envid = get_str(&r, arena);
	e.client_addr = get_str(&r, arena);
	e.client_hello = get_str(&r, arena);
	e.login = get_str(&r, arena);
	e.protocol = get_str(&r, arena);
	n = read_u32(&r);
	/* a count that the bytes cannot hold must not size an allocation */
	if (r.bad || n > (size_t)(r.end - r.p) / RCPT_BYTES_MIN)
		return PH_ECORRUPT;
	if (n != 0)
		e.rcpts = arena_alloc(arena, n * sizeof(*e.rcpts));
	e.cap = e.nrcpts = n;
	for (uint32_t i = 0; i < n && !r.bad; i++) {
		get_address(&r, arena, &e.rcpts[i].to);
		e.rcpts[i].orcpt = get_str(&r, arena);
		e.rcpts[i].notify = read_u8(&r);
	}
	if (r.bad || r.p != r.end)
		return PH_ECORRUPT;
	*out = e;
	return 0;
}

void
progress_encode(const struct progress *p, struct buf *out)
{
	buf_u8(out, VERSION);
	buf_u64(out, (uint64_t)p->last_attempt);
	buf_u32(out, p->nrcpts);
	for (uint32_t i = 0; i < p->nrcpts; i++) {
		const struct rcpt_progress *rp = &p->rcpts[i];

		buf_u8(out, (uint8_t)rp->state);
		buf_u16(out, rp->code);
		buf_lstr(out, str_head(rp->reply, REPLY_MAX));
		buf_lstr(out, str_head(rp->remote, REMOTE_MAX));
	}
}

int
progress_decode(struct ph_str bytes, uint32_t nrcpts, struct arena *arena, struct progress *out)
{
	struct reader r = bytes.n != 0 ? reader_of(bytes) : (struct reader){ NULL, NULL, false };
	struct progress p = { .nrcpts = nrcpts };

	if (bytes.n != 0) {
		if (read_u8(&r) != VERSION)
			return PH_ECORRUPT;
		p.last_attempt = (int64_t)read_u64(&r);
		if (read_u32(&r) != nrcpts || r.bad ||
		    nrcpts > (size_t)(r.end - r.p) / PROGRESS_BYTES_MIN)
			return PH_ECORRUPT;
	}
	if (nrcpts != 0)
		p.rcpts = arena_alloc(arena, nrcpts * sizeof(*p.rcpts));
	for (uint32_t i = 0; i < nrcpts && bytes.n != 0; i++) {
		uint8_t state = read_u8(&r);

		p.rcpts[i].code = read_u16(&r);
		p.rcpts[i].reply = get_str(&r, arena);
		p.rcpts[i].remote = get_str(&r, arena);
		if (r.bad || state > RCPT_EXPIRED)
			return PH_ECORRUPT;
		p.rcpts[i].state = (enum rcpt_state)state;
	}
	if (r.p != r.end)
		return PH_ECORRUPT;
	*out = p;
	return 0;
}
