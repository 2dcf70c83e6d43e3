/*
 * cmd_send.c - `posthouse send`: submits files, standard input or generated
 * messages to a server and says by its exit status whether all were taken.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/send.h"
#include "cmd/target.h"

enum { MAX_SESSIONS = 10000 };

static const struct opt rows[] = {
	OPT_HEADING("Where and whom"),
	OPT(struct send_opts, to, 't', "to", "HOST:PORT", "The server.", .dflt = "localhost:25"),
	OPT(struct send_opts, from, 'f', "from", "ADDRESS",
	    "Sender; <> is the null sender. Default: you at this machine."),
	OPT(struct send_opts, rcpts, 'r', "rcpt", "ADDRESS", "Recipient."),
	OPT(struct send_opts, helo, 0, "helo", "NAME",
	    "Name given with EHLO. Default: this machine's."),
	OPT_HEADING("The message"),
	OPT(struct send_opts, subject, 's', "subject", "TEXT",
	    "Subject of the header that is made when the input has none.", .dflt = "Test message"),
	OPT(struct send_opts, generate, 'n', "generate", "N",
	    "Sends N generated messages, which 'posthouse sink --verify' "
	    "recognises, instead of input."),
	OPT(struct send_opts, size, 'S', "size", "SIZE", "Octets of a generated message.",
	    .dflt = "4K", .min = TRAFFIC_MIN_SIZE, .max = 1 << 30),
	OPT(struct send_opts, sessions, 0, "sessions", "N", "Connections at once.", .dflt = "1",
	    .min = 1, .max = MAX_SESSIONS),
	OPT(struct send_opts, notify, 0, "notify", "LIST",
	    "Reports wanted (RFC 3461): never, or of success, failure, delay, "
	    "with commas."),
	OPT(struct send_opts, ret, 0, "ret", "WHAT", "What a report returns: full or hdrs."),
	OPT(struct send_opts, envid, 0, "envid", "TEXT", "Envelope id that reports repeat."),
	OPT_HEADING("How"),
	OPT(struct send_opts, verbose, 'v', "verbose", NULL,
	    "Shows the dialogue; twice: with content."),
	OPT(struct send_opts, quiet, 'q', "quiet", NULL, "Prints no queue ids."),
	OPT(struct send_opts, timeout, 0, "timeout", "TIME",
	    "How long to connect and to wait for a reply. Default: the "
	    "times of RFC 5321."),
	OPT(struct send_opts, no_pipelining, 0, "no-pipelining", NULL, "Does not use PIPELINING."),
	OPT(struct send_opts, no_chunking, 0, "no-chunking", NULL, "Does not use CHUNKING."),
	OPT_END
};
static const struct opt_command command = {
	"send", "[OPTION ...] --rcpt ADDRESS [FILE ... | -]",
	"Submits messages to an SMTP server: each FILE one, or standard input. Line ends become "
	"CRLF; a header is made when the input has none. Prints the queue id of each message that is taken.",
	rows,
	"Exit status: 0 all were taken, 64 wrong usage, 65 wrong input, 66 no such file,\n"
	"68 cannot connect, 69 something was refused for good, 75 something was refused\nfor now.\n"
};

/* --- the envelope --- */

static int
take_address(struct arena *arena, const char *text, unsigned flags, const char *option,
             struct address *out)
{
	struct ph_str in = str_of(text);
	const char *why = "not an address";

	if (text[0] == '\0' && (flags & ADDRESS_NULL_OK) != 0)
		in = STR("<>");
	flags |= ADDRESS_BARE_OK | ADDRESS_UTF8_OK;
	if (address_parse_path(&in, flags, arena, out, &why) != 0 ||
	    str_trim(in).n > 0)
		return opt_complain(&command, "%s: \"%s\": %s", option, text, why);
	return 0;
}

static int
take_notify(const char *text, uint8_t *out)
{
	static const struct { const char *word; uint8_t bit; } words[] = {
		{ "never", NOTIFY_NEVER },
		{ "success", NOTIFY_SUCCESS },
		{ "failure", NOTIFY_FAILURE },
		{ "delay", NOTIFY_DELAY },
	};
	struct ph_str rest = str_of(text);

	*out = 0;
	while (rest.p != NULL) {
		struct ph_str word = str_cut(rest, ',', &rest);
		uint8_t bit = 0;

		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
			if (str_iis(str_trim(word), words[i].word))
				bit = words[i].bit;
		if (bit == 0)
			return opt_complain(&command,
			    "--notify: \"%s\" is not never, or success, failure, delay", text);
		*out |= bit;
	}
	if ((*out & NOTIFY_NEVER) != 0 && *out != NOTIFY_NEVER)
		return opt_complain(&command, "--notify: never goes with nothing else");
	return 0;
}

/* user@machine, as sendmail would have it. */
static const char *
default_from(struct arena *arena, const char *host)
{
	const char *user = getenv("LOGNAME");

	if (user == NULL || *user == '\0')
		user = getenv("USER");
	return arena_printf(
	    arena, "%s@%s", user != NULL && *user != '\0' ? user : "posthouse", host);
}

