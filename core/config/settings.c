/*
 * settings.c - the rows of the core's own settings.
 *
 * The rows are the one truth: parsing, defaults, bounds, manual and schema
 * come from here.  Every row has prose whose first sentence stands alone.
 */
#include <posthouse/plugin.h>

#include "config/settings.h"

static const struct ph_choice listen_tls[] = {
	{ "off", LISTEN_TLS_OFF, "STARTTLS is not announced" },
	{ "offered", LISTEN_TLS_OFFERED, "STARTTLS is announced, where a plugin supplies it" },
	{ "required", LISTEN_TLS_REQUIRED, "mail is taken only after STARTTLS" },
	{ "implicit", LISTEN_TLS_IMPLICIT, "TLS from the first byte, as on port 465 (RFC 8314)" },
	{ NULL, 0, NULL }
};
static const struct ph_choice listen_auth[] = {
	{ "off", LISTEN_AUTH_OFF, "AUTH is not announced" },
	{ "optional", LISTEN_AUTH_OPTIONAL, "clients may log in, where a plugin supplies it" },
	{ "required", LISTEN_AUTH_REQUIRED, "mail is taken only after a login" },
	{ NULL, 0, NULL }
};

static const struct ph_option listen_rows[] = {
	PH_OPT(struct listen_settings, address, "address", .required = true,
	    .doc = "Where to listen, as address:port. \"*:25\" means all addresses of IPv4 and IPv6; "
	    "an IPv6 address stands in brackets, \"[::1]:25\". Both need quotes in YAML."),
	PH_OPT_CHOICE(struct listen_settings, tls, "tls", listen_tls,
	    .dflt = "offered",
	    .doc = "Transport security of this address. The plugin tls supplies it."),
	PH_OPT_CHOICE(struct listen_settings, auth, "auth", listen_auth,
	    .dflt = "optional",
	    .doc = "Whether clients may or must log in at this address. The plugins auth-basic, "
	    "auth-windows and auth-oauth2 supply the mechanisms."),
	PH_OPT(struct listen_settings, mechanisms, "mechanisms", .max_items = 32,
	    .doc = "The SASL mechanisms that are offered at this address, such as [PLAIN, LOGIN]. By default "
	    "all that the plugins supply. Mechanisms that give the password away are offered only "
	    "inside TLS in any case."),
	PH_OPT(struct listen_settings, max_auth_failures, "max-auth-failures",
	    .dflt = "3", .min = "1", .max = "1000", .unit = "failed logins",
	    .doc = "After how many failed logins a connection is closed with 421."),
	PH_OPT(struct listen_settings, max_message_size, "max-message-size",
	    .dflt = "50M", .min = "1K", .max = "2G",
	    .doc = "The largest message that is accepted, announced with SIZE (RFC 1870). A larger one is "
	    "refused with 552. The SMTP service of IIS stopped at 2 MB, which today's attachments exceed; "
	    "set what the smart host takes."),
	PH_OPT(struct listen_settings, max_recipients, "max-recipients",
	    .dflt = "1000", .min = "100", .max = "50000", .unit = "recipients",
	    .doc = "How many recipients one transaction may have. Further ones are told 452 and may be given "
	    "again in another transaction. RFC 5321 section 4.5.3.1.8 asks for at least 100."),
	PH_OPT(struct listen_settings, max_transactions, "max-transactions",
	    .dflt = "0", .min = "0", .max = "1000000000", .unit = "transactions",
	    .doc = "How many transactions one connection may have before it is closed with 421. 0 means "
	    "any number."),
	PH_OPT(struct listen_settings, max_errors, "max-errors",
	    .dflt = "20", .min = "1", .max = "1000000", .unit = "refused commands",
	    .doc = "After how many refused commands a connection is closed with 421."),
	PH_OPT(struct listen_settings, max_line, "max-line",
	    .dflt = "2048", .min = "512", .max = "64000", .unit = "octets",
	    .doc = "The longest command line that is read, with its line end. A longer one is answered with "
	    "500. RFC 5321 asks for 512, extensions add to that. Lines of message content have no limit."),
	PH_OPT(struct listen_settings, max_connections_per_address, "max-connections-per-address",
	    .dflt = "0", .min = "0", .max = "1000000", .unit = "connections",
	    .doc = "How many connections one client address may have open. Further ones are told 421. "
	    "0 means as many as max-connections allows."),
	PH_OPT(struct listen_settings, timeout_command, "timeout-command",
	    .dflt = "5m", .min = "1s", .max = "1h",
	    .doc = "How long a client may take to send its next command. RFC 5321 section 4.5.3.2.7 asks for "
	    "5 minutes."),
	PH_OPT(struct listen_settings, timeout_data, "timeout-data",
	    .dflt = "5m", .min = "1s", .max = "1h",
	    .doc = "How long a client that is sending a message may pause. A client that keeps dripping "
	    "single bytes runs into it too."),
	PH_OPT(struct listen_settings, greet_delay, "greet-delay",
	    .dflt = "0", .min = "0", .max = "1m",
	    .doc = "How long to wait before the greeting. A client that talks first breaks the protocol and "
	    "is refused with 554. 0 greets at once."),
	PH_OPT(struct listen_settings, accept_bare_newline, "accept-bare-newline",
	    .dflt = "no",
	    .doc = "Whether message content may have line ends of LF alone. By default it is refused, because "
	    "servers that disagree about line ends can be made to see two messages where there is one (SMTP "
	    "smuggling). With yes such line ends are turned into CRLF; the message ends with CRLF.CRLF in "
	    "any case. Meant for old devices, on an address of their own."),
	PH_OPT(struct listen_settings, greeting, "greeting",
	    .dflt = "ESMTP posthouse",
	    .doc = "The text of the greeting behind the host name. Printable ASCII, up to 400 characters."),
	PH_OPT_END
};

