/*
 * auth-oauth2.c - OAuth 2 logins: towards a smart host with a token that the
 * relay gets and renews itself, and of clients that bring their own.
 */
#include <posthouse/posthouse.h>

#include <stdlib.h>

#include "client.h"
#include "oauth.h"
#include "options.h"
#include "source.h"
#include "server.h"

static int
oauth_check(struct ph_setup *setup)
{
	const struct oauth_cfg *cfg = ph_setup_config(setup);
	struct oauth_profile p;
	const char *option;
	char why[300];

	if (!oauth_has_client(cfg) && !oauth_has_server(&cfg->server)) {
		ph_complain(setup, NULL, "has nothing to do: give client-id (or service-account-file) "
		    "to log in to a smart host, or server to let clients log in");
		return 0;
	}
	if (oauth_has_client(cfg)) {
		if (oauth_profile_init(&p, cfg, &option, why) != 0)
			ph_complain(setup, option, "%s", why);
		else if (cfg->provider == OAUTH_GOOGLE && p.grant == OAUTH_REFRESH_TOKEN &&
		    cfg->refresh_token.n == 0 && cfg->device_endpoint == NULL)
			ph_warn(setup, "provider", "google gets no token without refresh-token-file or "
			    "service-account-file\nGoogle allows no device code for mail, so "
			    "`posthouse oauth login` cannot help: get a refresh token with a browser, by "
			    "an OAuth client of type Desktop app");
		oauth_profile_done(&p);
	}
	oauth_server_check(setup, cfg);
	return 0;
}

static int
setup_client(struct ph_setup *setup, struct oauth_cfg *cfg)
{
	struct oauth_profile p;
	const char *option, *dir = NULL;
	char why[300];

	if (oauth_profile_init(&p, cfg, &option, why) != 0) {
		ph_complain(setup, option, "%s", why);
		return PH_EINVAL;
	}
	if (p.grant == OAUTH_REFRESH_TOKEN)
		dir = ph_setup_state_dir(setup);
	if (p.grant != OAUTH_REFRESH_TOKEN || dir != NULL)
		cfg->source = oauth_source_new(&p, ph_setup_instance(setup), dir);
	oauth_profile_done(&p);
	return cfg->source != NULL ? oauth_client_provide(setup) : PH_ENOMEM;
}

static void
let_go(const struct oauth_cfg *cfg)
{
	struct oauth_source *source = cfg->source;
	struct oauth_verifier *verifier = cfg->verifier;

	oauth_source_free(&source);
	oauth_verifier_free(&verifier);
	oauth_http_end();
}

static int
oauth_setup(struct ph_setup *setup)
{
	struct oauth_cfg *cfg = ph_setup_config(setup);
	int rc = oauth_http_begin();

	if (rc != 0) {
		ph_complain(setup, NULL, "libcurl cannot be started");
		return rc;
	}
	oauth_json_wipes();
	if (oauth_has_client(cfg))
		rc = setup_client(setup, cfg);
	if (rc == 0 && oauth_has_server(&cfg->server))
		rc = oauth_server_setup(setup, cfg);
	if (rc != 0) {                  /* no teardown follows a setup that failed */
		let_go(cfg);
		cfg->source = NULL;
		cfg->verifier = NULL;
	}
	return rc;
}

static void
oauth_teardown(struct ph_setup *setup)
{
	let_go(ph_setup_config(setup));
}

static int
oauth_open(struct ph_worker *w, void *data)
{
	const struct oauth_cfg *cfg = ph_worker_config(w);

	(void)data;
	if (cfg->source != NULL)
		oauth_source_keep(cfg->source, w);
	return 0;
}

static void
oauth_close(struct ph_worker *w, void *data)
{
	const struct oauth_cfg *cfg = ph_worker_config(w);

	(void)data;
	if (cfg->source != NULL)
		oauth_source_leave(cfg->source, w);
	oauth_thread_done();
}

PH_PLUGIN(auth_oauth2,
	.summary     = "OAuth 2 logins, towards smart hosts and of clients",
	.doc         = "Gets access tokens from an authorization server, renews them before they end, "
	               "and logs in with them to smart hosts that say auth: with this instance's name "
	               "(XOAUTH2, OAUTHBEARER). With server set, clients may log in with tokens of their own.",
	.flags       = PH_RESIDENT | PH_SUPPLIES_LOGINS,
	.options     = oauth_options,
	.config_size = sizeof(struct oauth_cfg),
	.worker      = { 1, oauth_open, oauth_close },
	.check       = oauth_check,
	.setup       = oauth_setup,
	.teardown    = oauth_teardown,
	.commands    = oauth_commands);
