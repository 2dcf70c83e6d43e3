/*
 * What next hops want of other instances (core/plugin/demand.c), whoever the router is: one that
 * looked at nothing by itself.
 */
#include "plug_stage.h"

static const struct ph_choice c_policies[] = {
	{ "off", PH_TLS_OFF, NULL }, { "opportunistic", PH_TLS_OPPORTUNISTIC, NULL },
	{ "required", PH_TLS_REQUIRED, NULL }, { "verify", PH_TLS_VERIFY, NULL }, { NULL, 0, NULL }
};
struct c_cfg { int tls; bool implicit; const char *provider, *auth; struct ph_next_hop hop; };
static const struct ph_option c_options[] = {
	PH_OPT_CHOICE(struct c_cfg, tls, "tls", c_policies, .dflt = "off", .doc = "Its policy."),
	PH_OPT(struct c_cfg, implicit, "tls-implicit", .dflt = "no", .doc = "TLS at once."),
	PH_OPT(struct c_cfg, provider, "tls-provider", .doc = "Who supplies TLS."),
	PH_OPT(struct c_cfg, auth, "auth", .doc = "Who logs in."),
	PH_OPT_END
};

static enum ph_verdict c_route(struct ph_route *r) { (void)r; return PH_CONTINUE; }
static const struct ph_router c_router = { .size = sizeof c_router, .route = c_route };

static int
c_setup(struct ph_setup *s)
{
	struct c_cfg *cfg = ph_setup_config(s);

	cfg->hop = (struct ph_next_hop){ .size = sizeof cfg->hop, .name = ph_setup_instance(s),
		.tls = (enum ph_tls_policy)cfg->tls, .tls_implicit = cfg->implicit,
		.tls_provider = cfg->provider, .auth = cfg->auth };
	ph_expects_hop(s, &cfg->hop);
	return ph_provide_router(s, &c_router);
}
PH_PLUGIN(caller, .summary = "routes", .options = c_options, .config_size = sizeof(struct c_cfg),
	.setup = c_setup);

struct s_cfg { bool fails, fits; };
static const struct ph_option s_options[] = {
	PH_OPT(struct s_cfg, fails, "fails", .dflt = "no", .doc = "Whether setup fails behind it."),
	PH_OPT(struct s_cfg, fits, "fits", .dflt = "yes", .doc = "Whether it likes hops."),
	PH_OPT_END
};
static int s_open(struct ph_worker *w, void *l, const struct ph_secure_want *want) { (void)w; (void)l; (void)want; return 0; }
static int s_pump(void *l, struct ph_secure_io *io, enum ph_secure_state *st) { (void)l; (void)io; *st = PH_SECURE_OPEN; return 0; }
static void s_facts(void *l, struct ph_secure_facts *out) { (void)l; (void)out; }
static void s_close(void *l) { (void)l; }

static unsigned s_checked;
static void
s_check(struct ph_setup *setup, const void *config, const struct ph_next_hop *hop)
{
	const struct s_cfg *cfg = config;

	assert_false(cfg->fails);       /* what failed in setup has nothing left to look at */
	assert_non_null(hop->name);
	s_checked++;
	if (!cfg->fits)
		ph_complain(setup, "tls", "does not fit");
}

static int
s_setup(struct ph_setup *s)
{
	static const struct ph_secure secure = { .size = sizeof secure, .layer_size = 10, .open = s_open,
		.pump = s_pump, .facts = s_facts, .close = s_close, .check = s_check };
	const struct s_cfg *cfg = ph_setup_config(s);
	int rc = ph_provide_secure(s, &secure);

	if (cfg->fails)
		ph_complain(s, NULL, "has thought better of it");
	return rc;
}
PH_PLUGIN(tls, .summary = "secures", .flags = PH_SUPPLIES_TLS, .options = s_options,
	.config_size = sizeof(struct s_cfg), .setup = s_setup);
PH_PLUGIN(idle, .summary = "does nothing");

const struct ph_plugin *const loader_static[] = {
	&ph_plugin_caller, &ph_plugin_tls, &ph_plugin_idle, NULL
};

#define CALLER(options) "  - caller: { " options " }\n"

static void
hops_are_compared(void **state)
{
	static const struct { const char *plugins, *words; unsigned checked; } cases[] = {
		{ CALLER("tls: off") "  - tls\n", NULL, 0 },
		{ CALLER("tls: opportunistic"), NULL, 0 },
		{ CALLER("tls: required") "  - tls\n", NULL, 1 },
		{ CALLER("tls: required") "  - tls: { fits: no }\n", "plugins.caller.tls: does not fit", 1 },
		/* implicit TLS is TLS, whatever the policy believes of the other side */
		{ CALLER("tls-implicit: yes") "  - tls: { fits: no }\n", "plugins.caller.tls: does not fit", 1 },
		{ CALLER("tls: verify"), "plugins.caller.tls: is needed, and no plugin supplies it", 0 },
		{ CALLER("tls-implicit: yes"), "plugins.caller.tls: is needed, and no plugin supplies it", 0 },
		{ CALLER("tls: required") "  - tls\n  - tls: { as: other }\n", "plugins.caller.tls: is needed, and "
		  "several instances supply it", 0 },
		{ CALLER("tls: required, tls-provider: other") "  - tls\n  - tls: { as: other }\n", NULL, 1 },
		{ CALLER("tls: required, tls-provider: idle") "  - tls\n  - idle\n", "plugins.caller.tls: is needed, "
		  "and idle does not supply it", 0 },
		{ CALLER("auth: nobody"), "plugins.caller.auth: there is no instance nobody", 0 },
		{ CALLER("auth: idle") "  - idle\n", "plugins.caller.auth: idle supplies nothing to log in with", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		s_checked = 0;
		if (cases[i].words == NULL) {
			stage_up(cases[i].plugins);
			stage_down();
		} else {
			assert_null(stage_check(cases[i].plugins));
			assert_non_null(stage_report.data);
			if (strstr(stage_report.data, cases[i].words) == NULL)
				fail_msg("%s: %s", cases[i].plugins, stage_report.data);
		}
		assert_int_equal(s_checked, cases[i].checked);
	}
}

static void
what_failed_is_not_asked(void **state)
{
	(void)state;
	s_checked = 0;
	assert_null(stage_check(CALLER("tls: verify") "  - tls: { fails: yes }\n"));
	assert_non_null(strstr(stage_report.data, "plugins.tls: has thought better of it"));
	assert_null(strstr(stage_report.data, "plugins.caller"));
	assert_int_equal(s_checked, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hops_are_compared), cmocka_unit_test(what_failed_is_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
