/* world.c - see world.h.  A broken promise aborts with a line that tells which. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/abort.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"
#include "mail/content.h"
#include "world.h"

struct world world;

static int64_t now_us(void) { return world.now * 1000; }
static const struct clock fake_clock = { now_us, now_us };

/* The bytes of a message follow from its id, of a part of it also from salt. */
static char *
bytes_of(const struct world_msg *m, size_t n, uint32_t salt)
{
	uint64_t word = (m->id.hi ^ m->id.lo) * 0x9e3779b97f4a7c15ull + salt;
	char *p = mem_alloc(n + sizeof word);

	for (size_t i = 0; i < n; i += sizeof word) {
		word = word * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(p + i, &word, sizeof word);
	}
	return p;
}

static struct world_msg *
find(struct ph_msgid id)
{
	for (size_t i = world.n; i-- > 0; )
		if (id_eq(world.v[i].id, id))
			return &world.v[i];
	return NULL;
}

static void
added(void *arg, const struct ph_store_added *v, size_t n)
{
	(void)arg;
	for (size_t i = 0; i < n; i++) {
		struct world_msg *m = find(v[i].id);

		if (m == NULL)
			ph_abort("a message was invented: %llx", (unsigned long long)v[i].id.hi);
		if (m->reported)
			ph_abort("message %td was reported twice", m - world.v);
		if (m->removed && !world.damaged)
			ph_abort("message %td was removed and is there again", m - world.v);
		m->reported = true;
	}
}

static void
scanned(void *arg, int status)
{
	(void)arg;
	world.scanned = true;
	world.scan_status = status;
}

static void
room(void *arg, bool enough)
{
	(void)arg;
	world.room = enough;
}

static const struct ph_store_events events = { sizeof(events), added, scanned, room };

static void
log_line(void *arg, int level, const char *event, const char *text)
{
	(void)arg;
	(void)snprintf(world.log, sizeof world.log, "%s %s", event, text);
	world.errors += level == 0;
	if (getenv("WORLD_LOG") != NULL)
		fprintf(stderr, "  [%d] %s %s\n", level, event, text);
}

void
world_start(uint64_t seed, uint64_t segment_size)
{
	world_end();
	fake_reset(seed);
	id_use_random(fake_bytes);
	world.now = 1000000;
	clock_use(&fake_clock);
	world.cfg = (struct store_config){ .dir = "/spool", .segment_size = segment_size,
	    .spill_above = 16384, .lazy_ms = 50, .io = &fake_io, .log = log_line };
	mailbox_init(&world.home, NULL);
}

void
world_open(void)
{
	char why[256] = "";
	int rc;

	world.scanned = false;
	world.room = true;
	world.open = world.errors = 0;
	mailbox_init(&world.home, NULL);
	for (size_t i = 0; i < world.n; i++)
		world.v[i].reported = false;
	rc = embedded_open(&world.cfg, &events, NULL, &world.store, why, sizeof why);
	if (rc != 0 && !fake_is_off())
		ph_abort("open: %d %s", rc, why);
	if (rc != 0)
		world.store = NULL;
}

static size_t
answers(void)
{
	/* a machine without power tells nobody anything */
	return fake_is_off() ? 0 : mailbox_run(&world.home);
}

bool
world_pump(void)
{
	bool more = world.store != NULL && embedded_pump(world.store);

	return (answers() > 0 || more) && !fake_is_off();
}

void
world_settle(void)
{
	while (world_pump())
		;
}

void
world_pass(int64_t ms)
{
	world.now += ms;
	world_settle();
}

static void
free_request(struct ph_note *n)
{
	struct ph_store_request *r = container_of(n, struct ph_store_request, note);

	ph_store_release(r);
	ph_content_unref(&r->content);
	free(r->arg);
	free(r);
}

void
world_close(void)
{
	if (world.store != NULL)
		world.store->ops->close(world.store);
	world.store = NULL;
	(void)answers();
}

void
world_kill(void)
{
	fake_freeze(true);
	world_die();
	fake_freeze(false);
}