static const struct ph_option queue_rows[] = {
	PH_OPT(struct queue_settings, retry, "retry",
	    .dflt = "[15m, 30m, 60m, 4h]", .min = "1s", .max = "7d", .max_items = 100,
	    .doc = "How long a message that was deferred waits for its next attempt: after the first failure, "
	    "after the second, and so on; the last one repeats. The default is that of IIS."),
	PH_OPT(struct queue_settings, probe, "probe",
	    .dflt = "[15s, 30s, 1m, 2m, 5m]", .min = "100ms", .max = "1d", .max_items = 100,
	    .doc = "How often a host that cannot be reached is tried. While it is away no message is "
	    "attempted on its own: one connection tries for all of them, and once it succeeds the backlog "
	    "drains at once. The last one repeats."),
	PH_OPT(struct queue_settings, delay_notice, "delay-notice",
	    .dflt = "12h", .min = "0", .max = "30d",
	    .doc = "After what time the sender is told that a message is delayed. It is told once, and only "
	    "if it did not decline (RFC 3461). 0 never tells."),
	PH_OPT(struct queue_settings, expire, "expire",
	    .dflt = "2d", .min = "1s", .max = "30d",
	    .doc = "How long a message is tried before it is returned to its sender."),
	PH_OPT(struct queue_settings, max_messages, "max-messages",
	    .dflt = "0", .min = "0", .max = "1000000000", .unit = "messages",
	    .doc = "How many messages may be queued before clients are told 452. 0 leaves it to the room on "
	    "the disk."),
	PH_OPT(struct queue_settings, max_active, "max-active",
	    .dflt = "10000", .min = "1", .max = "1000000", .unit = "messages",
	    .doc = "How many messages may be on their way at the same time."),
	PH_OPT(struct queue_settings, memory, "memory",
	    .dflt = "64M", .min = "0", .max = "64G",
	    .doc = "How much content of messages that were just accepted is kept in memory, so that their "
	    "delivery need not read it back. Content beyond it is read from the disk."),
	PH_OPT(struct queue_settings, bounce_notices, "bounce-notices",
	    .dflt = "yes",
	    .doc = "Whether senders get a report (RFC 3464) about a message that cannot be delivered. With no "
	    "such a message ends in the badmail directory and in the log."),
	PH_OPT(struct queue_settings, badmail, "badmail",
	    .doc = "The directory for messages that can neither be delivered nor returned. By default the "
	    "directory badmail inside the spool."),
	PH_OPT_END
};

