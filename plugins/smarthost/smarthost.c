/*
 * smarthost.c - a router: recipients go to configured hosts, in order of
 * preference.  Several instances share the recipients out by domain.
 *
 * The next hop is made once, in setup, and lies in the read-only configuration,
 * so that a question is answered at once and without allocation.
 */
#include <string.h>
#include <strings.h>

#include <posthouse/posthouse.h>

#include "secrecy.h"

struct smarthost_cfg {
	struct ph_endpoints hosts;
	struct ph_strings domains;
	int64_t port, connections, messages_per_connection, recipients_per_message;
	ph_duration connect_timeout, idle_timeout;
	bool allow_loopback;
	struct secrecy_cfg secrecy;
	struct ph_next_hop hop;         /* made from the above */
};

/* ".example.com" and "*.example.com": the domains below; else the domain itself. */
static bool
domain_matches(const char *pattern, struct ph_str domain)
{
	size_t n;

	if (pattern[0] == '*')
		pattern++;
	n = strlen(pattern);
	if (pattern[0] == '.')
		return domain.n > n && strncasecmp(domain.p + domain.n - n, pattern, n) == 0;
	return domain.n == n && strncasecmp(domain.p, pattern, n) == 0;
}

static bool
serves(const struct smarthost_cfg *cfg, struct ph_str domain)
{
	for (size_t i = 0; i < cfg->domains.n; i++)
		if (domain_matches(cfg->domains.v[i], domain))
			return true;
	return cfg->domains.n == 0;
}

static enum ph_verdict
smarthost_route(struct ph_route *r)
{
	const struct smarthost_cfg *cfg = ph_route_config(r);

	for (size_t i = 0; i < ph_route_rcpt_count(r); i++)
		if (serves(cfg, ph_route_rcpt_domain(r, i)))
			ph_route_to(r, i, &cfg->hop);
	return PH_CONTINUE;
}

/* RFC 6761 6.3: localhost and what is below it. */
static bool
is_localhost(const char *host)
{
	size_t n = strlen(host);

	return strcasecmp(host, "localhost") == 0 ||
	       strcasecmp(host, "localhost.localdomain") == 0 ||
	       (n > 10 && strcasecmp(host + n - 10, ".localhost") == 0);
}

static void
check_domain(struct ph_setup *setup, const char *domain)
{
	const char *name = domain[0] == '*' ? domain + 1 : domain;
	size_t n = strlen(name);

	if (domain[0] == '*' && name[0] != '.')
		ph_complain(setup, "domains", "\"%s\" is not a domain; write example.com, or "
		    "*.example.com for the domains below it", domain);
	else if (n == 0 || n > 255 || (n == 1 && name[0] == '.') ||
	    strpbrk(name, "*@ \t/:") != NULL || name[n - 1] == '.')
		ph_complain(setup, "domains", "\"%s\" is not a domain; write example.com, or "
		    ".example.com for the domains below it", domain);
}

static int
smarthost_check(struct ph_setup *setup)
{
	const struct smarthost_cfg *cfg = ph_setup_config(setup);

	if (cfg->hosts.n == 0)
		ph_complain(setup, "hosts", "is empty; write at least one host, for example "
		    "[smtp.example.com]");
	for (size_t i = 0; i < cfg->hosts.n; i++)
		if (is_localhost(cfg->hosts.v[i].host) && !cfg->allow_loopback)
			ph_complain(setup, "hosts", "%s is this machine; write 127.0.0.1, or set "
			    "allow-loopback: yes", cfg->hosts.v[i].host);
	for (size_t i = 0; i < cfg->domains.n; i++)
		check_domain(setup, cfg->domains.v[i]);
	secrecy_check(setup, &cfg->secrecy);
	return 0;
}

static const struct ph_router smarthost_router = {
	.size = sizeof smarthost_router, .route = smarthost_route,
};

static int
smarthost_setup(struct ph_setup *setup)
{
	struct smarthost_cfg *cfg = ph_setup_config(setup);

	cfg->hop = (struct ph_next_hop){
		.size = sizeof cfg->hop,
		.name = ph_setup_instance(setup),
		.hosts = cfg->hosts,
		.default_port = (uint16_t)(cfg->port != 0 ? cfg->port
		    : cfg->secrecy.implicit ? 465 : 25),
		.connections = cfg->connections,
		.messages_per_connection = cfg->messages_per_connection,
		.recipients_per_message = cfg->recipients_per_message,
		.connect_timeout = cfg->connect_timeout,
		.idle_timeout = cfg->idle_timeout,
		.allow_loopback = cfg->allow_loopback,  /* of names; an address is meant */
	};
	secrecy_fill(setup, &cfg->secrecy, &cfg->hop);
	ph_expects_hop(setup, &cfg->hop);
	return ph_provide_router(setup, &smarthost_router);
}

#define OPT(field, key, ...) PH_OPT(struct smarthost_cfg, field, key, __VA_ARGS__)

static const struct ph_option smarthost_options[] = {
	OPT(hosts, "hosts", .required = true, .max_items = 100,
	    .doc = "Hosts to send to, in order of preference: the next one is tried when one cannot be "
	           "reached or greets with 4xx. A name is looked up with its MX records, unless it is "
	           "written in brackets or as an address."),
	OPT(port, "port", .min = "1", .max = "65535",
	    .doc = "Port of those hosts that are written without one. Without it 25, or 465 with "
	           "tls-implicit."),
	OPT(domains, "domains",
	    .doc = "Recipient domains that go here, with a leading . or *. for the domains below; empty "
	           "for all. Recipients of other domains are left to the instances that follow."),
	OPT(connections, "connections", .dflt = "20", .min = "1", .max = "10000", .unit = "connections",
	    .doc = "Connections to these hosts at once, of the whole daemon."),
	OPT(messages_per_connection, "messages-per-connection", .dflt = "0", .min = "0",
	    .max = "1000000000", .unit = "messages",
	    .doc = "Messages sent on one connection before it is closed; 0 for no limit."),
	OPT(recipients_per_message, "recipients-per-message", .dflt = "100", .min = "0",
	    .max = "100000", .unit = "recipients",
	    .doc = "Recipients in one transaction; more are sent in several. 0 for no limit."),
	OPT(connect_timeout, "connect-timeout", .dflt = "30s", .min = "1s", .max = "10m",
	    .doc = "How long one address may take to answer a connection."),
	OPT(idle_timeout, "idle-timeout", .dflt = "5s", .min = "0s", .max = "5m",
	    .doc = "How long a connection without work is kept."),
	OPT(allow_loopback, "allow-loopback", .dflt = "no",
	    .doc = "Whether a host name may lead to this machine. Addresses may in any case."),
	SECRECY_OPTIONS(struct smarthost_cfg, secrecy),
	PH_OPT_END
};

PH_PLUGIN(smarthost,
	.summary     = "sends mail to configured hosts",
	.doc         = "Routes recipients to the hosts of its list. With domains set, several instances "
	               "(named by as) share recipients out; they are asked in the order of the file "
	               "and a recipient goes to the first that serves its domain.",
	.options     = smarthost_options,
	.config_size = sizeof(struct smarthost_cfg),
	.check       = smarthost_check,
	.setup       = smarthost_setup);
