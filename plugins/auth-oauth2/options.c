/*
 * options.c - the rows of the instance's options.
 */
#include "options.h"

#include "oauth.h"

static const struct ph_choice providers[] = {
	{ "generic", OAUTH_GENERIC, "endpoints and scope are written out" },
	{ "microsoft365", OAUTH_MICROSOFT, "Exchange Online: endpoints made from tenant, scopes known" },
	{ "google", OAUTH_GOOGLE, "Gmail and Google Workspace: endpoints and scope known" },
	{ NULL, 0, NULL }
};
static const struct ph_choice grants[] = {
	{ "auto", OAUTH_AUTO, "what the credentials that are given allow" },
	{ "client-credentials", OAUTH_CLIENT_CREDENTIALS, "the application itself, by secret or "
	    "certificate" },
	{ "refresh-token", OAUTH_REFRESH_TOKEN, "a person who has signed in once" },
	{ "service-account", OAUTH_SERVICE_ACCOUNT, "a Google service account" },
	{ NULL, 0, NULL }
};
static const struct ph_choice client_auths[] = {
	{ "post", OAUTH_POST, "in the form" },
	{ "basic", OAUTH_BASIC, "in the Authorization field" },
	{ NULL, 0, NULL }
};
static const struct ph_choice algorithms[] = {
	{ "auto", OAUTH_ALG_NONE, "ES256 for a key on P-256, PS256 for microsoft365, else RS256" },
	{ "RS256", OAUTH_RS256, "RSA, PKCS #1 v1.5" },
	{ "PS256", OAUTH_PS256, "RSA, PSS" },
	{ "ES256", OAUTH_ES256, "ECDSA on P-256" },
	{ NULL, 0, NULL }
};

#define SERVER(field, key, ...) PH_OPT(struct oauth_server_cfg, field, key, __VA_ARGS__)

static const struct ph_option server_options[] = {
	SERVER(introspection_endpoint, "introspection-endpoint",
	    .doc = "Where tokens are asked about (RFC 7662), as https://HOST/PATH. Either this, or keys "
	           "to check signatures with."),
	SERVER(client_id, "client-id",
	    .doc = "Who asks there. Sent by HTTP Basic authentication, together with client-secret-file."),
	SERVER(client_secret, "client-secret-file",
	    .doc = "The secret that belongs to client-id."),
	SERVER(jwks_uri, "jwks-uri",
	    .doc = "Where the keys are that tokens are signed with (RFC 7517), as https://HOST/PATH. They "
	           "are fetched at the first login, again when jwks-age is over, and when a token names "
	           "a key that is not among them, once a minute at most."),
	SERVER(jwks_file, "jwks-file", .reread = true,
	    .doc = "A file with those keys. It is read again when it changes."),
	SERVER(issuers, "issuer", .max_items = 20,
	    .doc = "Who may have issued a token (its iss claim), to the letter. Required with keys."),
	SERVER(audiences, "audience", .max_items = 20,
	    .doc = "Whom a token must be meant for (its aud claim): one of these. Required with keys, since "
	           "without it a token that was given to any other application would do."),
	SERVER(scopes, "required-scope", .max_items = 20,
	    .doc = "Scopes that a token must have, all of them (claims scope, scp or roles)."),
	SERVER(user_claims, "user-claim", .dflt = "[preferred_username, email, username, sub]",
	    .max_items = 20,
	    .doc = "The claim that names the user: the first of these that a token has. A name that the "
	           "client's message gives must be the same."),
	SERVER(leeway, "leeway", .dflt = "60s", .min = "0s", .max = "10m",
	    .doc = "How far the clocks of issuer and relay may differ."),
	SERVER(cache, "cache", .dflt = "1m", .min = "0s", .max = "1h",
	    .doc = "How long an introspected token is believed without asking again, if it does not end "
	           "before. A revoked token is good for that long at most; 0s asks at each login."),
	SERVER(cache_size, "cache-size", .dflt = "1000", .min = "1", .max = "100000", .unit = "tokens",
	    .doc = "How many introspected tokens are remembered."),
	SERVER(jwks_age, "jwks-age", .dflt = "1h", .min = "1m", .max = "7d",
	    .doc = "After that time the keys of jwks-uri are fetched again."),
	SERVER(openid_configuration, "openid-configuration",
	    .doc = "An address that clients are told when their token is refused, where they find how to "
	           "get another one (RFC 7628 3.2.2)."),
	PH_OPT_END
};

