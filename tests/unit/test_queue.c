/*
 * test_queue.c - the schedule on simulated time: retry list, expiry, delay
 * notice, reports, badmail, restarts, clocks that jump, memory.
 */
#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue_sim.h"

/* Answers every job as it comes; returns how many there were. */
static size_t
answer_all(struct sim *s, enum job_rcpt_outcome what, uint16_t code, const char *reply)
{
	struct job *j;
	size_t n = 0;

	while ((j = sim_take(s)) != NULL) {
		sim_outcome(s, j, what, code, reply);
		sim_run(s);
		n++;
	}
	return n;
}

static void
delivered_at_once(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });
	struct job *j;

	(void)state;
	sim_run(s);
	j = sim_take(s);
	assert_non_null(j);
	assert_int_equal(j->kind, JOB_DELIVER);
	assert_ptr_equal(j->site, site);
	assert_non_null(j->meta);               /* nothing is read again */
	assert_non_null(j->content);
	sim_outcome(s, j, JR_DELIVERED, 250, "2.0.0 Ok");
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	assert_int_equal(sim_msg(s, id)->writes, 0);
	assert_int_equal(s->reads, 0);
	assert_int_equal(sim_counts(s).messages, 0);
	assert_int_equal(sim_counts(s).hot_bytes, 0);
	assert_int_equal(sim_counts(s).delivered, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
unknown_site_is_routed_first(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct job *j;
	uint32_t all[] = { 0 };

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ 0 });
	sim_run(s);
	j = sim_take(s);
	assert_non_null(j);
	assert_int_equal(j->kind, JOB_ROUTE);
	assert_null(j->site);
	sim_open(s, j);
	j->groups = arena_new(&j->arena, struct job_group);
	*j->groups = (struct job_group){ site_info_ref(site), all, 1 };
	j->ngroups = 1;
	(void)sim_rcpt(j, 0, JR_NONE, 0, "");   /* named, but without an outcome */
	j->site_ok = false;
	sim_return(s, j, JOB_ROUTED);
	sim_run(s);
	assert_int_equal(s->progressed, 0);     /* nothing happened that is worth a record */
	j = sim_take(s);
	assert_non_null(j);
	assert_int_equal(j->kind, JOB_DELIVER);
	assert_string_equal(j->site->name, "hub");
	assert_non_null(j->meta);               /* still in memory */
	sim_outcome(s, j, JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_int_equal(s->removed, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
retry_list_then_expiry(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });
	static const int64_t waits[] = { 15, 30, 60, 240, 240, 240 };
	int64_t start = s->mono, last;
	char *text;

	(void)state;
	sim_run(s);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "4.3.0 later"), 1);
	for (size_t i = 0; i < 6; i++) {
		int64_t due = s->mono + waits[i] * MIN_MS;

		assert_int_equal(sim_counts(s).deferred, 1);
		assert_int_equal(sim_msg(s, id)->summary.due, s->wall + waits[i] * MIN_MS);
		assert_int_equal(sim_msg(s, id)->summary.attempts, i + 1);
		while (s->mono < due) {
			assert_int_equal(answer_all(s, JR_DELIVERED, 250, "x"), 0);
			(void)sim_next(s, due - s->mono);
			if (s->mono < due && s->njobs > 0)      /* the delay notice */
				(void)answer_all(s, JR_DELIVERED, 250, "ok");
		}
		assert_int_equal(s->njobs, 1);
		last = s->mono;
		assert_int_equal(answer_all(s, JR_DEFERRED, 451, "4.3.0 later"), 1);
	}
	/* the last attempt is made when the time is over, no later */
	while (!sim_msg(s, id)->removed) {
		struct job *j;

		(void)sim_next(s, DAY_MS);
		while ((j = sim_take(s)) != NULL) {
			last = s->mono;
			if (id_eq(j->id, id))
				sim_outcome(s, j, JR_DEFERRED, 451, "4.3.0 later");
			else
				sim_outcome(s, j, JR_DELIVERED, 250, "ok");
			sim_run(s);
		}
	}
	assert_int_equal(last - start, 2 * DAY_MS);
	text = sim_text(s, s->last_appended);
	assert_non_null(strstr(text, "Action: failed\r\nStatus: 4.4.7\r\n"));
	assert_non_null(strstr(text, "Diagnostic-Code: smtp; 451 4.3.0 later\r\n"));
	free(text);
	assert_true(sim_logged(s, "event=queue.expired"));
	assert_int_equal(sim_counts(s).expired, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
delay_notice_comes_once(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });
	int64_t start = s->mono, told = 0;
	char *text;

	(void)state;
	sim_run(s);
	while (s->mono < start + 40 * HOUR_MS) {
		struct job *j;

		while ((j = sim_take(s)) != NULL) {
			if (id_eq(j->id, id))
				sim_outcome(s, j, JR_DEFERRED, 450, "4.2.1 busy");
			else
				sim_outcome(s, j, JR_DELIVERED, 250, "ok");
			sim_run(s);
		}
		if (s->appended == 1 && told == 0)
			told = s->mono;
		(void)sim_next(s, HOUR_MS);
	}
	assert_int_equal(s->appended, 1);
	assert_int_equal(told, start + 12 * HOUR_MS);   /* on time, between two attempts */
	assert_int_equal(sim_count_logged(s, "event=queue.notice"), 1);
	assert_true(sim_msg(s, id)->summary.flags & PH_STORE_NOTIFIED);
	text = sim_text(s, s->last_appended);
	assert_non_null(strstr(text, "Action: delayed\r\n"));
	assert_non_null(strstr(text, "Will-Retry-Until: "));
	free(text);
	site_info_unref(&site);
	sim_free(s);
}