void
world_die(void)
{
	struct ph_note *n, *next;

	/* what the store still does to its files now meets a dead disk */
	fake_cut();
	if (world.store != NULL)
		world.store->ops->close(world.store);
	world.store = NULL;
	for (n = mailbox_take(&world.home); n != NULL; n = next) {
		next = n->next;
		free_request(n);
	}
}

static struct ph_store_request *
request(enum ph_store_op op, struct ph_msgid id, void (*done)(struct ph_store_request *))
{
	struct ph_store_request *r = mem_new(struct ph_store_request);

	r->op = op;
	r->id = id;
	r->home = &world.home;
	r->done = done;
	world.open++;
	return r;
}

static void
submit(struct ph_store_request *r)
{
	if (world.store == NULL)
		free_request(&r->note);
	else
		world.store->ops->submit(world.store, r);
}

static void
finished(struct ph_store_request *r)
{
	world.open--;
	free_request(&r->note);
}

static void
append_done(struct ph_store_request *r)
{
	struct world_msg *m = find(r->id);

	m->status = r->status;
	m->state = r->status == 0 ? W_STORED : r->status == PH_EDOUBT ? W_DOUBT : W_REFUSED;
	if (r->status == 0 && !m->reported)
		ph_abort("done came before added");
	finished(r);
}

size_t
world_append(uint32_t meta, uint32_t size, bool parts)
{
	struct world_msg *m;
	struct ph_store_request *r;
	char *p;

	if (world.n == world.cap) {
		world.cap = world.cap != 0 ? world.cap * 2 : 64;
		world.v = mem_realloc(world.v, world.cap * sizeof(*world.v));
	}
	m = &world.v[world.n++];
	*m = (struct world_msg){ .id = id_new(), .meta = meta, .size = size, .large = parts };
	p = bytes_of(m, size, 0);
	for (uint32_t off = 0; parts && off < size; off += 8192) {
		r = request(PH_STORE_PART, m->id, finished);
		r->offset = off;
		r->arg = mem_alloc(8192);
		r->bytes.n = size - off < 8192 ? size - off : 8192;
		memcpy(r->arg, p + off, r->bytes.n);
		r->bytes.p = r->arg;
		submit(r);
	}
	r = request(PH_STORE_APPEND, m->id, append_done);
	r->meta.p = r->arg = bytes_of(m, meta, 1);
	r->meta.n = meta;
	r->summary = (struct ph_store_summary){ .created = (int64_t)m->id.hi, .size = size,
	    .recipients = 1 };
	if (!parts) {
		r->content = content_new();
		/* several blocks, of all sorts */
		for (uint32_t off = 0; off < size; ) {
			uint32_t n = (uint32_t)(fake_random() % 5000) + 1;

			if (n > size - off)
				n = size - off;
			content_append(r->content, p + off, n, 0);
			off += n;
		}
	}
	free(p);
	submit(r);
	return world.n - 1;
}

static void
progress_done(struct ph_store_request *r)
{
	struct world_msg *m = find(r->id);

	if (r->status == 0 && r->summary.attempts > m->sure)
		m->sure = r->summary.attempts;
	if (r->status != 0 && r->status != PH_ENOENT && r->status != PH_EIO)
		ph_abort("progress: %d", r->status);
	finished(r);
}

void
world_progress(size_t i)
{
	struct world_msg *m = &world.v[i];
	struct ph_store_request *r = request(PH_STORE_PROGRESS, m->id, progress_done);

	m->sent++;
	r->summary.attempts = m->sent;
	r->summary.created = (int64_t)m->id.hi;
	r->progress.n = 40 + m->sent * 13 % 200;
	r->progress.p = r->arg = bytes_of(m, r->progress.n, m->sent + 1);
	submit(r);
}

static void
remove_done(struct ph_store_request *r)
{
	struct world_msg *m = find(r->id);

	if (r->status == 0) {
		m->removed = true;
		m->reported = false;
	} else if (r->status != PH_EIO && !world.damaged)
		ph_abort("remove: %d", r->status);
	finished(r);
}