#define OPT(field, key, ...) PH_OPT(struct oauth_cfg, field, key, __VA_ARGS__)

const struct ph_option oauth_options[] = {
	PH_OPT_CHOICE(struct oauth_cfg, provider, "provider", providers, .dflt = "generic",
	    .doc = "Whose authorization server it is. A preset gives endpoints and scope; each of them "
	           "may be set besides."),
	OPT(tenant, "tenant",
	    .doc = "The Microsoft Entra tenant: its domain or the directory's ID. Only for microsoft365."),
	OPT(client_id, "client-id",
	    .doc = "What the provider calls this application (Microsoft: Application ID)."),
	OPT(client_secret, "client-secret-file",
	    .doc = "The application's secret. Without it and without client-key the application is a "
	           "public one, which can act for a person only."),
	PH_OPT_CHOICE(struct oauth_cfg, client_auth, "client-authentication", client_auths, .dflt = "post",
	    .doc = "Where the secret is put in a request (RFC 6749 2.3.1)."),
	OPT(client_certificate, "client-certificate", .reread = true,
	    .doc = "A certificate in PEM that is registered at the provider, in place of a secret. Its "
	           "thumbprints go into the header of the assertions (x5t, x5t#S256)."),
	OPT(client_key, "client-key",
	    .doc = "The private key in PEM, without a pass phrase, that assertions are signed with (RFC 7523)."),
	PH_OPT_CHOICE(struct oauth_cfg, algorithm, "assertion-algorithm", algorithms, .dflt = "auto",
	    .doc = "How assertions are signed."),
	PH_OPT_CHOICE(struct oauth_cfg, grant, "grant", grants, .dflt = "auto",
	    .doc = "How access tokens are got. auto means service-account with service-account-file; "
	           "client-credentials with a secret or key, but not with google or refresh-token-file; "
	           "else refresh-token."),
	OPT(refresh_token, "refresh-token-file",
	    .doc = "A refresh token to begin with. Not needed after \"posthouse oauth login\". When the "
	           "provider replaces it, the new one is kept in the spool (state/INSTANCE, mode 0600) "
	           "and used, until another one is written here."),
	OPT(service_account, "service-account-file",
	    .doc = "The JSON file of a Google service account, with its private key."),
	OPT(subject, "subject",
	    .doc = "The mailbox that the service account acts for (domain-wide delegation); the same as "
	           "username at the smart host."),
	OPT(token_endpoint, "token-endpoint",
	    .doc = "Where tokens are got, as https://HOST/PATH. Required with provider: generic."),
	OPT(device_endpoint, "device-endpoint",
	    .doc = "Where \"posthouse oauth login\" gets its code (RFC 8628)."),
	OPT(scope, "scope",
	    .doc = "What the token is for, several by spaces. Presets know theirs."),
	OPT(extra, "extra-parameters", .max_items = 20,
	    .doc = "Further fields of each request, as NAME=VALUE; some providers want audience=... or "
	           "resource=..."),
	OPT(ca_file, "ca-file", .reread = true,
	    .doc = "Certificate authorities, PEM, that may have signed the endpoints' certificates; "
	           "without it those of the system."),
	OPT(timeout, "timeout", .dflt = "20s", .min = "1s", .max = "50s",
	    .doc = "How long one request to an endpoint may take."),
	OPT(retry_first, "retry-first", .dflt = "5s", .min = "1s", .max = "10m",
	    .doc = "The pause after a failed request; each further failure doubles it."),
	OPT(retry_most, "retry-at-most", .dflt = "5m", .min = "1s", .max = "1h",
	    .doc = "The longest pause between failed requests. The provider's Retry-After may be longer, "
	           "up to an hour."),
	PH_OPT_SECTION(struct oauth_cfg, server, "server", server_options,
	    .doc = "Lets clients log in with OAUTHBEARER and XOAUTH2, only inside TLS. In force when it "
	           "says how tokens are checked."),
	PH_OPT_END
};
