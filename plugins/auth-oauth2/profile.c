/*
 * profile.c - the preset of a provider with the options over it, and the keys
 * that assertions are signed with.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oauth.h"

#define MICROSOFT "https://login.microsoftonline.com/"

static const struct preset {
	const char *token, *device, *app_scope, *user_scope;
} presets[] = {
	[OAUTH_GENERIC] = { NULL, NULL, "", "" },
	/* The scope of an application names the resource; that of a person one right, and that
	 * there shall be a refresh token. */
	[OAUTH_MICROSOFT] = { MICROSOFT "%s/oauth2/v2.0/token", MICROSOFT "%s/oauth2/v2.0/devicecode",
	    "https://outlook.office365.com/.default",
	    "https://outlook.office.com/SMTP.Send offline_access" },
	[OAUTH_GOOGLE] = { "https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com/device/code",
	    "https://mail.google.com/", "https://mail.google.com/" },
};

struct wrong { const char **option; char *why; };

static int PH_PRINTF(3, 4)
wrong(struct wrong *w, const char *option, const char *fmt, ...)
{
	va_list ap;

	*w->option = option;
	va_start(ap, fmt);
	(void)vsnprintf(w->why, 300, fmt, ap);
	va_end(ap);
	return PH_EINVAL;
}

/* A whole small file; NULL with errno set. */
static char *
read_file(const char *path, size_t *n)
{
	enum { MOST = 64 * 1024 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *buf;
	ssize_t got;

	if (fd < 0)
		return NULL;
	buf = malloc(MOST);
	got = buf != NULL ? read(fd, buf, MOST) : -1;
	(void)close(fd);
	if (got < 0) {
		free(buf);
		return NULL;
	}
	*n = (size_t)got;
	return buf;
}

/* --- keys --- */

static int
use_certificate(struct oauth_profile *p, struct wrong *w)
{
	const struct oauth_cfg *cfg = p->cfg;
	char *pem;
	size_t n = 0;
	int rc;

	p->key = oauth_key_read((struct ph_str){ cfg->client_key.p, cfg->client_key.n });
	if (p->key == NULL)
		return wrong(w, "client-key", "holds no private key in PEM without a pass phrase");
	p->alg = (enum oauth_alg)cfg->algorithm;
	if (p->alg == OAUTH_ALG_NONE)
		p->alg = EVP_PKEY_get_base_id(p->key) == EVP_PKEY_EC ? OAUTH_ES256
		    : cfg->provider == OAUTH_MICROSOFT ? OAUTH_PS256 : OAUTH_RS256;
	if (!oauth_alg_fits(p->alg, p->key))
		return wrong(w, "client-key", "is of another kind than assertion-algorithm wants "
		    "(RSA of 2048 bits and more for RS256 and PS256, P-256 for ES256)");
	if (cfg->client_certificate == NULL)
		return 0;
	pem = read_file(cfg->client_certificate, &n);
	if (pem == NULL)
		return wrong(w, "client-certificate", "%.200s: %s", cfg->client_certificate,
		    strerror(errno));
	rc = oauth_certificate_read((struct ph_str){ pem, n }, p->key, p->x5t, p->x5t_s256);
	free(pem);
	if (rc == PH_EPERM)
		return wrong(w, "client-certificate", "%.200s belongs to another key than client-key",
		    cfg->client_certificate);
	if (rc != 0)
		return wrong(w, "client-certificate", "%.200s holds no certificate in PEM",
		    cfg->client_certificate);
	return 0;
}

/* The file that Google hands out: {"client_email": ..., "private_key": PEM, ...} */
static int
use_service_account(struct oauth_profile *p, struct wrong *w)
{
	const struct ph_secret *file = &p->cfg->service_account;
	json_t *o = json_loadb(file->p, file->n, 0, NULL);
	const char *email = json_string_value(json_object_get(o, "client_email"));
	const char *pem = json_string_value(json_object_get(o, "private_key"));
	const char *kid = json_string_value(json_object_get(o, "private_key_id"));
	int rc = 0;

	if (email == NULL || pem == NULL || strlen(email) >= sizeof p->client_id)
		rc = wrong(w, "service-account-file", "is not the JSON file of a service account "
		    "(client_email, private_key)");
	else {
		snprintf(p->client_id, sizeof p->client_id, "%s", email);
		snprintf(p->kid, sizeof p->kid, "%s", kid != NULL ? kid : "");
		p->alg = OAUTH_RS256;
		p->key = oauth_key_read((struct ph_str){ pem, strlen(pem) });
		if (p->key == NULL || !oauth_alg_fits(p->alg, p->key))
			rc = wrong(w, "service-account-file", "holds no RSA key of 2048 bits or more");
	}
	json_decref(o);
	return rc;
}

/* --- endpoints --- */

static int
set_endpoint(struct oauth_profile *p, const char *option, const char *written, const char *preset,
             char *out, size_t room, struct wrong *w)
{
	const char *tenant = p->cfg->tenant != NULL ? p->cfg->tenant : "";
	const char *mark = preset != NULL ? strstr(preset, "%s") : NULL;
	int n = 0;

	out[0] = '\0';
	if (written != NULL)
		n = snprintf(out, room, "%s", written);
	else if (mark != NULL)
		n = snprintf(out, room, "%.*s%s%s", (int)(mark - preset), preset, tenant, mark + 2);
	else if (preset != NULL)
		n = snprintf(out, room, "%s", preset);
	if (n < 0 || (size_t)n >= room)
		return wrong(w, option, "is too long");
	if (out[0] != '\0' && !oauth_url_good(out))
		return wrong(w, option, "is \"%.200s\"; write https://HOST/PATH (http:// only for "
		    "this machine)", out);
	return 0;
}

static enum oauth_grant
grant_of(const struct oauth_cfg *cfg)
{
	if (cfg->grant != OAUTH_AUTO)
		return (enum oauth_grant)cfg->grant;
	if (cfg->service_account.n > 0)
		return OAUTH_SERVICE_ACCOUNT;
	/* Without a credential of its own the application can act for a person only, and
	 * Google's act for persons only. */
	if (cfg->refresh_token.n > 0 || cfg->provider == OAUTH_GOOGLE ||
	    (cfg->client_secret.n == 0 && cfg->client_key.n == 0))
		return OAUTH_REFRESH_TOKEN;
	return OAUTH_CLIENT_CREDENTIALS;
}

static int
check_tenant(const struct oauth_cfg *cfg, struct wrong *w)
{
	if (cfg->provider != OAUTH_MICROSOFT || cfg->token_endpoint != NULL)
		return 0;
	if (cfg->tenant == NULL)
		return wrong(w, NULL, "needs tenant (contoso.onmicrosoft.com, or the directory's ID) "
		    "with provider: microsoft365");
	for (const char *s = cfg->tenant; *s != '\0'; s++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-",
		    *s) == NULL)
			return wrong(w, "tenant", "\"%.100s\" is not a tenant: write its domain or "
			    "the directory's ID", cfg->tenant);
	return 0;
}