static void
notice_honours_notify(void **state)
{
	static const struct { const char *name; const char *from; uint8_t notify; size_t reports; } t[] = {
		{ "default", NULL, NOTIFY_DEFAULT, 1 },
		{ "delay asked", NULL, NOTIFY_DELAY, 1 },
		{ "failure only", NULL, NOTIFY_FAILURE, 0 },
		{ "never", NULL, NOTIFY_NEVER, 0 },
		{ "null sender", "", NOTIFY_DEFAULT, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct queue_config cfg = sim_config();
		struct sim *s = sim_new(&cfg);
		struct site_info *site = sim_site("hub", 4);
		struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site, .from = t[i].from,
			.notify = { t[i].notify } });

		sim_run(s);
		for (int64_t end = s->mono + 14 * HOUR_MS; s->mono < end; (void)sim_next(s, HOUR_MS)) {
			struct job *j;

			while ((j = sim_take(s)) != NULL) {
				if (id_eq(j->id, id))
					sim_outcome(s, j, JR_DEFERRED, 450, "busy");
				else
					sim_outcome(s, j, JR_DELIVERED, 250, "ok");
				sim_run(s);
			}
		}
		if (s->appended != t[i].reports)
			fail_msg("%s: %zu reports", t[i].name, s->appended);
		site_info_unref(&site);
		sim_free(s);
	}
}

