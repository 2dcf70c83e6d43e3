/*
 * sender_rules.c - which login may use which sender address: asked at MAIL, of every session with
 * a login, whichever plugin it came from.
 */
#include "basic.h"

#include <string.h>
#include <strings.h>

#include "credentials.h"
#include "senders.h"

static int
kind_read(const char *path, const void *arg, void **out, text_say say, void *say_arg)
{
	struct senders *s;
	int rc = senders_read(path, &s, say, say_arg);

	(void)arg;
	if (rc == 0)
		*out = s;
	return rc;
}

static void *
kind_ref(void *object)
{
	return senders_ref(object);
}

static void
kind_unref(void *object)
{
	struct senders *s = object;

	senders_unref(&s);
}

static size_t
kind_count(const void *object)
{
	return senders_count(object);
}

static const struct watched_kind senders_kind = {
	.what = "sender-login map", .read = kind_read, .ref = kind_ref, .unref = kind_unref,
	.count = kind_count,
};

enum sender_rule
sender_rule_parse(const char *text, const char **out_file)
{
	const char *file;

	if (strcmp(text, "any") == 0)
		return SENDER_ANY;
	if (strcmp(text, "own-domain") == 0)
		return SENDER_OWN_DOMAIN;
	if (strncmp(text, "map", 3) != 0 || (text[3] != ' ' && text[3] != '\t'))
		return SENDER_UNKNOWN;
	file = text + 3 + strspn(text + 3, " \t");
	if (file[0] != '/')
		return SENDER_UNKNOWN;
	*out_file = file;
	return SENDER_MAP;
}

static void
complain(void *arg, const char *text)
{
	ph_complain(arg, "sender-login", "%s", text);
}

static void
missing(struct ph_setup *setup, const char *file)
{
	ph_complain(setup, "sender-login", "%s does not exist; without it nobody who logs in could "
	    "send", file);
}

void
sender_rules_check(struct ph_setup *setup, const struct basic_cfg *cfg)
{
	struct senders *s = NULL;
	const char *file;

	switch (sender_rule_parse(cfg->sender_login, &file)) {
	case SENDER_UNKNOWN:
		ph_complain(setup, "sender-login", "\"%s\" is none of any, own-domain and map FILE, "
		    "with the whole path of the file", cfg->sender_login);
		break;
	case SENDER_MAP:
		if (senders_read(file, &s, complain, setup) == PH_ENOENT)
			missing(setup, file);
		senders_unref(&s);
		break;
	default:
		break;
	}
}

/* --- MAIL --- */

static bool
same_domain(struct ph_call *call, const struct basic_cfg *cfg)
{
	struct ph_str login = ph_client_login(call), domain = { NULL, 0 };
	struct ph_str how = ph_client_mechanism(call);

	for (size_t i = login.n; i-- > 0 && domain.p == NULL;)
		if (login.p[i] == '@')
			domain = (struct ph_str){ login.p + i + 1, login.n - i - 1 };
	/* The name in a certificate is whole as it is, and LAB\bob has another kind of domain. */
	if (domain.p == NULL && cfg->default_domain != NULL &&
	    !(how.n == 8 && strncasecmp(how.p, "EXTERNAL", 8) == 0) &&
	    memchr(login.p, '\\', login.n) == NULL)
		domain = (struct ph_str){ cfg->default_domain, strlen(cfg->default_domain) };
	return domain.n > 0 && name_same(domain, ph_sender_domain(call));
}

static enum ph_verdict
sender_mail(struct ph_call *call)
{
	const struct basic_cfg *cfg = ph_config(call);
	struct ph_str login = ph_client_login(call), sender = ph_sender(call);
	bool fine;

	/* Reports are nobody's: whoever may send may send them (RFC 5321 4.5.5). */
	if (login.n == 0 || sender.n == 0)
		return PH_CONTINUE;
	if (cfg->sender_rule == SENDER_OWN_DOMAIN) {
		fine = same_domain(call, cfg);
	} else {
		struct senders *s = watched_get(cfg->state->senders);
		struct ph_str mechanism = ph_client_mechanism(call);
		/* The name in a certificate is whole as it is. */
		bool whole = mechanism.n == 8 && strncasecmp(mechanism.p, "EXTERNAL", 8) == 0;

		fine = senders_allow(s, login, whole ? NULL : cfg->default_domain, sender);
		senders_unref(&s);
	}
	if (fine)
		return PH_CONTINUE;
	ph_log(call, PH_WARN, "login %.*s may not send as <%.*s> (sender-login: %s)", (int)login.n,
	    login.p, (int)sender.n, sender.p, cfg->sender_login);
	return ph_reject(call, PH_R_SENDER_NOT_YOURS, NULL);
}

int
sender_rules_setup(struct ph_setup *setup, const struct basic_cfg *cfg)
{
	struct basic_cfg *mine = ph_setup_config(setup);
	const char *file = NULL;
	int rc;

	mine->sender_rule = (int)sender_rule_parse(cfg->sender_login, &file);
	if (cfg->sender_rule == SENDER_ANY)
		return 0;
	if (cfg->sender_rule == SENDER_MAP) {
		cfg->state->senders = watched_new(&senders_kind, file, NULL, NULL);
		if (cfg->state->senders == NULL)
			return PH_ENOMEM;
		rc = watched_load(cfg->state->senders, complain, setup);
		if (rc == PH_ENOENT)
			missing(setup, file);
		if (rc != 0)
			return rc;
	}
	return ph_on_decide(setup, PH_HOOK_MAIL, sender_mail);
}
