/*
 * fuzz_record.c - arbitrary bytes as a segment file: recovery must come to an
 * end, and what it brings up must be readable or said to be damaged.
 *
 * The first byte chooses: 1, records are given valid checksums, so that what
 * is in them is reached; 2, the rest of the bytes is an index with a valid trailer.
 */
#include <stdlib.h>
#include <string.h>

#include "../fault/fake_io.h"
#include "base/abort.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/id.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "mail/content.h"
#include "store/record.h"

#define NONCE 0x1122334455667788ull
#define SIZE (64u << 10)
#define IDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct { struct ph_msgid id[4096]; size_t n; bool scanned; struct ph_mailbox home; struct ph_store *store; } f;

static void
added(void *arg, const struct ph_store_added *v, size_t n)
{
	(void)arg;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < f.n; k++)
			if (id_eq(f.id[k], v[i].id))
				ph_abort("reported twice");
		f.id[f.n++] = v[i].id;
	}
}

static void
scanned(void *arg, int status)
{
	(void)arg;
	(void)status;
	f.scanned = true;
}

static void
read_done(struct ph_store_request *r)
{
	if (r->op == PH_STORE_READ && r->status == 0 && ph_content_in_memory(r->content) && ph_content_size(r->content) > SIZE)
		ph_abort("content larger than its file");
	ph_store_release(r);
	ph_content_unref(&r->content);
	free(r);
}

static void
nothing(struct ph_store_request *r)
{
	free(r);
}

static int64_t now_us(void) { return 1000000; }

static void
pump(void)
{
	while (embedded_pump(f.store) || mailbox_run(&f.home) > 0)
		;
}

static void
ask(enum ph_store_op op, struct ph_msgid id, void (*done)(struct ph_store_request *))
{
	struct ph_store_request *r = mem_new(struct ph_store_request);

	r->op = op;
	r->id = id;
	r->done = done;
	r->home = &f.home;
	r->want = 4096;
	f.store->ops->submit(f.store, r);
}

static void
open_store(void)
{
	static const struct ph_store_events ev = { sizeof(ev), added, scanned, NULL };
	struct store_config cfg = { .dir = "/spool", .segment_size = SIZE, .io = &fake_io };
	char why[100];

	f.n = 0;
	f.scanned = false;
	mailbox_init(&f.home, NULL);
	if (embedded_open(&cfg, &ev, NULL, &f.store, why, sizeof why) != 0)
		ph_abort("open: %s", why);
	pump();
	if (!f.scanned)
		ph_abort("the scan did not end");
}

/* Makes a record of whatever stands at off; returns its span, 0 at the end. */
static uint64_t
make_valid(uint8_t *p, uint64_t off, uint32_t seq)
{
	uint64_t room = SIZE - off - RECORD_HEADER, seed = record_seed(NONCE, off);
	struct record r = { .type = (enum record_type)(1 + p[off + 9] % 5), .seq = seq };
	uint8_t *body = p + off + RECORD_HEADER;
	struct message_fixed m;

	r.length = le32_get(p + off + 12) % 2048;
	r.batch = off - (uint64_t)(p[off + 20] % 64) * RECORD_ALIGN;
	if (r.batch < SEGMENT_START || r.batch > off)
		r.batch = off;
	r.id.hi = p[off + 24] % IDS;
	if (r.type == RECORD_REMOVED)
		r.length = REMOVED_BODY;
	else if (r.type == RECORD_CUT)
		r.length = CUT_BODY;
	else if (r.type == RECORD_PROGRESS && r.length < PROGRESS_FIXED)
		r.length = PROGRESS_FIXED;
	else if (r.type == RECORD_MESSAGE && r.length < MESSAGE_FIXED)
		r.length = MESSAGE_FIXED;
	if (record_span(r.length) > room)
		return 0;
	if (r.type == RECORD_MESSAGE) {
		message_get(body, &m);
		room = r.length - MESSAGE_FIXED;
		m.meta %= (uint32_t)room + 1;
		m.head %= (uint32_t)(room - m.meta) + 1;
		m.content = room - m.meta - m.head;
		m.tag = m.content == 0 ? m.tag % 2 : 0;
		message_put(body, &m);
	} else if (r.type == RECORD_PROGRESS) {
		le32_put(body + RECORD_SUMMARY, r.length - PROGRESS_FIXED);
	} else if (r.type == RECORD_REMOVED || r.type == RECORD_CUT) {
		le64_put(body, le64_get(body) % 4);
	}
	r.sum = codec_checksum(body, r.length, seed);
	record_put(p + off, &r, seed);
	return record_span(r.length);
}

static void
put_index(uint8_t *p, const uint8_t *rows, size_t n)
{
	uint64_t at = SIZE / 2, seed = record_seed(NONCE, at);
	struct record r = { .type = RECORD_INDEX, .length = (uint32_t)n, .seq = 1, .batch = at };
	struct segment_trailer t = { 1, NONCE, at };

	memcpy(p + at + RECORD_HEADER, rows, n);
	r.sum = codec_checksum(rows, n, seed);
	record_put(p + at, &r, seed);
	segment_trailer_put(p + SIZE - SEGMENT_TRAILER, &t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct clock clock = { now_us, now_us };
	struct segment_id id = { 1, NONCE, SIZE };
	uint64_t off = SEGMENT_START, span;
	uint8_t *p, how;
	size_t n;

	if (size < 1 || size > SIZE / 2 - SEGMENT_START - SEGMENT_TRAILER)
		return 0;
	how = data[0];
	data++;
	size--;
	fake_reset(1);
	id_use_random(fake_bytes);
	clock_use(&clock);
	p = mem_calloc(1, SIZE + RECORD_HEADER);
	segment_header_put(p, &id, 0);
	memcpy(p + SEGMENT_COPY, p, SEGMENT_HEADER);
	memcpy(p + SEGMENT_START, data, size);
	if (how & 1)
		for (uint32_t seq = 1; off < SEGMENT_START + size; seq++, off += span)
			if ((span = make_valid(p, off, seq)) == 0)
				break;
	if (how & 2)
		put_index(p, data, size);
	fake_put("/spool/seg-0000000000000001.log", p, SIZE);
	fake_put("/spool/large/0000000000000000000V-00000001", "content", 7);
	free(p);
	open_store();
	n = f.n;
	for (size_t i = 0; i < n; i++) {
		ask(PH_STORE_READ, f.id[i], read_done);
		ask(PH_STORE_READ_PART, f.id[i], read_done);
	}
	pump();
	f.store->ops->close(f.store);
	(void)mailbox_run(&f.home);
	open_store();                   /* nothing gets lost by being found */
	if (f.n != n)
		ph_abort("%zu messages, then %zu", n, f.n);
	for (size_t i = 0; i < n; i++)
		ask(PH_STORE_REMOVE, f.id[i], nothing);
	pump();
	f.store->ops->close(f.store);
	(void)mailbox_run(&f.home);
	open_store();
	if (f.n != 0)
		ph_abort("%zu messages after all were removed", f.n);
	f.store->ops->close(f.store);
	fake_reset(0);
	id_use_random(NULL);
	clock_use(NULL);
	return 0;
}