static void
failure_is_reported_before_removal(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });
	const struct sim_msg *report;
	char *text;

	(void)state;
	sim_run(s);
	s->hold_store = true;
	sim_outcome(s, sim_take(s), JR_FAILED, 550, "5.1.1 No such user");
	sim_run(s);
	assert_false(sim_msg(s, id)->removed);
	assert_false(queue_drained(s->q));
	s->hold_store = false;
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	assert_int_equal(s->appended, 1);
	report = sim_msg(s, s->last_appended);
	assert_int_equal(report->summary.flags, PH_STORE_BOUNCE);
	text = sim_text(s, s->last_appended);
	assert_non_null(strstr(text, "To: <a@example.org>\r\n"));
	assert_non_null(strstr(text, "Final-Recipient: rfc822; b@example.net\r\n"));
	assert_non_null(strstr(text, "Status: 5.1.1\r\n"));
	assert_non_null(strstr(text, "Subject: hello\r\n"));
	assert_null(strstr(text, "The body."));
	free(text);
	/* the report itself goes out like any message */
	assert_int_equal(s->njobs, 1);
	assert_int_equal(sim_counts(s).bounced, 1);
	assert_int_equal(sim_counts(s).bounces_sent, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
report_that_cannot_be_stored_keeps_the_message(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site,
		.to = { "b@example.net", "c@example.net" } });
	struct job *j;

	(void)state;
	sim_run(s);
	s->append_status = PH_ENOSPC;
	j = sim_take(s);
	sim_open(s, j);
	sim_rcpt(j, 0, JR_DELIVERED, 250, "ok");
	sim_rcpt(j, 1, JR_FAILED, 550, "no");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_false(sim_msg(s, id)->removed);
	assert_int_equal(sim_counts(s).messages, 1);
	s->append_status = 0;
	sim_pass(s, 61000);
	j = sim_take(s);                /* only the one that failed is tried again */
	assert_non_null(j);
	sim_open(s, j);
	assert_int_equal(j->progress.rcpts[0].state, RCPT_DELIVERED);
	assert_int_equal(j->progress.rcpts[1].state, RCPT_PENDING);
	sim_rcpt(j, 1, JR_FAILED, 550, "no");
	sim_return(s, j, JOB_TRIED);
	sim_run(s);
	assert_true(sim_msg(s, id)->removed);
	assert_int_equal(s->appended, 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
notify_of_failures_and_success(void **state)
{
	static const struct {
		const char *name;
		const char *from;
		uint8_t notify;
		enum job_rcpt_outcome what;
		bool passed;
		const char *action;     /* NULL: no report */
	} t[] = {
		{ "failure, default", NULL, NOTIFY_DEFAULT, JR_FAILED, false, "Action: failed" },
		{ "failure, asked", NULL, NOTIFY_FAILURE, JR_FAILED, false, "Action: failed" },
		{ "failure, success asked", NULL, NOTIFY_SUCCESS, JR_FAILED, false, NULL },
		{ "failure, never", NULL, NOTIFY_NEVER, JR_FAILED, false, NULL },
		{ "success, default", NULL, NOTIFY_DEFAULT, JR_DELIVERED, false, NULL },
		{ "success, asked", NULL, NOTIFY_SUCCESS, JR_DELIVERED, false, "Action: relayed" },
		{ "success, next hop tells", NULL, NOTIFY_SUCCESS, JR_DELIVERED, true, NULL },
		{ "success, null sender", "", NOTIFY_SUCCESS, JR_DELIVERED, false, NULL },
		{ "failure, null sender", "", NOTIFY_DEFAULT, JR_FAILED, false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct queue_config cfg = sim_config();
		struct sim *s = sim_new(&cfg);
		struct site_info *site = sim_site("hub", 4);
		struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site, .from = t[i].from,
			.notify = { t[i].notify } });
		struct job *j;

		sim_run(s);
		j = sim_take(s);
		sim_open(s, j);
		sim_rcpt(j, 0, t[i].what, t[i].what == JR_FAILED ? 550 : 250, "said so")->dsn_passed =
		    t[i].passed;
		sim_return(s, j, JOB_TRIED);
		sim_run(s);
		assert_true(sim_msg(s, id)->removed);
		if (s->appended != (t[i].action != NULL))
			fail_msg("%s: %zu reports", t[i].name, s->appended);
		if (t[i].action != NULL) {
			char *text = sim_text(s, s->last_appended);

			if (strstr(text, t[i].action) == NULL)
				fail_msg("%s: %s", t[i].name, text);
			free(text);
		}
		site_info_unref(&site);
		sim_free(s);
	}
}

