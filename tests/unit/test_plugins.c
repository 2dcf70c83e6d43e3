/*
 * The plugins auth-anonymous, relay-access and smarthost, and the small one
 * that PLUGINS.md starts with.
 */
#include "plug_stage.h"

#include "../../plugins/auth-anonymous/auth-anonymous.c"
#include "../../plugins/relay-access/relay-access.c"
#include "../../plugins/smarthost/secrecy.c"
#include "../../plugins/smarthost/smarthost.c"
#include "../../plugins/example/refuse.c"

const struct ph_plugin *const loader_static[] = {
	&ph_plugin_auth_anonymous, &ph_plugin_relay_access, &ph_plugin_smarthost, &ph_plugin_refuse, NULL
};

static void
anonymous_admits(void **state)
{
	(void)state;
	stage_up("  - auth-anonymous\n");
	assert_true(gen->admission_ruled);
	assert_false(gen->relay_ruled);
	assert_false(ps.admitted);
	assert_true(ask(PH_HOOK_HELLO));
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	assert_true(ps.admitted);
	stage_down();
}

static void
who_may_relay(void **state)
{
	static const struct {
		const char *options; struct ph_addr client; const char *login; bool may;
	} cases[] = {
		{ "", { 4, 0, { 127, 0, 0, 1 } }, "", true },
		{ "", { 4, 0, { 127, 9, 9, 9 } }, "", true },
		{ "", { 6, 0, { [15] = 1 } }, "", true },
		{ "", { 4, 0, { 10, 0, 0, 1 } }, "", false },
		{ "", { 6, 0, { 0x20, 1, 0xd, 0xb8 } }, "", false },
		{ "", { 0, 0, { 0 } }, "", false },
		{ "", { 4, 0, { 10, 0, 0, 1 } }, "ann", true },
		{ ": { authenticated: no }", { 4, 0, { 10, 0, 0, 1 } }, "ann", false },
		{ ": { allow: [10.0.0.0/8] }", { 4, 0, { 10, 0, 0, 1 } }, "", true },
		{ ": { allow: [10.0.0.0/8] }", { 4, 0, { 11, 0, 0, 1 } }, "", false },
		{ ": { allow: 10.0.0.1 }", { 4, 0, { 10, 0, 0, 1 } }, "", true },
		{ ": { allow: 10.0.0.1 }", { 4, 0, { 10, 0, 0, 2 } }, "", false },
	};
	char yaml[128];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(yaml, sizeof yaml, "  - relay-access%s\n", cases[i].options);
		stage_up(yaml);
		assert_true(gen->relay_ruled);
		facts.client = cases[i].client;
		facts.login = str_of(cases[i].login);
		assert_true(ask(PH_HOOK_RCPT));
		assert_int_equal(ps.relay_permitted, cases[i].may);
		assert_int_equal(outcome.verdict, cases[i].may ? PH_CONTINUE : PH_REJECT);
		assert_int_equal(outcome.reply, cases[i].may ? PH_R_NONE : PH_R_RELAY_DENIED);
		stage_down();
	}
}