static const struct ph_option store_rows[] = {
	PH_OPT(struct store_settings, segment_size, "segment-size",
	    .dflt = "64M", .min = "1M", .max = "1G",
	    .doc = "The size of one file of the store. Space is given back by the file, once no message in "
	    "it is left."),
	PH_OPT(struct store_settings, spill_above, "spill-above",
	    .dflt = "2M", .min = "4K", .max = "64M",
	    .doc = "From what size on a message has a file of its own, written while it arrives. Smaller ones "
	    "share syncs with others and leave from memory, at the price of so much memory a connection. It bounds "
	    "the memory of a connection whatever the size of the message."),
	PH_OPT(struct store_settings, reserve, "reserve",
	    .dflt = "64M", .min = "0", .max = "1T",
	    .doc = "Below how much free space on the disk clients are told 452. Deliveries go on, and "
	    "accepting resumes by itself."),
	PH_OPT(struct store_settings, lazy_sync, "lazy-sync",
	    .dflt = "50ms", .min = "1ms", .max = "10s",
	    .doc = "Within what time the record of a delivery is on the disk. A crash in this time sends "
	    "the message twice, never not at all. Acceptance never waits for it: 250 is said after a sync "
	    "of its own."),
	PH_OPT_END
};

static const struct ph_option outbound_rows[] = {
	PH_OPT(struct outbound_settings, max_connections, "max-connections",
	    .dflt = "1000", .min = "1", .max = "1000000", .unit = "connections",
	    .doc = "How many outgoing connections there may be in all."),
	PH_OPT(struct outbound_settings, connections_per_site, "connections-per-site",
	    .dflt = "20", .min = "1", .max = "10000", .unit = "connections",
	    .doc = "How many connections to one next hop there may be, where its plugin does not say "
	    "otherwise."),
	PH_OPT(struct outbound_settings, messages_per_connection, "messages-per-connection",
	    .dflt = "1000", .min = "1", .max = "1000000", .unit = "messages",
	    .doc = "After how many messages an outgoing connection is closed. IIS closed after 20; a host "
	    "that minds says so with 421, which costs nothing."),
	PH_OPT(struct outbound_settings, recipients_per_message, "recipients-per-message",
	    .dflt = "100", .min = "1", .max = "50000", .unit = "recipients",
	    .doc = "How many recipients go out in one transaction. The others follow in further ones."),
	PH_OPT(struct outbound_settings, connect_timeout, "connect-timeout",
	    .dflt = "30s", .min = "100ms", .max = "5m",
	    .doc = "How long connecting to one address may take."),
	PH_OPT(struct outbound_settings, idle_timeout, "idle-timeout",
	    .dflt = "10s", .min = "0", .max = "5m",
	    .doc = "How long a connection is kept open for the next message. 0 closes it at once."),
	PH_OPT(struct outbound_settings, window_messages, "window-messages",
	    .dflt = "32", .min = "1", .max = "1000", .unit = "messages",
	    .doc = "How many messages may be on their way on one connection before the first is answered, "
	    "where the remote offers PIPELINING and CHUNKING."),
	PH_OPT(struct outbound_settings, chunking, "chunking",
	    .dflt = "yes",
	    .doc = "Whether CHUNKING (RFC 3030) is used with remotes that offer it."),
	PH_OPT(struct outbound_settings, pipelining, "pipelining",
	    .dflt = "yes",
	    .doc = "Whether PIPELINING (RFC 2920) is used with remotes that offer it."),
	PH_OPT_END
};