static void
bounce_of_a_bounce_is_badmail(void **state)
{
	struct queue_config cfg = sim_config();
	char dir[] = "/tmp/ph-badmail-XXXXXX", path[256], idt[PH_MSGID_TEXT], text[2048];
	struct site_info *site = sim_site("hub", 4);
	struct sim *s;
	static const uint64_t sizes[] = { 0, 300000 };  /* in memory, and read in parts */

	(void)state;
	assert_non_null(mkdtemp(dir));
	cfg.badmail_dir = dir;
	for (size_t i = 0; i < 2; i++) {
		struct ph_msgid id;
		struct stat st;
		FILE *f;
		size_t n;

		s = sim_new(&cfg);
		id = sim_mail(s, &(struct sim_mail){ .site = site, .from = "", .size = sizes[i], .cold = true });
		sim_run(s);
		sim_outcome(s, sim_take(s), JR_FAILED, 550, "5.1.1 No such\nuser");
		sim_run(s);
		assert_true(sim_msg(s, id)->removed);
		assert_int_equal(s->appended, 0);
		assert_true(sim_logged(s, "event=queue.badmail "));
		(void)snprintf(path, sizeof path, "%s/%s.eml", dir, id_text(id, idt));
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, ph_content_size(sim_msg(s, id)->content));
		assert_int_equal(st.st_mode & 0777, 0600);
		unlink(path);
		(void)snprintf(path, sizeof path, "%s/%s.txt", dir, idt);
		f = fopen(path, "r");
		assert_non_null(f);
		n = fread(text, 1, sizeof text - 1, f);
		text[n] = '\0';
		fclose(f);
		assert_non_null(strstr(text, "reply: 550 5.1.1 No such user\n"));
		assert_non_null(strstr(text, "to: <b@example.net>\n"));
		unlink(path);
		sim_free(s);
	}
	assert_int_equal(rmdir(dir), 0);        /* nothing else was left there */
	/* a directory that cannot be written loses nothing */
	cfg.badmail_dir = "/proc/none/badmail";
	s = sim_new(&cfg);
	(void)sim_mail(s, &(struct sim_mail){ .site = site, .from = "" });
	sim_run(s);
	sim_outcome(s, sim_take(s), JR_FAILED, 550, "no");
	sim_run(s);
	assert_int_equal(s->removed, 0);
	assert_int_equal(sim_counts(s).messages, 1);
	assert_true(sim_logged(s, "event=queue.badmail-failed"));
	sim_free(s);
	site_info_unref(&site);
}

static void
restart_keeps_the_schedule(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });
	struct job *j;

	(void)state;
	sim_run(s);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "later"), 1);
	sim_stop_queue(s);
	s->mono = 77;                   /* another boot */
	s->wall += 5 * MIN_MS;
	sim_start_queue(s, &cfg);
	sim_scan(s);
	assert_int_equal(s->njobs, 0);
	assert_int_equal(sim_counts(s).deferred, 1);
	sim_pass(s, 10 * MIN_MS - 1);
	assert_int_equal(s->njobs, 0);
	sim_pass(s, 1);
	/* its site is known by hash only: one routing announces it */
	j = sim_take(s);
	assert_int_equal(j->kind, JOB_ROUTE);
	sim_open(s, j);
	j->groups = arena_new(&j->arena, struct job_group);
	j->groups->site = site_info_ref(site);
	j->groups->rcpts = arena_new(&j->arena, uint32_t);
	j->groups->n = 1;
	j->ngroups = 1;
	sim_return(s, j, JOB_ROUTED);
	sim_run(s);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "later"), 1);
	assert_int_equal(sim_msg(s, id)->summary.attempts, 2);
	site_info_unref(&site);
	sim_free(s);
}

static void
backlog_is_attempted_before_it_expires(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "later"), 1);
	sim_stop_queue(s);
	s->wall += 5 * (int64_t)DAY_MS;          /* the machine was off */
	sim_start_queue(s, &cfg);
	queue_site(s->q, site);
	sim_scan(s);
	sim_pass(s, 1000);
	assert_int_equal(s->appended, 0);
	assert_int_equal(answer_all(s, JR_DELIVERED, 250, "ok"), 1);
	assert_int_equal(s->removed, 1);
	assert_int_equal(s->appended, 0);
	site_info_unref(&site);
	sim_free(s);
}