static int
check_credentials(const struct oauth_profile *p, struct wrong *w)
{
	const struct oauth_cfg *cfg = p->cfg;

	if (p->grant == OAUTH_SERVICE_ACCOUNT)
		return cfg->service_account.n > 0 ? 0 :
		    wrong(w, NULL, "needs service-account-file with grant: service-account");
	if (cfg->client_id == NULL)
		return wrong(w, NULL, "needs client-id, as the provider shows it for the application");
	if (strlen(cfg->client_id) >= sizeof p->client_id)
		return wrong(w, "client-id", "is too long");
	if (cfg->client_secret.n > 0 && cfg->client_key.n > 0)
		return wrong(w, "client-key", "and client-secret-file exclude each other");
	if (p->grant == OAUTH_CLIENT_CREDENTIALS && cfg->client_secret.n == 0 &&
	    cfg->client_key.n == 0)
		return wrong(w, NULL, "needs client-secret-file, or client-key with "
		    "client-certificate, with grant: client-credentials");
	if (cfg->client_certificate != NULL && cfg->client_key.n == 0)
		return wrong(w, "client-certificate", "needs client-key");
	for (size_t i = 0; i < cfg->extra.n; i++)
		if (strchr(cfg->extra.v[i], '=') == NULL || cfg->extra.v[i][0] == '=')
			return wrong(w, "extra-parameters", "\"%.100s\" is not NAME=VALUE",
			    cfg->extra.v[i]);
	return 0;
}

static int
profile_fill(struct oauth_profile *p, struct wrong *w)
{
	const struct oauth_cfg *cfg = p->cfg;
	const struct preset *preset = &presets[cfg->provider];
	const char *scope = cfg->scope;
	int rc = check_tenant(cfg, w);

	p->grant = grant_of(cfg);
	if (rc == 0)
		rc = check_credentials(p, w);
	if (rc == 0)
		rc = set_endpoint(p, "token-endpoint", cfg->token_endpoint, preset->token,
		    p->token_endpoint, sizeof p->token_endpoint, w);
	if (rc == 0)
		rc = set_endpoint(p, "device-endpoint", cfg->device_endpoint, preset->device,
		    p->device_endpoint, sizeof p->device_endpoint, w);
	if (rc != 0)
		return rc;
	if (p->token_endpoint[0] == '\0')
		return wrong(w, NULL, "needs token-endpoint (or provider: microsoft365 or google)");
	if (scope == NULL)
		scope = p->grant == OAUTH_CLIENT_CREDENTIALS ? preset->app_scope : preset->user_scope;
	if (strlen(scope) >= sizeof p->scope)
		return wrong(w, "scope", "is too long");
	snprintf(p->scope, sizeof p->scope, "%s", scope);
	if (p->grant == OAUTH_SERVICE_ACCOUNT)
		return use_service_account(p, w);
	snprintf(p->client_id, sizeof p->client_id, "%s", cfg->client_id);
	return cfg->client_key.n > 0 ? use_certificate(p, w) : 0;
}

int
oauth_profile_init(struct oauth_profile *p, const struct oauth_cfg *cfg, const char **option,
                   char why[300])
{
	struct wrong w = { option, why };
	int rc;

	*p = (struct oauth_profile){ .cfg = cfg };
	*option = NULL;
	rc = profile_fill(p, &w);
	if (rc != 0)
		oauth_profile_done(p);
	return rc;
}

void
oauth_profile_done(struct oauth_profile *p)
{
	EVP_PKEY_free(p->key);
	p->key = NULL;
}
