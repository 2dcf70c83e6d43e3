/*
 * client_hello.c - from the greeting to READY: EHLO or HELO, what the remote
 * offers, STARTTLS, the login.
 *
 * Nothing that was said before STARTTLS is remembered after it (RFC 3207
 * 4.2).  A remote that is asked for TLS and cannot is a failure under MUST,
 * never a reason to go on in the clear.
 */
#include "smtp/client_private.h"

/* RFC 5321 4.5.3.1.4, counted with CRLF; AUTH with a longer initial response
 * sends that after the first 334 (RFC 4954 4). */
enum { COMMAND_LINE_MAX = 512 };

static void
say_hello(struct smtp_client *c, bool extended)
{
	char *p = client_room(c, c->cfg.hostname.n + 7);

	memcpy(p, extended ? "EHLO " : "HELO ", 5);
	memcpy(p + 5, c->cfg.hostname.p, c->cfg.hostname.n);
	memcpy(p + 5 + c->cfg.hostname.n, "\r\n", 2);
	client_wrote(c, c->cfg.hostname.n + 7);
	client_expect(c, extended ? WAIT_EHLO : WAIT_HELO, NULL, 0);
	c->state = CLIENT_HELLO;
}

/* The remote does not want us: told with its own words.  QUIT is in the output
 * for an owner who has the patience (RFC 5321 3.1). */
static void
refused(struct smtp_client *c, struct client_reply *r)
{
	int status = r->code / 100 == 5 ? PH_EREFUSED : r->code / 100 == 4 ? PH_EBUSY : PH_EPROTO;

	client_fail(c, status, r->code, client_reply_text(r, &c->event_arena));
	if (status == PH_EPROTO || r->code == 421)
		return;
	c->state = CLIENT_QUITTING;
	client_put(c, STR("QUIT"));
	client_expect(c, WAIT_QUIT, NULL, 0);
}

/* --- what EHLO told --- */

static uint32_t
limit_of(struct ph_str v)
{
	uint64_t n;

	/* RFC 9422 3: at most six digits, no zero */
	return str_u64(v, &n) == 0 && n > 0 && n <= 999999 ? (uint32_t)n : 0;
}

static void
offer_limits(struct smtp_client *c, struct ph_str rest)
{
	while (rest.n > 0) {
		struct ph_str word = str_cut(rest, ' ', &rest), value;
		struct ph_str name = str_cut(word, '=', &value);

		if (str_iis(name, "RCPTMAX"))
			c->max_rcpts = limit_of(value);
		else if (str_iis(name, "MAILMAX"))
			c->max_mails = limit_of(value);
	}
}

static void
offer_auth(struct smtp_client *c, struct ph_str rest)
{
	rest = str_trim(rest);
	c->ext |= SMTP_EXT_AUTH;
	/* Some say "AUTH=" as well, with the same list: the first one counts. */
	if (c->mechanisms[0] != '\0' || rest.n >= sizeof c->mechanisms)
		return;
	for (size_t i = 0; i < rest.n; i++) {
		char ch = rest.p[i];
		c->mechanisms[i] = ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : ch;
	}
	c->mechanisms[rest.n] = '\0';
}