static void
wall_clock_jumps(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });

	(void)state;
	sim_run(s);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "later"), 1);
	s->wall += 365 * (int64_t)DAY_MS;        /* forward: nothing ages */
	sim_pass(s, 15 * MIN_MS);
	assert_int_equal(s->appended, 0);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "later"), 1);
	assert_false(sim_msg(s, id)->removed);
	s->wall -= 730 * (int64_t)DAY_MS;        /* backward: it is still tried */
	sim_pass(s, 30 * MIN_MS);
	assert_int_equal(answer_all(s, JR_DEFERRED, 451, "later"), 1);
	/* stored in the new clock, a restart believes it */
	assert_int_equal(sim_msg(s, id)->summary.due, s->wall + 60 * MIN_MS);
	assert_int_equal(sim_msg(s, id)->summary.created, s->wall - 45 * MIN_MS);
	/* a stored due far in the future is cut to the longest wait */
	sim_stop_queue(s);
	sim_msg(s, id)->summary.due = s->wall + 1000 * (int64_t)DAY_MS;
	sim_msg(s, id)->summary.created = s->wall + 1000 * (int64_t)DAY_MS;
	sim_start_queue(s, &cfg);
	queue_site(s->q, site);
	sim_scan(s);
	sim_pass(s, 240 * MIN_MS);
	assert_int_equal(answer_all(s, JR_DELIVERED, 250, "ok"), 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
unreadable_messages(void **state)
{
	static const struct { int status; size_t left; const char *event; } t[] = {
		{ PH_ENOENT, 0, "event=queue.forgotten" },
		{ PH_ECORRUPT, 0, "event=queue.damaged" },
		{ PH_EIO, 1, "event=queue.unreadable" },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct queue_config cfg = sim_config();
		struct sim *s = sim_new(&cfg);
		struct site_info *site = sim_site("hub", 4);
		struct job *j;

		(void)sim_mail(s, &(struct sim_mail){ .site = site, .cold = true });
		sim_run(s);
		j = sim_take(s);
		j->status = t[i].status;
		sim_return(s, j, JOB_UNREADABLE);
		sim_run(s);
		assert_int_equal(sim_counts(s).messages, t[i].left);
		assert_int_equal(s->removed, 0);
		assert_true(sim_logged(s, t[i].event));
		if (t[i].left > 0) {
			sim_pass(s, 15 * MIN_MS);
			assert_int_equal(answer_all(s, JR_DELIVERED, 250, "ok"), 1);
		}
		site_info_unref(&site);
		sim_free(s);
	}
}

static void
room_has_hysteresis(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 4);

	(void)state;
	cfg.max_messages = 64;
	s = sim_new(&cfg);
	for (int i = 0; i < 63; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_true(s->room);
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_false(s->room);
	for (int i = 0; i < 3; i++)
		sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_false(s->room);
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_run(s);
	assert_true(s->room);
	site_info_unref(&site);
	sim_free(s);
}

static void
memory_budget_keeps_the_oldest(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s;
	struct site_info *site = sim_site("hub", 4);
	size_t hot = 0, cold = 0;
	bool seen_cold = false;
	struct job *j;

	(void)state;
	cfg.memory = 10 * 4400;
	s = sim_new(&cfg);
	for (int i = 0; i < 30; i++)
		(void)sim_mail(s, &(struct sim_mail){ .site = site, .size = 4096 });
	sim_run(s);
	assert_true(sim_counts(s).hot_bytes <= cfg.memory);
	while ((j = sim_take(s)) != NULL) {
		assert_false(j->meta != NULL && seen_cold);
		seen_cold = seen_cold || j->meta == NULL;
		hot += j->meta != NULL;
		cold += j->meta == NULL;
		sim_outcome(s, j, JR_DEFERRED, 451, "later");
	}
	sim_run(s);
	assert_int_equal(hot, 10);
	assert_int_equal(cold, 20);
	assert_int_equal(sim_counts(s).hot_bytes, 0);   /* deferred ones give it back */
	site_info_unref(&site);
	sim_free(s);
}

static void
handed_back_again_and_again_waits(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid id = sim_mail(s, &(struct sim_mail){ .site = site });
	struct job *j;
	int n = 0;

	(void)state;
	sim_run(s);
	while ((j = sim_take(s)) != NULL) {
		sim_return(s, j, JOB_RETURNED);
		sim_run(s);
		assert_true(++n < 20);
	}
	assert_int_equal(sim_msg(s, id)->summary.attempts, 0);
	assert_true(sim_logged(s, "event=queue.unsettled"));
	sim_pass(s, 4000);
	assert_null(sim_take(s));
	sim_pass(s, 2000);
	assert_int_equal(answer_all(s, JR_DELIVERED, 250, "ok"), 1);
	site_info_unref(&site);
	sim_free(s);
}

static void
stop_lets_leases_come_home(void **state)
{
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_msgid a = sim_mail(s, &(struct sim_mail){ .site = site });
	struct ph_msgid b = sim_mail(s, &(struct sim_mail){ .site = site });

	(void)state;
	sim_run(s);
	queue_stop(s->q);
	assert_false(queue_drained(s->q));
	sim_outcome(s, sim_take(s), JR_DELIVERED, 250, "ok");
	sim_outcome(s, sim_take(s), JR_DEFERRED, 451, "later");
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	assert_true(queue_drained(s->q));
	assert_int_equal(s->njobs, 0);
	assert_true(sim_msg(s, a)->removed);
	assert_int_equal(sim_msg(s, b)->summary.attempts, 1);
	assert_true(queue_next(s->q) == INT64_MAX);
	site_info_unref(&site);
	sim_free(s);
}

/* --- memory --- */

static size_t
in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void
memory_per_waiting_message(void **state)
{
	enum { N = 100000, BATCH = 1000 };
	struct queue_config cfg = sim_config();
	struct sim *s = sim_new(&cfg);
	struct site_info *site = sim_site("hub", 4);
	struct ph_store_added *v = mem_calloc(BATCH, sizeof *v);
	size_t before, after;
	struct job *j;

	(void)state;
	(void)sim_mail(s, &(struct sim_mail){ .site = site });
	sim_run(s);
	sim_down(s, sim_take(s));
	sim_run(s);
	before = in_use();
	for (int i = 0; i < N / BATCH; i++) {
		for (int k = 0; k < BATCH; k++) {
			v[k].id = id_new();
			v[k].summary = (struct ph_store_summary){ .created = s->wall, .due = s->wall,
				.size = 4096, .site = site->hash, .recipients = 1 };
			v[k].meta = STR("x");
		}
		queue_added(s->q, v, BATCH);
		sim_run(s);
	}
	after = in_use();
	assert_int_equal(sim_counts(s).messages, N + 1);
	print_message("%.1f bytes per waiting message\n", (double)(after - before) / N);
	assert_true(after - before <= (size_t)130 * N);
	while ((j = sim_take(s)) != NULL)
		fail_msg("no job may leave");
	free(v);
	site_info_unref(&site);
	sim_free(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivered_at_once),
		cmocka_unit_test(unknown_site_is_routed_first),
		cmocka_unit_test(retry_list_then_expiry),
		cmocka_unit_test(delay_notice_comes_once),
		cmocka_unit_test(notice_honours_notify),
		cmocka_unit_test(failure_is_reported_before_removal),
		cmocka_unit_test(report_that_cannot_be_stored_keeps_the_message),
		cmocka_unit_test(notify_of_failures_and_success),
		cmocka_unit_test(bounce_of_a_bounce_is_badmail),
		cmocka_unit_test(restart_keeps_the_schedule),
		cmocka_unit_test(backlog_is_attempted_before_it_expires),
		cmocka_unit_test(wall_clock_jumps),
		cmocka_unit_test(unreadable_messages),
		cmocka_unit_test(room_has_hysteresis),
		cmocka_unit_test(memory_budget_keeps_the_oldest),
		cmocka_unit_test(handed_back_again_and_again_waits),
		cmocka_unit_test(stop_lets_leases_come_home),
		cmocka_unit_test(memory_per_waiting_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
