/*
 * example.c - every concept of the plugin interface once; PLUGINS.md walks
 * through it.  Checks recipients against a directory service, limits them,
 * asks for a subject, marks accepted messages and counts.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "directory.h"

/* --- configuration: one struct, one row of the table for each field --- */

enum { MARK_OFF, MARK_SHORT, MARK_FULL };

struct example_report { bool sessions; ph_duration every; };

struct example_cfg {
	struct ph_endpoint directory;
	ph_duration patience, retry;
	int64_t max_recipients;
	ph_size max_message;
	bool require_subject;
	const char *field;
	int mark;
	struct ph_strings refused;
	struct ph_networks trusted;
	struct example_report report;
};

static const struct ph_choice marks[] = {
	{ "off", MARK_OFF, "no field is added" },
	{ "short", MARK_SHORT, "the number of recipients" },
	{ "full", MARK_FULL, "the number of recipients, and of those refused" },
	{ NULL, 0, NULL }
};

static const struct ph_option report_options[] = {
	PH_OPT(struct example_report, sessions, "sessions", .dflt = "no",
	    .doc = "Whether a line is logged for each session that had a recipient refused."),
	PH_OPT(struct example_report, every, "every", .dflt = "1h", .min = "1s", .max = "1d",
	    .doc = "How often the counts of a worker are logged."),
	PH_OPT_END
};

static const struct ph_option example_options[] = {
	PH_OPT(struct example_cfg, directory, "directory", .required = true,
	    .doc = "The directory service to ask, as host:port."),
	PH_OPT(struct example_cfg, patience, "patience", .dflt = "5s", .min = "100ms", .max = "1m",
	    .doc = "How long one question may take before the recipient is deferred."),
	PH_OPT(struct example_cfg, retry, "retry", .dflt = "1s", .min = "100ms", .max = "1m",
	    .doc = "The pause before a lost link to the directory is made again."),
	PH_OPT(struct example_cfg, max_recipients, "max-recipients", .dflt = "100", .min = "1",
	    .max = "10000", .unit = "recipients", .doc = "Recipients accepted in one transaction."),
	PH_OPT(struct example_cfg, max_message, "max-message", .dflt = "10M", .min = "1K",
	    .doc = "The largest message that is taken from clients that are not trusted."),
	PH_OPT(struct example_cfg, require_subject, "require-subject", .dflt = "no",
	    .doc = "Whether a message without a subject is refused."),
	PH_OPT(struct example_cfg, field, "field", .dflt = "X-Example",
	    .doc = "The name of the header field that marks a message."),
	PH_OPT_CHOICE(struct example_cfg, mark, "mark", marks, .dflt = "short",
	    .doc = "What the header field says."),
	PH_OPT(struct example_cfg, refused, "refused",
	    .doc = "Recipient addresses that are refused without asking."),
	PH_OPT(struct example_cfg, trusted, "trusted", .dflt = "[127.0.0.0/8, \"::1\"]",
	    .doc = "Clients whose messages may have any size."),
	PH_OPT_SECTION(struct example_cfg, report, "report", report_options,
	    .doc = "What is logged besides."),
	PH_OPT_END
};

/* Says what no row can say. The place in the file comes with the option's name. */
static int
example_check(struct ph_setup *setup)
{
	const struct example_cfg *cfg = ph_setup_config(setup);

	if (cfg->directory.port == 0)
		ph_complain(setup, "directory", "needs a port, as in %s:4000", cfg->directory.host);
	if (strncasecmp(cfg->field, "X-", 2) != 0)
		ph_complain(setup, "field", "is \"%s\"; names of fields of one's own begin with X-",
		    cfg->field);
	return 0;
}

/* --- storage: of a worker, a session, a transaction; zeroed, no locks --- */

struct example_worker {
	struct directory *directory;
	struct ph_timer *report;
	unsigned long accepted, refused;
};
struct example_session     { unsigned refused; };
struct example_transaction { unsigned asked, refused; };

static void
example_report_due(void *arg)
{
	struct ph_worker *w = arg;
	const struct example_cfg *cfg = ph_worker_config(w);
	struct example_worker *mine = ph_worker_storage(w);

	ph_log_worker(w, PH_INFO, "%lu messages accepted, %lu recipients refused",
	    mine->accepted, mine->refused);
	mine->report = ph_timer_start(w, cfg->report.every, example_report_due, w);
}

static int
example_worker_open(struct ph_worker *w, void *data)
{
	const struct example_cfg *cfg = ph_worker_config(w);
	struct example_worker *mine = data;

	mine->directory = directory_open(w, &cfg->directory, cfg->retry);
	if (mine->directory == NULL)
		return PH_ENOMEM;
	mine->report = ph_timer_start(w, cfg->report.every, example_report_due, w);
	return 0;
}

static void
example_worker_close(struct ph_worker *w, void *data)
{
	struct example_worker *mine = data;

	(void)w;
	ph_timer_stop(&mine->report);
	directory_close(&mine->directory);
}

/* --- a hook that waits --- */