static const struct ph_option dns_rows[] = {
	PH_OPT(struct dns_settings, servers, "servers", .max_items = 16,
	    .doc = "The servers to ask, as address or address@port. By default those of "
	    "/etc/resolv.conf."),
	PH_OPT(struct dns_settings, limit, "limit",
	    .dflt = "10s", .min = "100ms", .max = "2m",
	    .doc = "How long one question may take before the delivery is deferred."),
	PH_OPT_END
};

static const struct ph_choice log_levels[] = {
	{ "error", PH_ERROR, "someone must act" },
	{ "warn", PH_WARN, "odd, but dealt with" },
	{ "info", PH_INFO, "one line for each connection, message and delivery" },
	{ "debug", PH_DEBUG, "decisions" },
	{ "trace", PH_TRACE, "the dialogue, with credentials starred" },
	{ NULL, 0, NULL }
};

const struct ph_option settings_rows[] = {
	PH_OPT(struct settings, hostname, "hostname",
	    .doc = "The name in the greeting, in EHLO and in Received fields. By default the machine's name. "
	    "Remote servers want one that the DNS knows, such as relay.example.com."),
	PH_OPT_SECTIONS(struct settings, listen, "listen", struct listen_settings, listen_rows,
	    .dflt = "[{ address: \"127.0.0.1:25\" }]", .max_items = 256,
	    .doc = "The addresses to listen on, each with limits of its own."),
	PH_OPT(struct settings, spool, "spool",
	    .dflt = "/var/spool/posthouse",
	    .doc = "The directory of the queue. It must not be writable by others and should be on a disk "
	    "that keeps what was synced."),
	PH_OPT(struct settings, workers, "workers",
	    .dflt = "auto",
	    .doc = "How many threads serve connections: auto for one per processor, or a number from 1 "
	    "to 256. A change needs a restart."),
	PH_OPT(struct settings, user, "user",
	    .doc = "The user to run as, once the addresses are bound. By default whoever started the "
	    "daemon. A change needs a restart."),
	PH_OPT(struct settings, control, "control",
	    .doc = "The socket through which commands reach the daemon. By default the file control inside "
	    "the spool. A change needs a restart."),
	PH_OPT(struct settings, plugin_dir, "plugin-dir",
	    .doc = "The directory of the plugins. By default where they were installed. The directory and the "
	    "files must belong to root or to whoever started the daemon and must not be writable by others."),
	PH_OPT(struct settings, max_connections, "max-connections",
	    .dflt = "10000", .min = "1", .max = "1000000", .unit = "connections",
	    .doc = "How many clients may be connected in all. Further ones are told 421."),
	PH_OPT(struct settings, max_hops, "max-hops",
	    .dflt = "100", .min = "10", .max = "1000", .unit = "Received fields",
	    .doc = "From how many Received fields on a message is taken to be in a loop and refused with "
	    "554. RFC 5321 section 6.3 asks for at least 100."),
	PH_OPT(struct settings, shutdown_grace, "shutdown-grace",
	    .dflt = "30s", .min = "0", .max = "10m",
	    .doc = "How long a stopping daemon lets transfers finish before it closes them. What was not "
	    "acknowledged comes again, what was not delivered stays queued."),
	PH_OPT_CHOICE(struct settings, log_level, "log-level", log_levels,
	    .dflt = "info",
	    .doc = "How much is logged."),
	PH_OPT_SECTION(struct settings, queue, "queue", queue_rows,
	    .doc = "When messages are tried, and when that ends."),
	PH_OPT_SECTION(struct settings, store, "store", store_rows,
	    .doc = "How the spool keeps messages."),
	PH_OPT_SECTION(struct settings, outbound, "outbound", outbound_rows,
	    .doc = "Connections to other servers. What a routing plugin says about its hosts goes first."),
	PH_OPT_SECTION(struct settings, dns, "dns", dns_rows,
	    .doc = "How names are looked up."),
	PH_OPT_END
};