static void
offer(struct smtp_client *c, struct ph_str line)
{
	static const struct { const char *name; unsigned bit;
	} names[] = {
		{ "PIPELINING", SMTP_EXT_PIPELINING },
		{ "CHUNKING", SMTP_EXT_CHUNKING },
		{ "8BITMIME", SMTP_EXT_8BITMIME },
		{ "BINARYMIME", SMTP_EXT_BINARYMIME },
		{ "SMTPUTF8", SMTP_EXT_SMTPUTF8 },
		{ "DSN", SMTP_EXT_DSN },
		{ "SIZE", SMTP_EXT_SIZE },
		{ "STARTTLS", SMTP_EXT_STARTTLS },
		{ "ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED },
		{ "LIMITS", SMTP_EXT_LIMITS },
	};
	struct ph_str rest = { NULL, 0 }, name;

	line = str_trim(line);
	if (str_istarts(line, "AUTH ") || str_istarts(line, "AUTH=")) {
		offer_auth(c, str_skip(line, 5));
		return;
	}
	name = str_cut(line, ' ', &rest);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (str_iis(name, names[i].name))
			c->ext |= names[i].bit;
	if (str_iis(name, "SIZE") && rest.n > 0 && str_u64(str_trim(rest), &c->max_size) != 0)
		c->max_size = 0;
	else if (str_iis(name, "LIMITS"))
		offer_limits(c, rest);
}

static void
forget_offers(struct smtp_client *c)
{
	c->ext = 0;
	c->max_size = 0;
	c->max_rcpts = c->max_mails = 0;
	c->mechanisms[0] = '\0';
}

static void
read_offers(struct smtp_client *c, const struct client_reply *r)
{
	struct ph_str rest = r->single ? (struct ph_str){ NULL, 0 } : r->multi.text;

	forget_offers(c);
	(void)str_cut(rest, '\n', &rest);       /* the first line names the host */
	while (rest.n > 0)
		offer(c, str_cut(rest, '\n', &rest));
	/* PIPELINING and CHUNKING that we were told not to use are not there for us. */
	if (!c->cfg.use_pipelining)
		c->ext &= ~(unsigned)SMTP_EXT_PIPELINING;
	if (!c->cfg.use_chunking)
		c->ext &= ~(unsigned)SMTP_EXT_CHUNKING;
	c->bdat = (c->ext & SMTP_EXT_CHUNKING) != 0;
	c->mode = (c->ext & SMTP_EXT_PIPELINING) == 0 ? MODE_PLAIN
	    : c->bdat ? MODE_STREAM : MODE_GROUPS;
}

/* --- the way to READY --- */

static void
ready(struct smtp_client *c)
{
	c->state = CLIENT_READY;
	c->secret = false;
	client_forget(&c->auth_said);
	client_event(c, SMTP_EV_READY, 0, STR(""));
	client_advance(c);
}

static void
hello_done(struct smtp_client *c)
{
	if (!c->secured && c->cfg.starttls != SMTP_CLIENT_TLS_NO) {
		if ((c->ext & SMTP_EXT_STARTTLS) != 0) {
			client_put(c, STR("STARTTLS"));
			client_expect(c, WAIT_STARTTLS, NULL, 0);
			return;
		}
		if (c->cfg.starttls == SMTP_CLIENT_TLS_MUST) {
			client_fail(
			    c, PH_ENOTSUP, 0, STR("4.7.4 STARTTLS is required but not offered"));
			return;
		}
	}
	if (!c->cfg.auth)
		ready(c);
	else {
		c->state = CLIENT_AUTH;
		client_event(c, SMTP_EV_AUTH, 0, str_of(c->mechanisms));
	}
}

static void
starttls_reply(struct smtp_client *c, struct client_reply *r)
{
	if (r->code == 220) {
		c->state = CLIENT_TLS;
		client_event(c, SMTP_EV_STARTTLS, r->code, STR(""));
	} else if (r->code < 400)
		refused(c, r);
	else if (c->cfg.starttls == SMTP_CLIENT_TLS_MUST)
		client_fail(c, PH_ENOTSUP, r->code, str_of(arena_printf(&c->event_arena,
		    "4.7.4 STARTTLS is required but refused: " STR_FMT,
		    STR_ARG(client_reply_text(r, &c->event_arena)))));
	else {
		c->cfg.starttls = SMTP_CLIENT_TLS_NO;
		hello_done(c);
	}
}

/* Long enough that it is no accident, or all that was said. */
enum { ECHO_MIN = 8 };

struct ph_str
client_auth_text(struct smtp_client *c, struct client_reply *r)
{
	struct ph_str text = client_reply_text(r, &c->event_arena), said = buf_view(&c->auth_said);
	size_t least = said.n < ECHO_MIN ? said.n : ECHO_MIN;
	char *p = arena_strndup(&c->event_arena, text.p, text.n);

	for (size_t i = 0; least > 1 && i + least <= text.n; i++) {
		size_t n = 0;

		while (n < said.n && i + n < text.n && p[i + n] == said.p[n])
			n++;
		if (n < least)
			continue;
		memset(p + i, '*', n);
		i += n - 1;
	}
	return str_make(p, text.n);
}

static bool is_base64(struct ph_str s);

static void
auth_reply(struct smtp_client *c, struct client_reply *r)
{
	bool prompt = c->auth_prompt;
	struct ph_str text;

	if (r->code == 235) {
		client_event(c, SMTP_EV_AUTH_OK, r->code, STR(""));
		ready(c);
		return;
	}
	c->auth_prompt = false;
	if (r->code == 334 && c->auth_initial.len > 0) {
		client_put(c, buf_view(&c->auth_initial));
		client_forget(&c->auth_said);
		c->auth_said = c->auth_initial;
		c->auth_initial = (struct buf){ 0 };
		client_expect(c, WAIT_AUTH, NULL, 0);
		return;
	}
	if (r->code == 334) {
		text = r->single ? str_skip(r->line, 4) : r->multi.text;
		/* "NTLM supported": words for people (MS-SMTPNTLM 2.2), not a challenge */
		if (prompt && (str_trim(text).n % 4 != 0 || !is_base64(str_trim(text))))
			text = STR("");
		c->events[SMTP_EV_AUTH_STEP] = (struct smtp_client_event){
			.kind = SMTP_EV_AUTH_STEP, .code = 334,
			.text = arena_str(&c->event_arena, str_trim(text)) };
		c->pending |= 1u << SMTP_EV_AUTH_STEP;
		return;
	}
	if (r->code < 400) {
		client_fail(c, PH_EPROTO, r->code, client_auth_text(c, r));
		return;
	}
	client_forget(&c->auth_initial);
	client_event(c, SMTP_EV_AUTH_FAILED, r->code, client_auth_text(c, r));
}

void
client_hello_reply(struct smtp_client *c, enum client_wait kind, struct client_reply *r)
{
	switch (kind) {
	case WAIT_GREETING:
		if (r->code == 220)
			say_hello(c, true);
		else
			refused(c, r);
		break;
	case WAIT_EHLO:
		if (r->code == 250) {
			c->esmtp = true;
			read_offers(c, r);
			hello_done(c);
		} else if (r->code / 100 == 5)
			say_hello(c, false);    /* RFC 5321 3.2: an old server */
		else
			refused(c, r);
		break;
	case WAIT_HELO:
		if (r->code == 250) {
			forget_offers(c);
			c->bdat = false;
			c->mode = MODE_PLAIN;
			hello_done(c);
		} else
			refused(c, r);
		break;
	case WAIT_STARTTLS:
		starttls_reply(c, r);
		break;
	default:
		auth_reply(c, r);
		break;
	}
}

void
smtp_client_secured(struct smtp_client *c)
{
	if (c->state != CLIENT_TLS)
		return;
	c->secured = true;
	forget_offers(c);       /* RFC 3207 4.2 */
	say_hello(c, true);
}

/* --- the login --- */

static bool
is_base64(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];
		if (!((ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
			(ch >= '0' && ch <= '9') || ch == '+' || ch == '/' || ch == '='))
			return false;
	}
	return true;
}

