/*
 * auth-anonymous.c - clients need no login.
 *
 * Without a plugin that admits clients MAIL is answered 530.  Who may relay is
 * another question, and another plugin's: relay-access.
 */
#include <posthouse/posthouse.h>

static enum ph_verdict
anonymous_hello(struct ph_call *call)
{
	ph_admit_anonymous(call);
	return PH_CONTINUE;
}

static int
anonymous_setup(struct ph_setup *setup)
{
	ph_rules_admission(setup);
	return ph_on_decide(setup, PH_HOOK_HELLO, anonymous_hello);
}

PH_PLUGIN(auth_anonymous,
	.summary = "clients need no login",
	.doc     = "Admits every client: MAIL is taken without a login. It says nothing about where "
	           "mail may go; relay-access does.",
	.setup   = anonymous_setup);
