/*
 * message.c - the messages of XOAUTH2 and OAUTHBEARER.
 *
 * Both are lists of key=value ended by ^A.  Peers choose all of it: a value
 * that could end its field, and with it begin another, is refused on both ways.
 */
#include "message.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "answer.h"

static bool
is_plain(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] < 0x20 || p[i] == 0x7F)
			return false;
	return n > 0;
}

/* saslname of RFC 5801 4: = and , are written =3D and =2C */
static void
add_saslname(struct oauth_text *out, const char *user)
{
	for (; *user != '\0'; user++) {
		if (*user == '=')
			oauth_text_adds(out, "=3D");
		else if (*user == ',')
			oauth_text_adds(out, "=2C");
		else
			oauth_text_add(out, user, 1);
	}
}

int
oauth_message_build(enum oauth_mechanism m, const char *user, struct ph_str host, uint16_t port,
                    struct ph_str token, struct oauth_text *out)
{
	char number[32];

	if (!is_plain(user, strlen(user)) || strlen(user) > 255 || !oauth_token_valid(token) ||
	    (host.n > 0 && !is_plain(host.p, host.n)))
		return PH_EINVAL;
	if (m == OAUTH_XOAUTH2) {
		oauth_text_adds(out, "user=");
		oauth_text_adds(out, user);
	} else {
		oauth_text_adds(out, "n,a=");
		add_saslname(out, user);
		oauth_text_adds(out, ",");
		if (host.n > 0) {
			oauth_text_adds(out, "\001host=");
			oauth_text_add(out, host.p, host.n);
		}
		snprintf(number, sizeof number, "\001port=%u", (unsigned)port);
		if (port != 0)
			oauth_text_adds(out, number);
	}
	oauth_text_adds(out, "\001auth=Bearer ");
	oauth_text_add(out, token.p, token.n);
	oauth_text_adds(out, "\001\001");
	return out->failed ? PH_ENOMEM : 0;
}

/* --- reading --- */

static struct ph_str
cut(struct ph_str *rest, char at)
{
	const char *p = rest->n > 0 ? memchr(rest->p, at, rest->n) : NULL;
	struct ph_str word = { rest->p, p != NULL ? (size_t)(p - rest->p) : rest->n };
	size_t used = p != NULL ? word.n + 1 : word.n;

	rest->p += used;
	rest->n -= used;
	return word;
}

static bool
begins(struct ph_str s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && memcmp(s.p, with, n) == 0;
}

static int
take_user(struct ph_str name, bool is_saslname, struct oauth_message *out)
{
	size_t n = 0;

	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (is_saslname && c == '=') {
			struct ph_str code = { name.p + i, name.n - i };

			if (!begins(code, "=2C") && !begins(code, "=3D"))
				return PH_EINVAL;
			c = name.p[i + 2] == 'C' ? ',' : '=';
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7F || n + 1 >= sizeof out->user)
			return PH_EINVAL;
		out->user[n++] = c;
	}
	out->user[n] = '\0';
	return 0;
}

/* "Bearer TOKEN"; the scheme in any case (RFC 7628 3.1, RFC 9110 11.1) */
static int
take_auth(struct ph_str value, struct oauth_message *out)
{
	static const char scheme[] = "Bearer ";
	size_t n = sizeof scheme - 1;

	if (out->token.p != NULL || value.n <= n || strncasecmp(value.p, scheme, n) != 0)
		return PH_EINVAL;
	while (n < value.n && value.p[n] == ' ')
		n++;
	out->token = (struct ph_str){ value.p + n, value.n - n };
	return oauth_token_valid(out->token) ? 0 : PH_EINVAL;
}

/* "n,a=user," or "y,,": the gs2 header of RFC 5801; channel binding is not for this mechanism */
static int
take_gs2(struct ph_str head, struct oauth_message *out)
{
	struct ph_str flag = cut(&head, ','), name;

	if (flag.n != 1 || (flag.p[0] != 'n' && flag.p[0] != 'y') || head.n == 0 ||
	    head.p[head.n - 1] != ',')
		return PH_EINVAL;
	name = (struct ph_str){ head.p, head.n - 1 };
	if (name.n == 0)
		return 0;
	if (!begins(name, "a=") || name.n == 2 || memchr(name.p, ',', name.n) != NULL)
		return PH_EINVAL;
	return take_user((struct ph_str){ name.p + 2, name.n - 2 }, true, out);
}

int
oauth_message_parse(enum oauth_mechanism m, struct ph_str in, struct oauth_message *out)
{
	struct ph_str field;
	bool user_seen = m != OAUTH_XOAUTH2;

	*out = (struct oauth_message){ 0 };
	/* It ends with two ^A, and there is no empty field before those. */
	if (in.n < 2 || in.p[in.n - 1] != '\001' || in.p[in.n - 2] != '\001')
		return PH_EINVAL;
	in.n--;
	if (m == OAUTH_BEARER && take_gs2(cut(&in, '\001'), out) != 0)
		return PH_EINVAL;
	while (in.n > 0) {
		field = cut(&in, '\001');
		if (begins(field, "auth=")) {
			if (take_auth((struct ph_str){ field.p + 5, field.n - 5 }, out) != 0)
				return PH_EINVAL;
		} else if (m == OAUTH_XOAUTH2 && begins(field, "user=")) {
			if (user_seen || take_user((struct ph_str){ field.p + 5, field.n - 5 }, false,
			    out) != 0)
				return PH_EINVAL;
			user_seen = true;
		} else if (field.n == 0 || field.p[0] == '=' || memchr(field.p, '=', field.n) == NULL)
			return PH_EINVAL;       /* other keys are passed over (RFC 7628 3.1) */
	}
	return user_seen && out->token.p != NULL ? 0 : PH_EINVAL;
}

/* --- refusals --- */

void
oauth_refusal_build(const char *status, const char *scope, const char *configuration,
                    struct oauth_text *out)
{
	json_t *o = json_pack("{s:s, s:s, s:s*, s:s*}", "status", status, "schemes", "bearer", "scope",
	    scope, "openid-configuration", configuration);
	char *s = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;

	if (s != NULL)
		oauth_text_adds(out, s);
	else
		oauth_text_adds(out, "{\"status\":\"invalid_token\"}");
	json_decref(o);
	if (s != NULL) {
		json_malloc_t alloc;
		json_free_t release;

		json_get_alloc_funcs(&alloc, &release);
		release(s);
	}
}

void
oauth_refusal_read(struct ph_str in, char *out, size_t room)
{
	json_t *o = in.n <= 4096 ? json_loadb(in.p != NULL ? in.p : "", in.n, 0, NULL) : NULL;
	const char *status = json_string_value(json_object_get(o, "status"));
	const char *scope = json_string_value(json_object_get(o, "scope"));
	char s[64], sc[160];

	oauth_plain(s, sizeof s, status != NULL ? status : "not said");
	oauth_plain(sc, sizeof sc, scope != NULL ? scope : "");
	snprintf(out, room, "status %s%s%s", s, sc[0] != '\0' ? ", scope wanted " : "", sc);
	json_decref(o);
}
