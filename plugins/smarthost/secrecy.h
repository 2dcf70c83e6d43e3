/*
 * secrecy.h - the part of a smart host's configuration that says how its
 * connections are protected and who logs in on them.
 */
#ifndef SMARTHOST_SECRECY_H
#define SMARTHOST_SECRECY_H

#include <posthouse/posthouse.h>

enum secrecy_tls { TLS_DEFAULT, TLS_OFF, TLS_OPPORTUNISTIC, TLS_REQUIRED, TLS_VERIFY };
enum secrecy_auth { AUTH_ANONYMOUS, AUTH_BASIC, AUTH_WINDOWS, AUTH_OAUTH2 };

struct secrecy_cfg {
	int tls;                        /* enum secrecy_tls */
	bool implicit;
	const char *provider, *name, *ca_file, *certificate, *key;
	int minimum;                    /* place in secrecy_minimums */
	int auth;                       /* enum secrecy_auth */
	const char *instance, *username;
	struct ph_secret password;
	struct ph_strings mechanisms;
};

extern const struct ph_choice secrecy_policies[], secrecy_minimums[], secrecy_auths[];

/* Complains of what no row can say. */
void secrecy_check(struct ph_setup *setup, const struct secrecy_cfg *cfg);
/* The next hop's members of this part; they live as long as cfg. */
void secrecy_fill(
    struct ph_setup *setup, const struct secrecy_cfg *cfg, struct ph_next_hop *hop);

#define SECRECY_OPTIONS(T, s) \
	PH_OPT_CHOICE(T, s.tls, "tls", secrecy_policies, \
	    .doc = "Whether connections are encrypted. Without it opportunistic, or off when no " \
	           "plugin supplies TLS. With required and verify mail waits rather than go in the " \
	           "clear."), \
	PH_OPT(T, s.implicit, "tls-implicit", .dflt = "no", \
	    .doc = "Whether TLS begins with the first byte, as hosts want it on port 465, without " \
	           "STARTTLS. Then tls is required when it is not set."), \
	PH_OPT(T, s.name, "tls-name", \
	    .doc = "Name that the host's certificate must be for, and that it is asked for (SNI). " \
	           "Without it the host's name as written in hosts, not the one found by MX."), \
	PH_OPT(T, s.ca_file, "tls-ca-file", .reread = true, \
	    .doc = "PEM file of those who may have signed the host's certificate. Without it " \
	           "whom the plugin tls trusts: its own ca-file, or the system's list."), \
	PH_OPT(T, s.certificate, "tls-certificate", .reread = true, \
	    .doc = "PEM file with the certificate that is shown when the host asks for one, and its " \
	           "chain."), \
	PH_OPT(T, s.key, "tls-key", .reread = true, \
	    .doc = "PEM file with the key of tls-certificate. Without it the key is looked for in " \
	           "the certificate's file."), \
	PH_OPT_CHOICE(T, s.minimum, "tls-minimum", secrecy_minimums, \
	    .doc = "Oldest version of TLS that is spoken with these hosts. Without it what the " \
	           "plugin tls is set to."), \
	PH_OPT(T, s.provider, "tls-provider", \
	    .doc = "Instance that supplies TLS, when there are several or it is not named tls."), \
	PH_OPT_CHOICE(T, s.auth, "auth", secrecy_auths, .dflt = "anonymous", \
	    .doc = "How the relay logs in at these hosts. The plugin of that kind has to be in the " \
	           "file, too."), \
	PH_OPT(T, s.instance, "auth-instance", \
	    .doc = "Instance of a plugin that does the login, when it is not named auth-basic, " \
	           "auth-windows or auth-oauth2."), \
	PH_OPT(T, s.username, "username", \
	    .doc = "Name to log in with, as the host knows it: relay@example.com, or DOMAIN\\name " \
	           "for auth: windows."), \
	PH_OPT(T, s.password, "password-file", \
	    .doc = "File with the password for auth: basic and windows, or credential:NAME, or " \
	           "env:NAME. It is read again with each reload; a changed password is tried at once."), \
	PH_OPT(T, s.mechanisms, "mechanisms", .max_items = 20, \
	    .doc = "SASL mechanisms that may be used, the preferred one first. Without it the " \
	           "strongest that the host offers. EXTERNAL is used only when it is listed.")

#endif