static bool
is_mechanism(struct ph_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];
		if (!((ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '-' ||
			ch == '_'))
			return false;
	}
	return s.n > 0 && s.n <= 20;    /* RFC 4422 3.1 */
}

static void
remember(struct smtp_client *c, struct ph_str base64)
{
	client_forget(&c->auth_said);
	buf_room(&c->auth_said, base64.n + 1);
	buf_addstr(&c->auth_said, base64);
}

void
smtp_client_auth(struct smtp_client *c, struct ph_str mechanism, bool has_initial,
                 struct ph_str initial_base64)
{
	size_t n;
	char *p;

	if (c->state != CLIENT_AUTH)
		return;
	if (!is_mechanism(mechanism) || !is_base64(initial_base64)) {
		client_fail(c, PH_EINVAL, 0, STR("login mechanism gave bytes that are not base64"));
		return;
	}
	if (has_initial && initial_base64.n == 0)
		initial_base64 = STR("=");      /* empty but there (RFC 4954 4) */
	n = 5 + mechanism.n + (has_initial ? 1 + initial_base64.n : 0) + 2;
	client_forget(&c->auth_initial);
	if (n > COMMAND_LINE_MAX) {
		buf_room(&c->auth_initial, initial_base64.n);   /* growing would leave copies */
		buf_addstr(&c->auth_initial, initial_base64);
		n = 5 + mechanism.n + 2;
		has_initial = false;
	}
	c->auth_prompt = !has_initial && c->auth_initial.len == 0;
	c->secret = has_initial;
	remember(c, has_initial ? initial_base64 : STR(""));
	p = client_room(c, n);
	memcpy(p, "AUTH ", 5);
	memcpy(p + 5, mechanism.p, mechanism.n);
	if (has_initial) {
		p[5 + mechanism.n] = ' ';
		memcpy(p + 6 + mechanism.n, initial_base64.p, initial_base64.n);
	}
	memcpy(p + n - 2, "\r\n", 2);
	client_wrote(c, n);
	c->secret = true;
	client_expect(c, WAIT_AUTH, NULL, 0);
}

void
smtp_client_auth_step(struct smtp_client *c, struct ph_str base64)
{
	if (c->state != CLIENT_AUTH)
		return;
	if (base64.p == NULL) {
		client_put(c, STR("*"));
	} else if (is_base64(base64)) {
		remember(c, base64);
		client_put(c, base64);
	} else {
		client_fail(c, PH_EINVAL, 0, STR("login mechanism gave bytes that are not base64"));
		return;
	}
	client_expect(c, WAIT_AUTH, NULL, 0);
}