static void
domains_match(void **state)
{
	static const struct { const char *pattern, *domain; bool match; } cases[] = {
		{ "example.com", "example.com", true }, { "example.com", "EXAMPLE.Com", true },
		{ "example.com", "a.example.com", false }, { "example.com", "example.comm", false },
		{ "example.com", "xexample.com", false }, { ".example.com", "a.example.com", true },
		{ ".example.com", "a.b.EXAMPLE.com", true }, { ".example.com", "example.com", false },
		{ ".example.com", "aexample.com", false }, { "*.example.com", "a.example.com", true },
		{ "*.example.com", "example.com", false }, { ".example.com", ".example.com", false },
		{ "example.com", "", false }, { ".example.com", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (domain_matches(cases[i].pattern, str_of(cases[i].domain)) != cases[i].match)
			fail_msg("%s against %s", cases[i].domain, cases[i].pattern);
}

static void
smarthosts_share_recipients(void **state)
{
	static const uint32_t rcpts[] = { 0, 1, 2 };
	struct route_answer v[3];
	bool now;

	(void)state;
	stage_up("  - smarthost: { as: partner, hosts: \"gw.partner.example:2525\", "
	    "domains: [partner.example, .partner.example], connections: 3 }\n"
	    "  - smarthost: { hosts: [\"127.0.0.1:2526\", \"[smtp.example.com]\"], port: 587 }\n");
	ps.txn_arena = &txn_arena;
	envelope_add(&env)->to = (struct address){ .full = STR("a@b.c"), .domain = STR("b.c") };
	envelope_add(&env)->to = (struct address){ .full = STR("a@x.partner.example"), .domain = STR("x.partner.example") };
	envelope_add(&env)->to = (struct address){ .full = STR("postmaster"), .domain = STR("") };
	route_ask(wp, &env, rcpts, 3, &txn_arena, v, NULL, NULL, &now);
	assert_true(now);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(v[i].kind, ROUTE_HOP);
	assert_string_equal(v[0].hop->name, "smarthost");
	assert_string_equal(v[1].hop->name, "partner");
	assert_ptr_equal(v[2].hop, v[0].hop);
	assert_int_equal(v[0].hop->default_port, 587);
	assert_int_equal(v[0].hop->hosts.n, 2);
	assert_int_equal(v[0].hop->connections, 20);
	assert_int_equal(v[0].hop->recipients_per_message, 100);
	assert_int_equal(v[0].hop->connect_timeout.ms, 30000);
	assert_false(v[0].hop->allow_loopback);
	assert_int_equal(v[1].hop->connections, 3);
	assert_int_equal(v[1].hop->default_port, 25);
	stage_down();

	stage_up("  - smarthost: { hosts: localhost, allow-loopback: yes }\n");
	assert_true(((const struct smarthost_cfg *)gen->instances[0].config)->hop.allow_loopback);
	stage_down();
}

static void
mistakes_are_told(void **state)
{
	static const struct { const char *plugins, *message; } cases[] = {
		{ "  - smarthost\n", "plugins.smarthost: hosts is required" },
		{ "  - smarthost: { hosts: [] }\n", "plugins.smarthost.hosts: is empty" },
		{ "  - smarthost: { hosts: localhost }\n",
		  "3:25: error: plugins.smarthost.hosts: localhost is this machine; write 127.0.0.1, or set allow-loopback: yes" },
		{ "  - smarthost: { hosts: \"a.LocalHost:25\" }\n", "is this machine" },
		{ "  - smarthost: { hosts: a.b, domains: [\"*x\"] }\n", "plugins.smarthost.domains: \"*x\" is not a domain" },
		{ "  - smarthost: { hosts: a.b, domains: [\"a@b\"] }\n", "\"a@b\" is not a domain" },
		{ "  - smarthost: { hosts: a.b, domains: [\".\"] }\n", "\".\" is not a domain" },
		{ "  - smarthost: { hosts: a.b, port: 0 }\n", "plugins.smarthost.port" },
		{ "  - smarthost: { hosts: a.b, connections: 0 }\n", "plugins.smarthost.connections" },
		{ "  - smarthost: { host: a.b }\n", "did you mean hosts" },
		{ "  - relay-access: { allow: 10.0.0.0/33 }\n", "plugins.relay-access.allow" },
		{ "  - relay-access: { allow: 0.0.0.0/0, authenticated: perhaps }\n", "plugins.relay-access.authenticated" },
		{ "  - auth-anonymous: { strict: yes }\n", "plugins.auth-anonymous.strict: no such option" },
	};
	struct generation *g;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_null(stage_check(cases[i].plugins));
		if (strstr(stage_report.data, cases[i].message) == NULL)
			fail_msg("%s: got\n%s", cases[i].plugins, stage_report.data);
	}
	g = stage_check("  - relay-access: { allow: 0.0.0.0/0 }\n");
	assert_non_null(g);
	assert_non_null(strstr(stage_report.data, "warning: plugins.relay-access.allow: a network of "
	    "length 0 lets everybody relay"));
	generation_unref(&g);
	assert_int_equal(mailbox_run(&main_box), 1);
	loader_done();
	log_flush();
	buf_free(&log_lines);
	buf_free(&stage_report);
}

static void
senders_are_refused(void **state)
{
	struct address from = { .full = STR("a@Spam.example"), .domain = STR("Spam.example") };

	(void)state;
	stage_up("  - refuse: { domains: [other.example, spam.example] }\n");
	ps.asking_from = &from;
	assert_true(ask(PH_HOOK_MAIL));
	assert_int_equal(outcome.verdict, PH_REJECT);
	assert_string_equal(outcome_text, "No mail from your domain");
	from.domain = STR("am.example");
	assert_true(ask(PH_HOOK_MAIL));
	assert_int_equal(outcome.verdict, PH_CONTINUE);
	stage_down();
}

/* Every row has prose: a full sentence first. */
static void
rows_have_prose(void **state)
{
	(void)state;
	for (size_t i = 0; loader_static[i] != NULL; i++) {
		assert_non_null(loader_static[i]->summary);
		for (const struct ph_option *o = loader_static[i]->options; o != NULL && o->name; o++) {
			assert_non_null(o->doc);
			assert_int_equal(o->doc[strlen(o->doc) - 1], '.');
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anonymous_admits),
		cmocka_unit_test(who_may_relay),
		cmocka_unit_test(domains_match),
		cmocka_unit_test(smarthosts_share_recipients),
		cmocka_unit_test(mistakes_are_told),
		cmocka_unit_test(senders_are_refused),
		cmocka_unit_test(rows_have_prose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