static enum ph_verdict
example_refuse(struct ph_call *call)
{
	struct example_worker *mine = ph_worker_data(call);
	struct example_session *session = ph_session_data(call);
	struct example_transaction *txn = ph_transaction_data(call);

	mine->refused++;
	session->refused++;
	txn->refused++;
	return ph_reject(call, PH_R_NO_SUCH_MAILBOX, NULL);
}

/* The directory has answered: goes on where example_rcpt has stopped. */
static enum ph_verdict
example_answered(struct ph_call *call)
{
	const bool *known = ph_answer(call);

	if (known == NULL)
		return ph_fail(call, "the link to the directory was lost");
	return *known ? PH_CONTINUE : example_refuse(call);
}

/* Runs instead of example_answered: too late, or the client has gone.  The directory
 * module knows the question by its ticket only, so there is nothing to undo. */
static void
example_abandoned(struct ph_call *call)
{
	ph_log(call, PH_DEBUG, "nobody waits for the directory's answer any more");
}

static enum ph_verdict
example_rcpt(struct ph_call *call)
{
	const struct example_cfg *cfg = ph_config(call);
	struct example_worker *mine = ph_worker_data(call);
	struct example_transaction *txn = ph_transaction_data(call);
	struct ph_str rcpt = ph_rcpt(call);
	int rc;

	if (ph_rcpt_count(call) >= (size_t)cfg->max_recipients)
		return ph_rejectf(call, PH_R_TOO_MANY_RCPTS, "At most %lld recipients",
		    (long long)cfg->max_recipients);
	for (size_t i = 0; i < cfg->refused.n; i++)
		if (strlen(cfg->refused.v[i]) == rcpt.n &&
		    strncasecmp(cfg->refused.v[i], rcpt.p, rcpt.n) == 0)
			return example_refuse(call);
	rc = directory_ask(mine->directory, rcpt, ph_ticket_of(call));
	if (rc < 0)
		return ph_fail(call, ph_strerror(rc));
	txn->asked++;
	return ph_suspend(call, cfg->patience, example_answered, example_abandoned,
	    "the directory's answer");
}

/* --- the message: looking at it, adding to it --- */

static enum ph_verdict
example_header(struct ph_call *call)
{
	const struct example_cfg *cfg = ph_config(call);

	if (cfg->require_subject && ph_header_get(call, "Subject", 0).n == 0)
		return ph_reject(call, PH_R_POLICY, "Give your message a subject");
	return PH_CONTINUE;
}

static enum ph_verdict
example_message(struct ph_call *call)
{
	const struct example_cfg *cfg = ph_config(call);
	const struct example_transaction *txn = ph_transaction_data(call);
	char text[80];
	int n;

	if (ph_message_size(call) > cfg->max_message.bytes &&
	    !ph_network_has(&cfg->trusted, ph_client_addr(call)))
		return ph_reject(call, PH_R_TOO_BIG, NULL);
	if (cfg->mark == MARK_OFF)
		return PH_CONTINUE;
	n = cfg->mark == MARK_SHORT
	    ? snprintf(text, sizeof text, "recipients=%zu", ph_rcpt_count(call))
	    : snprintf(text, sizeof text, "recipients=%zu; refused=%u; asked=%u",
	          ph_rcpt_count(call), txn->refused, txn->asked);
	if (ph_header_add(call, cfg->field, (struct ph_str){ text, (size_t)n }) < 0)
		return ph_fail(call, "the header field could not be added");
	return PH_CONTINUE;
}

/* --- observers: told, never asked --- */

static void
example_accepted(struct ph_call *call)
{
	struct example_worker *mine = ph_worker_data(call);

	mine->accepted++;
}

static void
example_session_over(struct ph_call *call)
{
	const struct example_cfg *cfg = ph_config(call);
	const struct example_session *session = ph_session_data(call);
	struct ph_str hello = ph_client_hello(call);

	if (cfg->report.sessions && session->refused > 0)
		ph_log(call, PH_INFO, "%u recipients of %.*s were refused", session->refused,
		    (int)hello.n, hello.p);
}

/* --- who is called when --- */

static int
example_setup(struct ph_setup *setup)
{
	int rc = ph_on_decide(setup, PH_HOOK_RCPT, example_rcpt);

	if (rc == 0)
		rc = ph_on_decide(setup, PH_HOOK_HEADER, example_header);
	if (rc == 0)
		rc = ph_on_decide(setup, PH_HOOK_MESSAGE, example_message);
	if (rc == 0)
		rc = ph_on_observe(setup, PH_HOOK_ACCEPTED, example_accepted);
	if (rc == 0)
		rc = ph_on_observe(setup, PH_HOOK_CLOSED, example_session_over);
	return rc;
}

PH_PLUGIN(example,
	.summary     = "every concept of the plugin interface once",
	.doc         = "Asks a directory service whether a recipient exists, refuses unknown ones, and "
	               "marks the messages it has seen. Meant to be read, not to be used.",
	.options     = example_options,
	.config_size = sizeof(struct example_cfg),
	.worker      = { sizeof(struct example_worker), example_worker_open, example_worker_close },
	.session     = { sizeof(struct example_session), NULL, NULL },
	.transaction = { sizeof(struct example_transaction), NULL, NULL },
	.check       = example_check,
	.setup       = example_setup);
