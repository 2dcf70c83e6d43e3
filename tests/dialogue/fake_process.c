/*
 * fake_process.c - child processes that a test plays.  fake_loop.h tells how.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "base/str.h"
#include "fake_private.h"

struct program {
	struct list link;
	char *name;
	void (*input)(void *arg, struct fake_child *c, struct ph_str bytes);
	void *arg;
	size_t kills;
};

struct fake_child {
	struct list link;
	struct loop *l;
	struct program *program;
	struct process_events ev;
	void *arg;
	struct ph_note note;            /* frees it */
	struct buf in, out, err;
	int status, signum;
	bool started, ended;
};

struct process { struct fake_child child; };

static struct list programs = { &programs, &programs };
static struct list children = { &children, &children };

static struct program *
program_named(const char *name)
{
	list_each(it, &programs) {
		struct program *g = container_of(it, struct program, link);
		if (strcmp(g->name, name) == 0)
			return g;
	}
	return NULL;
}

static void
child_release(struct ph_note *note)
{
	struct fake_child *c = container_of(note, struct fake_child, note);
	free(container_of(c, struct process, child));
}

static void
child_gone(struct fake_child *c)
{
	list_del(&c->link);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->err);
	fake_opened(c->l, -1);
	loop_defer(c->l, &c->note);
}

/* Hands over what one buffer holds; the callback may end the child. */
static void
child_tell(struct fake_child *c, struct buf *from, void (*fn)(void *arg, struct ph_str bytes))
{
	struct buf b = *from;
	*from = (struct buf){ 0 };
	if (fn != NULL)
		fn(c->arg, buf_view(&b));
	buf_free(&b);
}

bool
fake_processes_step(struct loop *l)
{
	list_each(it, &children) {
		struct fake_child *c = container_of(it, struct fake_child, link);
		if (c->l != l)
			continue;
		if (!c->started || c->in.len > 0) {
			struct buf b = c->in;
			c->in = (struct buf){ 0 };
			if (!c->started)
				c->program->input(c->program->arg, c, (struct ph_str){ NULL, 0 });
			c->started = true;
			if (b.len > 0 && !c->ended)
				c->program->input(c->program->arg, c, buf_view(&b));
			buf_free(&b);
		} else if (c->err.len > 0) {
			child_tell(c, &c->err, c->ev.error_output);
		} else if (c->out.len > 0) {
			child_tell(c, &c->out, c->ev.output);
		} else if (c->ended) {
			child_gone(c);
			if (c->ev.ended != NULL)
				c->ev.ended(c->arg, c->status, c->signum);
		} else {
			continue;
		}
		return true;
	}
	return false;
}

struct process *
process_start(struct loop *l, const char *const *argv, const struct process_events *ev, void *arg, int *err)
{
	struct program *g = argv[0] == NULL ? NULL : program_named(argv[0]);
	if (g == NULL) {
		if (err != NULL)
			*err = PH_ENOENT;
		return NULL;
	}
	struct process *p = mem_new(struct process);
	p->child = (struct fake_child){ .l = l, .program = g, .ev = *ev, .arg = arg };
	p->child.note.run = child_release;
	list_push_back(&children, &p->child.link);
	fake_opened(l, 1);
	return p;
}

int
process_write(struct process *p, const void *data, size_t n)
{
	if (p->child.ended)
		return PH_ECLOSED;
	buf_add(&p->child.in, data, n);
	return 0;
}

bool
process_spoke(struct process *p)
{
	return p->child.out.len > 0;
}

void
process_kill(struct process *p, int signum)
{
	p->child.program->kills++;
	fake_child_ends(&p->child, -1, signum);
}

void
process_forget(struct process **pp)
{
	struct process *p = *pp;
	if (p == NULL)
		return;
	*pp = NULL;
	if (!list_linked(&p->child.link))
		return;         /* inside its own ended() */
	p->child.program->kills++;
	child_gone(&p->child);
}

void
fake_program(const char *name, void (*input)(void *arg, struct fake_child *c, struct ph_str bytes), void *arg)
{
	struct program *g = program_named(name);
	if (g == NULL) {
		g = mem_new(struct program);
		g->name = mem_strdup(name);
		list_push_back(&programs, &g->link);
	}
	g->input = input;
	g->arg = arg;
}

void
fake_child_says(struct fake_child *c, const char *text, size_t n)
{
	buf_add(&c->out, text, n);
}

void
fake_child_complains(struct fake_child *c, const char *text)
{
	buf_adds(&c->err, text);
}

void
fake_child_ends(struct fake_child *c, int status, int signum)
{
	if (c->ended)
		return;
	c->ended = true;
	c->started = true;
	buf_free(&c->in);
	c->status = status;
	c->signum = signum;
}

size_t
fake_kills(const char *name)
{
	struct program *g = program_named(name);
	return g == NULL ? 0 : g->kills;
}

void
fake_processes_forget(void)
{
	for (struct list *it; (it = list_pop(&programs)) != NULL; ) {
		struct program *g = container_of(it, struct program, link);
		free(g->name);
		free(g);
	}
}