static int
make_envelope(struct send *snd)
{
	const struct send_opts *o = snd->o;
	struct envelope *env = &snd->env;
	uint8_t notify = NOTIFY_DEFAULT;
	char host[256] = "localhost";
	int rc;

	(void)gethostname(host, sizeof host - 1);
	snd->client.hostname = arena_str(&snd->arena, str_of(o->helo != NULL ? o->helo : host));
	envelope_init(env, &snd->arena);
	rc = take_address(&snd->arena, o->from != NULL ? o->from : default_from(&snd->arena, host),
	    ADDRESS_NULL_OK, "--from", &env->from);
	if (rc == 0 && o->notify != NULL)
		rc = take_notify(o->notify, &notify);
	env->smtputf8 = env->from.utf8;
	for (size_t i = 0; i < o->rcpts.n && rc == 0; i++) {
		struct recipient *r = envelope_add(env);

		rc = take_address(
		    &snd->arena, o->rcpts.v[i], ADDRESS_POSTMASTER_OK, "--rcpt", &r->to);
		r->notify = notify;
		env->smtputf8 |= r->to.utf8;
	}
	if (rc == 0 && o->ret != NULL) {
		if (strcmp(o->ret, "full") == 0)
			env->ret = RET_FULL;
		else if (strcmp(o->ret, "hdrs") == 0)
			env->ret = RET_HDRS;
		else
			rc = opt_complain(&command, "--ret: \"%s\" is not full or hdrs", o->ret);
	}
	if (rc == 0 && o->envid != NULL) {
		struct buf xtext = { 0 };

		codec_xtext_encode(str_of(o->envid), &xtext);
		env->envid = arena_str(&snd->arena, buf_view(&xtext));
		buf_free(&xtext);
	}
	return rc;
}

/* --- messages on their way --- */

struct send_message *
send_next_message(struct send *snd)
{
	struct send_message *msg;
	struct smtp_client_txn *txn;

	if (snd->next == snd->total)
		return NULL;
	if (snd->o->generate > 0) {
		msg = mem_new(struct send_message);
		msg->number = snd->next;
		msg->content = snd->generated;
		traffic_head(&snd->traffic, snd->sum, msg->number, msg->head);
	} else {
		msg = &snd->files[snd->next];
	}
	snd->next++;
	arena_init(&msg->arena, 1024);
	txn = &msg->txn;
	txn->env = &snd->env;
	txn->nrcpts = snd->env.nrcpts;
	txn->rcpts = arena_alloc(&msg->arena, txn->nrcpts * sizeof *txn->rcpts);
	for (uint32_t i = 0; i < txn->nrcpts; i++)
		txn->rcpts[i] = (struct smtp_client_rcpt){ .rcpt = &snd->env.rcpts[i], .index = i };
	if (snd->o->generate > 0)
		txn->head = str_make(msg->head, snd->traffic.head_size);
	txn->content = msg->content;
	txn->size = txn->head.n + ph_content_size(msg->content);
	txn->eight_bit = msg->eight_bit;
	txn->arena = &msg->arena;
	txn->arg = msg;
	return msg;
}

void
send_complain(struct send *snd, const char *fmt, ...)
{
	struct buf text = { 0 };
	va_list ap;

	if (snd->complaints++ >= SEND_MAX_COMPLAINTS)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[text.head + i] == '\n')           /* a reply of several lines */
			text.data[text.head + i] = ' ';
	(void)fprintf(stderr, "posthouse send: " STR_FMT "\n", STR_ARG(buf_view(&text)));
	buf_free(&text);
}

/* "250 2.0.0 Ok: queued as ABC": the id behind the usual words, or the whole reply. */
static struct ph_str
queue_id(struct ph_str reply)
{
	static const char *const marks[] = { "queued as ", "queued mail for delivery as ", "id=" };

	for (size_t m = 0; m < sizeof marks / sizeof marks[0]; m++) {
		size_t n = strlen(marks[m]);

		for (size_t i = 0; i + n < reply.n; i++)
			if (str_istarts(str_skip(reply, i), marks[m])) {
				struct ph_str rest;

				return str_cut(str_skip(reply, i + n), ' ', &rest);
			}
	}
	return reply;
}

void
send_message_over(struct send *snd, struct send_message *msg, bool lost)
{
	struct ph_str reply = { NULL, 0 };
	bool deferred = false, refused = false, unknown = false;

	for (uint32_t i = 0; i < msg->txn.nrcpts; i++) {
		const struct smtp_client_rcpt *r = &msg->txn.rcpts[i];

		if (r->code / 100 == 2) {
			reply = r->reply;
			continue;
		}
		unknown |= r->code == 0;
		refused |= r->code / 100 == 5;
		deferred |= r->code / 100 == 4;
		if (r->code != 0)
			send_complain(snd, "<" STR_FMT ">: " STR_FMT, STR_ARG(r->rcpt->to.full),
			    STR_ARG(r->reply));
	}
	if (unknown && lost)
		snd->lost++;
	else if (refused)
		snd->refused++;
	else if (deferred || unknown)
		snd->deferred++;
	else
		snd->taken++;
	if (reply.p != NULL && !snd->o->quiet && snd->o->generate == 0)
		printf(STR_FMT "\n", STR_ARG(queue_id(reply)));
	arena_reset(&msg->arena);
	if (snd->o->generate > 0)
		free(msg);
}