void
world_remove(size_t i)
{
	world.v[i].remove_asked = true;
	submit(request(PH_STORE_REMOVE, world.v[i].id, remove_done));
}

static void
kept(struct ph_store_request *r)
{
	world.open--;
	world.last = r;
}

static void
same(const char *what, size_t i, const char *got, size_t n, uint32_t size, uint32_t salt)
{
	char *want;

	if (n != size)
		ph_abort("message %zu: %s is %zu bytes, not %u", i, what, n, size);
	want = bytes_of(&world.v[i], n, salt);
	if (n > 0 && memcmp(got, want, n) != 0)
		ph_abort("message %zu: %s differs", i, what);
	free(want);
}

static void
same_parts(size_t i)
{
	struct world_msg *m = &world.v[i];
	char *p = mem_alloc(m->size + 1);

	for (uint64_t off = 0; off < m->size; ) {
		struct ph_store_request *r = request(PH_STORE_READ_PART, m->id, kept);

		r->offset = off;
		r->want = 5000;
		submit(r);
		world.last = NULL;
		world_settle();
		if (world.damaged && world.last != NULL && r->status != 0) {
			free_request(&r->note);
			free(p);
			return;
		}
		if (world.last == NULL || r->status != 0 || r->bytes.n == 0)
			ph_abort("message %zu: part at %llu: %d", i, (unsigned long long)off, r->status);
		memcpy(p + off, r->bytes.p, r->bytes.n);
		off += r->bytes.n;
		free_request(&r->note);
	}
	world.last = NULL;
	same("content", i, p, m->size, m->size, 0);
	free(p);
}

int
world_read(size_t i)
{
	struct world_msg *m = &world.v[i];
	struct ph_store_request *r = request(PH_STORE_READ, m->id, kept);
	uint32_t step;
	char *p;
	int rc;

	world.last = NULL;
	submit(r);
	world_settle();
	if (world.last == NULL)
		ph_abort("message %zu: the read was not answered", i);
	rc = r->status;
	if (rc != 0) {
		free_request(&r->note);
		return rc;
	}
	same("meta", i, r->meta.p, r->meta.n, m->meta, 1);
	if (ph_content_size(r->content) != m->size)
		ph_abort("message %zu: content is %llu bytes", i,
		    (unsigned long long)ph_content_size(r->content));
	if (ph_content_in_memory(r->content)) {
		p = mem_alloc(m->size + 1);
		(void)content_copy(r->content, 0, p, m->size);
		same("content", i, p, m->size, m->size, 0);
		free(p);
	} else
		same_parts(i);
	step = r->summary.attempts;
	if ((step < m->sure && !world.damaged) || step > m->sent)
		ph_abort("message %zu: progress %u, but %u is sure and %u was sent", i, step, m->sure, m->sent);
	if (step != 0)
		same("progress", i, r->progress.p, r->progress.n, 40 + step * 13 % 200, step + 1);
	free_request(&r->note);
	return 0;
}

void
world_check(void)
{
	for (size_t i = 0; i < world.n; i++) {
		struct world_msg *m = &world.v[i];

		if (world.damaged) {
			if (m->reported)
				(void)world_read(i);    /* right or said to be damaged */
			continue;
		}
		if (m->state == W_STORED && !m->remove_asked && !m->reported)
			ph_abort("message %zu was acknowledged and is lost", i);
		if (!m->reported)
			continue;
		if (m->state == W_REFUSED)
			ph_abort("message %zu was refused (%d) and is there", i, m->status);
		int rc = world_read(i);
		if (rc != 0)
			ph_abort("message %zu cannot be read: %d", i, rc);
		/* what came up once stays until it is removed */
		if (m->state == W_ASKED || m->state == W_DOUBT)
			m->state = W_STORED;
	}
}

void
world_end(void)
{
	if (world.store != NULL)
		world_die();
	free(world.v);
	memset(&world, 0, sizeof world);
	fake_reset(0);
	id_use_random(NULL);
	clock_use(NULL);
}
