/*
 * settings.h - the core's own settings (everything but plugins' options), as
 * rows in settings.c.
 */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H

#include "config/option.h"

enum listen_tls { LISTEN_TLS_OFF, LISTEN_TLS_OFFERED, LISTEN_TLS_REQUIRED, LISTEN_TLS_IMPLICIT };
enum listen_auth { LISTEN_AUTH_OFF, LISTEN_AUTH_OPTIONAL, LISTEN_AUTH_REQUIRED };
struct listen_settings {
	const char *address;            /* "127.0.0.1:2525", "[::]:25", "*:25" */
	ph_size  max_message_size;
	int64_t  max_recipients, max_transactions, max_errors, max_line;
	int64_t  max_connections_per_address;
	ph_duration timeout_command, timeout_data, greet_delay;
	bool     accept_bare_newline;
	const char *greeting;
	int tls;                        /* enum listen_tls */
	int auth;                       /* enum listen_auth */
	struct ph_strings mechanisms;   /* of SASL; empty: all there are */
	int64_t max_auth_failures;
};
struct queue_settings {
	struct ph_durations retry, probe;
	ph_duration delay_notice, expire;
	int64_t  max_messages;          /* in the queue; 0 no limit; 452 beyond */
	int64_t  max_active;            /* leases at once */
	ph_size  memory;                /* message content kept in memory for delivery */
	bool     bounce_notices;        /* RFC 3464 reports at all */
	const char *badmail;            /* directory, default SPOOL/badmail */
};
struct store_settings {
	ph_size segment_size, spill_above, reserve;     /* reserve: free space below which 452 is said */
	ph_duration lazy_sync;
};
struct outbound_settings {
	int64_t max_connections, connections_per_site, messages_per_connection, recipients_per_message;
	ph_duration connect_timeout, idle_timeout;
	int64_t window_messages;
	bool chunking, pipelining;
};
struct dns_settings { struct ph_strings servers; ph_duration limit; };
struct settings {
	const char *hostname;
	struct ph_sections listen;      /* struct listen_settings */
	const char *spool;
	const char *workers;            /* "auto" or a number */
	const char *user;
	const char *control;            /* socket path, default SPOOL/control */
	const char *plugin_dir;
	int64_t max_connections, max_hops;
	ph_duration shutdown_grace;
	int log_level;
	struct queue_settings queue;
	struct store_settings store;
	struct outbound_settings outbound;
	struct dns_settings dns;
};
extern const struct ph_option settings_rows[];

/* One entry of `plugins:`; order is that of the file. */
struct plugin_entry {
	struct ph_str plugin;           /* "smarthost" */
	struct ph_str instance;         /* option `as:` inside its map, else the plugin's name */
	const struct node *options;     /* its map, without the core's own keys; an empty map when
	                                 * nothing was written, so that there is a place to point at */
	struct diag_place place;
	bool fail_continue;             /* on-failure: continue | defer(default) */
};
struct config_file {            /* a parsed, checked file */
	struct arena arena;
	struct node *root;
	struct settings settings;
	struct plugin_entry *plugins; size_t nplugins;
	bool mistaken;                  /* see config_load_mistaken */
};
/* NULL on errors, which are all in d. path "" : built-in defaults only. */
struct config_file *config_load(const char *path, struct diags *d);
/* The same, but a file that can be read at all comes back also with mistakes (mistaken), so
 * that plugins can look at theirs and all are told at once. Not to be used for more. */
struct config_file *config_load_mistaken(const char *path, struct diags *d);
struct config_file *config_load_text(const char *name, struct ph_str text, struct diags *d);
void config_free(struct config_file **c);

/* describe.c: what is made from the rows. */
void describe_man(struct buf *out);                     /* doc/posthouse.yaml.5, core part */
void describe_man_options(const struct ph_option *rows, const char *prefix, struct buf *out);
void describe_text(const struct ph_option *rows, struct buf *out);      /* for a terminal */
/* JSON Schema of the whole file; plugins: names and rows of those known. */
struct describe_plugin { const char *name, *summary; const struct ph_option *rows; };
void describe_man_plugins(const struct describe_plugin *v, size_t n, struct buf *out);  /* behind it */
void describe_schema(const struct describe_plugin *v, size_t n, struct buf *out);

#endif
