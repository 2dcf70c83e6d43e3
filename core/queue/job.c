/*
 * job.c - leases and the identity of sites.
 *
 * A job is owned by whoever holds it: the queue, then a worker, then the
 * queue again.  It travels as a note, so handing it over is the only
 * synchronisation it needs.  Sites are shared by all threads and immutable
 * but for their count.
 */
#include <stdlib.h>

#include "queue/job.h"
#include "base/codec.h"
#include "base/mem.h"
#include "base/str.h"

/* One chunk holds envelope, outcomes and replies of an ordinary message. */
enum { JOB_ARENA_CHUNK = 4000 };

struct site_info *
site_info_new(struct ph_str key, struct ph_str name, int64_t connections,
              int64_t messages_per_connection)
{
	struct site_info *s = mem_new(struct site_info);
	atomic_init(&s->refs, 1);
	s->hash = codec_checksum(key.p, key.n, 0);
	if (s->hash == 0)       /* 0 means "unknown" in summaries */
		s->hash = 1;
	s->key = mem_strndup(key.n > 0 ? key.p : "", key.n);
	s->name = mem_strndup(name.n > 0 ? name.p : "", name.n);
	s->login = mem_strdup("");
	s->connections = connections;
	s->messages_per_connection = messages_per_connection;
	return s;
}

void
site_info_login(struct site_info *s, const char *login)
{
	free(s->login);
	s->login = mem_strdup(login);
}

struct site_info *
site_info_ref(struct site_info *s)
{
	if (s != NULL)
		atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void
site_info_unref(struct site_info **sp)
{
	struct site_info *s = *sp;
	*sp = NULL;
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(s->key);
	free(s->name);
	free(s->login);
	free(s);
}

struct job *
job_new(void)
{
	struct job *j = mem_new(struct job);
	arena_init(&j->arena, JOB_ARENA_CHUNK);
	return j;
}

void
job_free(struct job **jp)
{
	struct job *j = *jp;
	*jp = NULL;
	if (j == NULL)
		return;
	for (uint32_t i = 0; i < j->ngroups; i++)
		site_info_unref(&j->groups[i].site);
	site_info_unref(&j->site);
	if (j->content != NULL)
		ph_content_unref(&j->content);
	free(j->meta);
	arena_reset(&j->arena);
	free(j);
}

void
job_return(struct job *j, struct outbox *out)
{
	j->note.run = j->back;
	if (out != NULL)
		outbox_add(out, &j->note);
	else
		ph_post(j->home, &j->note);
}
