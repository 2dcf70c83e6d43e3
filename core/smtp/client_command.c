/*
 * client_command.c - the commands of a transaction, and what is refused
 * before any is sent.
 *
 * Addresses and parameters come from clients of ours.  They were parsed when
 * they arrived; they are looked at again here, because this is the last
 * place before they become command lines of the next hop.
 */
#include "smtp/client_private.h"

enum { ADDRESS_BAD = 1, ADDRESS_EIGHT_BIT = 2 };
enum { ENVID_MAX = 100, ORCPT_MAX = 500 };      /* RFC 3461 5.4, 4.2 */

/* What could end a command line or a path early. */
static unsigned
look_at_address(struct ph_str s)
{
	unsigned seen = 0;
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		uint8_t ch = (uint8_t)s.p[i];
		if (ch < 0x20 || ch == 0x7f)
			return ADDRESS_BAD;
		if (ch >= 0x80)
			seen = ADDRESS_EIGHT_BIT;
		else if (ch == '"')
			quoted = !quoted;
		else if (quoted && ch == '\\') {
			if (++i == s.n || (uint8_t)s.p[i] < 0x20 || s.p[i] == 0x7f)
				return ADDRESS_BAD;
		} else if (!quoted && (ch == '<' || ch == '>' || ch == ' '))
			return ADDRESS_BAD;
	}
	return quoted ? ADDRESS_BAD : seen;
}

static bool
is_parameter(struct ph_str s, size_t max)
{
	for (size_t i = 0; i < s.n; i++)
		if ((uint8_t)s.p[i] <= 0x20 || (uint8_t)s.p[i] >= 0x7f)
			return false;
	return s.n > 0 && s.n <= max;
}

/* --- refused by us --- */

static void
refuse(struct smtp_client_txn *t, uint32_t i, int code, const char *text)
{
	struct smtp_client_rcpt *r = &t->rcpts[i];

	if (r->code != 0)
		return;
	r->code = code;
	r->ours = true;
	r->reply = arena_str(t->arena, str_of(text));
}

static void
refuse_all(struct smtp_client_txn *t, int code, const char *text)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		refuse(t, i, code, text);
}

/* Header fields in UTF-8 need SMTPUTF8 as much as addresses do (RFC 6531
 * 3.6); content that is elsewhere counts as such. */
static bool
header_is_utf8(const struct smtp_client_txn *t)
{
	uint64_t at = 0, size;
	uint8_t last = '\n';

	if (t->content == NULL)
		return false;
	if (!ph_content_in_memory(t->content))
		return true;
	for (size = ph_content_size(t->content); at < size; ) {
		struct ph_str run = ph_content_at(t->content, at);
		for (size_t i = 0; i < run.n; i++) {
			uint8_t ch = (uint8_t)run.p[i];
			if (ch >= 0x80)
				return true;
			if (ch == '\n' && last == '\n')
				return false;   /* the empty line */
			if (ch != '\r')
				last = ch;
		}
		if (run.n == 0)
			return true;
		at += run.n;
	}
	return false;
}

static void
vet_utf8(struct smtp_client *c, struct smtp_client_txn *t)
{
	static const char text[] =
	    "553 5.6.7 the next hop does not offer SMTPUTF8, which this message needs";

	if ((c->ext & SMTP_EXT_SMTPUTF8) != 0)
		return;
	if ((look_at_address(t->env->from.full) & ADDRESS_EIGHT_BIT) != 0 ||
	    (t->env->smtputf8 && t->eight_bit && header_is_utf8(t))) {
		refuse_all(t, 553, text);
		return;
	}
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if ((look_at_address(t->rcpts[i].rcpt->to.full) & ADDRESS_EIGHT_BIT) != 0)
			refuse(t, i, 553, text);
}

void
client_vet(struct smtp_client *c, struct smtp_client_txn *t)
{
	const struct envelope *env = t->env;
	uint32_t asked = 0;

	if ((look_at_address(env->from.full) & ADDRESS_BAD) != 0)
		refuse_all(t, 501, "501 5.1.7 the sender's address cannot be sent");
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].rcpt->to.full.n == 0 ||
		    (look_at_address(t->rcpts[i].rcpt->to.full) & ADDRESS_BAD) != 0)
			refuse(t, i, 501, "501 5.1.3 the recipient's address cannot be sent");
	if (c->max_size > 0 && t->size > c->max_size)
		refuse_all(t, 552, arena_printf(t->arena,
		    "552 5.3.4 message of %llu bytes is too large: the next hop takes %llu",
		    (unsigned long long)t->size, (unsigned long long)c->max_size));
	/* RFC 3030 3: binary content cannot be dot-stuffed, and converting it is not a relay's
	 * work. */
	if (env->body == BODY_BINARYMIME && ((c->ext & SMTP_EXT_BINARYMIME) == 0 || !c->bdat))
		refuse_all(
		    t, 554, "554 5.6.3 the next hop does not offer BINARYMIME with CHUNKING");
	vet_utf8(c, t);
	for (uint32_t i = 0; c->max_rcpts > 0 && i < t->nrcpts; i++)
		if (t->rcpts[i].code == 0 && asked++ >= c->max_rcpts)
			refuse(
			    t, i, 452, "452 4.5.3 more recipients than the next hop takes at once");
}

