/*
 * ask_check.c - questions to password checkers.  They are asked in the order
 * of the file until one says that the password is right; one that says "wrong",
 * or that it knows no such user, leaves the word to the next (so that the time
 * does not tell which of the two it was), and an error counts only when none
 * says right.
 *
 * A checker holds a struct ph_check by pointer and may answer late, so the
 * question lives until it has answered or the worker's plugins close; the asker
 * hears once, within the limit.  Passwords are wiped when the asker has heard.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "plugin/ask.h"
#include "plugin/private.h"

enum { CHECK_WAIT_MS = 30 * 1000, CREDENTIAL_MAX = 4096 };

struct ph_check {
	struct list link;               /* of the asker's worker */
	struct ph_worker *asker;
	size_t pos;                     /* the checker in question */
	char *user, *password, *scheme; /* scheme NULL: verify */
	size_t user_n, password_n;
	void (*done)(void *arg, int status, struct ph_str bytes);
	void *arg;
	struct timer timer;
	struct ph_note note;
	int status, other;              /* answer under way; an error of one before */
	struct buf bytes;
	bool asked;                     /* a checker holds it */
	bool posted;                    /* an answer is under way */
	bool heard;                     /* the asker was told */
};

struct ph_str
ph_check_user(const struct ph_check *c)
{
	return str_make(c->user, c->user_n);
}

struct ph_str
ph_check_password(const struct ph_check *c)
{
	return c->heard ? STR("") : str_make(c->password, c->password_n);
}

static void
wipe(struct ph_check *c)
{
	mem_wipe(c->password, c->password_n);
	if (c->bytes.data != NULL)
		mem_wipe(c->bytes.data, c->bytes.cap);
	buf_free(&c->bytes);
}

static void
check_free(struct ph_check *c)
{
	wipe(c);
	list_del(&c->link);
	c->asker->nchecks--;
	free(c->user);
	free(c->password);
	free(c->scheme);
	free(c);
}

/* Tells the asker, once. */
static void
check_tell(struct ph_check *c, int status)
{
	if (c->heard)
		return;
	timer_stop(c->asker->wp->loop, &c->timer);
	c->done(c->arg, status, status == 0 ? buf_view(&c->bytes) : STR(""));
	c->heard = true;
	wipe(c);
}

static void check_answered(struct ph_note *note);

static const struct provided *
checker_at(const struct ph_check *c)
{
	return &c->asker->wp->gen->checkers.v[c->pos];
}

/* Asks the checkers from pos on; false: none is left. */
static bool
check_go(struct ph_check *c)
{
	const struct provided_list *l = &c->asker->wp->gen->checkers;

	for (; c->pos < l->n; c->pos++) {
		const struct ph_password_checker *ops = l->v[c->pos].ops;
		struct ph_worker *w = worker_of(c->asker->wp, l->v[c->pos].inst);

		if (c->scheme == NULL ? ops->verify == NULL : ops->verifier == NULL)
			continue;
		c->asked = true;
		if (c->scheme == NULL)
			ops->verify(w, c);
		else
			ops->verifier(w, c, c->scheme);
		return true;
	}
	return false;
}

static void
check_answered(struct ph_note *note)
{
	struct ph_check *c = container_of(note, struct ph_check, note);

	c->posted = false;
	c->asked = false;
	if (c->heard) {
		check_free(c);
		return;
	}
	if (c->status != 0) {
		if (c->status != PH_EPERM && c->status != PH_ENOENT)
			c->other = c->status;
		c->pos++;
		if (check_go(c))
			return;
		c->status = c->other != 0 ? c->other : PH_EPERM;
	}
	check_tell(c, c->status);
	check_free(c);
}

void
ph_check_done(struct ph_check *c, int status, struct ph_str bytes)
{
	if (!c->asked || c->posted)     /* answered before */
		return;
	c->posted = true;
	c->status = status;
	if (status == 0 && !c->heard)
		buf_add(&c->bytes, bytes.p, bytes.n < MAX_STATE ? bytes.n : MAX_STATE);
	c->note.run = check_answered;
	loop_defer(c->asker->wp->loop, &c->note);
}

static void
check_late(struct timer *t)
{
	struct ph_check *c = container_of(t, struct ph_check, timer);

	ask_log_timeout(checker_at(c)->inst, "check");
	check_tell(c, PH_ETIMEOUT);     /* kept until the checker answers */
}

static char *
copy(struct ph_str s)
{
	return mem_strndup(s.p != NULL ? s.p : "", s.n);
}

int
ph_check_begin(struct ph_worker *w, struct ph_str user, struct ph_str password, const char *scheme,
               void (*done)(void *arg, int status, struct ph_str bytes), void *arg)
{
	struct ph_check *c;

	if (w->wp->closed)      /* one that is only retired still has sessions that log in */
		return PH_ECANCELED;
	if (user.n > CREDENTIAL_MAX || password.n > CREDENTIAL_MAX)
		return PH_EINVAL;
	if (w->nchecks >= MAX_CHECKS)
		return PH_EBUSY;
	c = mem_new(struct ph_check);
	c->asker = w;
	c->user = copy(user);
	c->user_n = user.n;
	c->password = copy(password);
	c->password_n = password.n;
	c->scheme = scheme != NULL ? mem_strdup(scheme) : NULL;
	c->done = done;
	c->arg = arg;
	list_push_back(&w->checks, &c->link);
	w->nchecks++;
	c->timer.fn = check_late;
	timer_start(w->wp->loop, &c->timer, CHECK_WAIT_MS);
	if (check_go(c))
		return 0;
	timer_stop(w->wp->loop, &c->timer);
	check_free(c);
	return PH_ENOTSUP;      /* no checker knows this kind of question */
}

void
checks_cancel(struct ph_worker *w)
{
	list_each(it, &w->checks)
		check_tell(container_of(it, struct ph_check, link), PH_ECANCELED);
}

/* After the last close: no checker answers any more. */
void
checks_free(struct ph_worker *w)
{
	while (!list_empty(&w->checks))
		check_free(container_of(w->checks.next, struct ph_check, link));
}