/* --- the whole --- */

static int
outcome(struct send *snd, int64_t began_us)
{
	double seconds = (double)(clock_mono_us() - began_us) / 1e6;
	uint64_t unsent = snd->total - snd->next;

	if (snd->complaints > SEND_MAX_COMPLAINTS)
		(void)fprintf(stderr, "posthouse send: and %u more of the like\n",
		    snd->complaints - SEND_MAX_COMPLAINTS);
	if (snd->o->generate > 0 && !snd->o->quiet)
		printf("%" PRIu64 " of %" PRIu64 " messages taken in %.2f s: %.0f/s\n", snd->taken,
		    snd->total, seconds, seconds > 0 ? (double)snd->taken / seconds : 0);
	if (snd->lost > 0)
		(void)fprintf(stderr,
		    "posthouse send: %" PRIu64
		    " messages: the connection ended before their outcome was known\n",
		    snd->lost);
	if (unsent > 0)
		(void)fprintf(
		    stderr, "posthouse send: %" PRIu64 " messages were not sent\n", unsent);
	if (snd->connected == 0)
		return EX_NOHOST;
	if (snd->refused > 0 || snd->session_refused)
		return EX_UNAVAILABLE;
	return snd->taken == snd->total && !snd->session_deferred ? EX_OK : EX_TEMPFAIL;
}

static int
transmit(struct send *snd)
{
	int64_t began = clock_mono_us(), sessions = snd->o->sessions;
	int rc;

	snd->total = snd->o->generate > 0 ? (uint64_t)snd->o->generate : snd->nfiles;
	snd->client.use_pipelining = !snd->o->no_pipelining;
	snd->client.use_chunking = !snd->o->no_chunking;
	if ((uint64_t)sessions > snd->total)
		sessions = (int64_t)snd->total;
	snd->loop = loop_new();
	if (snd->loop == NULL) {
		(void)fprintf(stderr, "posthouse send: no event loop: %s\n", strerror(errno));
		return EX_OSERR;
	}
	target_raise_files();
	for (int64_t i = 0; i < sessions; i++)
		send_session_start(snd);
	loop_run(snd->loop);
	rc = outcome(snd, began);
	loop_free(&snd->loop);
	return rc;
}

static void
set_up_traffic(struct send *snd)
{
	uint64_t run;

	if (snd->o->generate == 0)
		return;
	id_random(&run, sizeof run);
	snd->sum = codec_sum_new();
	traffic_init(&snd->traffic, run, (size_t)snd->o->size.bytes, snd->env.from.full,
	    snd->env.rcpts[0].to.full);
	snd->generated = content_new();
	content_append(snd->generated, snd->traffic.rest.data + snd->traffic.rest.head,
	    snd->traffic.rest.len, snd->traffic.rest.len);
}

static void
send_done(struct send *snd)
{
	for (size_t i = 0; i < snd->nfiles; i++)
		if (snd->files[i].content != NULL)
			ph_content_unref(&snd->files[i].content);
	free(snd->files);
	if (snd->sum != NULL) {
		codec_sum_free(&snd->sum);
		traffic_done(&snd->traffic);
		ph_content_unref(&snd->generated);
	}
	arena_reset(&snd->arena);
}

int
cmd_send(int argc, char **argv)
{
	struct send_opts opts = { 0 };
	struct send snd = { .o = &opts };
	struct opt_list files = { 0 };
	struct buf why = { 0 };
	int rc = opt_parse(&command, argc, argv, &opts, &files);

	if (rc != OPT_GO_ON)
		return rc;
	if (opts.rcpts.n == 0)
		return opt_complain(&command, "--rcpt is missing: nobody to send to");
	if (opts.generate > 0 && files.n > 0)
		return opt_complain(&command, "--generate takes no FILE");
	arena_init(&snd.arena, 4096);
	snd.nto = target_resolve(opts.to, 25, false, snd.to, SEND_TARGETS, &why);
	if (snd.nto == PH_EINVAL)
		rc = opt_complain(&command, "--to: " STR_FMT, STR_ARG(buf_view(&why)));
	else if (snd.nto < 0) {
		(void)fprintf(stderr, "posthouse send: " STR_FMT "\n", STR_ARG(buf_view(&why)));
		rc = EX_NOHOST;
	} else {
		rc = make_envelope(&snd);
		if (rc == 0)
			rc = send_read_input(&snd, &files);
		if (rc == 0) {
			set_up_traffic(&snd);
			rc = transmit(&snd);
		}
	}
	send_done(&snd);
	buf_free(&why);
	opt_list_free(&files);
	opt_list_free(&opts.rcpts);
	return rc;
}