/* --- commands --- */

static char *
add(char *p, struct ph_str s)
{
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return p + s.n;
}

static char *
add_number(char *p, uint64_t n)
{
	char digits[20];
	int k = 0;

	do
		digits[k++] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (k > 0)
		*p++ = digits[--k];
	return p;
}

void
client_put(struct smtp_client *c, struct ph_str line)
{
	char *p = client_room(c, line.n + 2);

	(void)add(add(p, line), STR("\r\n"));
	client_wrote(c, line.n + 2);
}

void
client_put_mail(struct smtp_client *c, struct smtp_client_txn *t)
{
	const struct envelope *env = t->env;
	char *start = client_room(c, env->from.full.n + ENVID_MAX + 128), *p = start;

	p = add(p, STR("MAIL FROM:<"));
	p = add(p, env->from.full);
	*p++ = '>';
	if ((c->ext & SMTP_EXT_SIZE) != 0)
		p = add_number(add(p, STR(" SIZE=")), t->size);
	/* Where 8BITMIME is not offered, 8-bit content goes out undeclared: such
	 * servers pass it in practice, while bouncing or re-coding would
	 * break signatures and mail that arrives today (RFC 6152 3 wants one of those). */
	if (env->body == BODY_BINARYMIME)
		p = add(p, STR(" BODY=BINARYMIME"));
	else if ((env->body == BODY_8BITMIME || t->eight_bit) && (c->ext & SMTP_EXT_8BITMIME) != 0)
		p = add(p, STR(" BODY=8BITMIME"));
	if ((c->ext & SMTP_EXT_SMTPUTF8) != 0) {
		bool needed = env->smtputf8 || env->from.utf8;
		for (uint32_t i = 0; i < t->nrcpts && !needed; i++)
			needed = t->rcpts[i].code == 0 && t->rcpts[i].rcpt->to.utf8;
		if (needed)
			p = add(p, STR(" SMTPUTF8"));
	}
	if ((c->ext & SMTP_EXT_DSN) != 0) {
		if (env->ret != RET_NONE)
			p = add(p, env->ret == RET_FULL ? STR(" RET=FULL") : STR(" RET=HDRS"));
		if (is_parameter(env->envid, ENVID_MAX))
			p = add(add(p, STR(" ENVID=")), env->envid);
	}
	p = add(p, STR("\r\n"));
	client_wrote(c, (size_t)(p - start));
	client_expect(c, WAIT_MAIL, t, 0);
	c->mails++;
}

void
client_put_rcpt(struct smtp_client *c, struct smtp_client_txn *t, uint32_t i)
{
	const struct recipient *r = t->rcpts[i].rcpt;
	char *start = client_room(c, r->to.full.n + ORCPT_MAX + 128), *p = start;

	p = add(p, STR("RCPT TO:<"));
	p = add(p, r->to.full);
	*p++ = '>';
	if ((c->ext & SMTP_EXT_DSN) != 0) {
		if (r->notify == NOTIFY_NEVER)
			p = add(p, STR(" NOTIFY=NEVER"));
		else if (r->notify != NOTIFY_DEFAULT) {
			p = add(p, STR(" NOTIFY="));
			if ((r->notify & NOTIFY_SUCCESS) != 0)
				p = add(p, STR("SUCCESS,"));
			if ((r->notify & NOTIFY_FAILURE) != 0)
				p = add(p, STR("FAILURE,"));
			if ((r->notify & NOTIFY_DELAY) != 0)
				p = add(p, STR("DELAY,"));
			p--;            /* the last comma, or the '=' of bits nobody knows */
		}
		if (is_parameter(r->orcpt, ORCPT_MAX))
			p = add(add(p, STR(" ORCPT=")), r->orcpt);
	}
	p = add(p, STR("\r\n"));
	client_wrote(c, (size_t)(p - start));
	client_expect(c, WAIT_RCPT, t, i);
}

void
client_put_bdat(struct smtp_client *c, struct smtp_client_txn *t)
{
	char *start = client_room(c, 40), *p = start;

	p = add_number(add(p, STR("BDAT ")), t->size);
	p = add(p, STR(" LAST\r\n"));
	client_wrote(c, (size_t)(p - start));
	client_expect(c, WAIT_BDAT, t, 0);
	client_push_content(c, t);
}
