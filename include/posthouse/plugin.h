/*
 * plugin.h - the descriptor, and the phases of a plugin's life.
 *
 *   check        configuration only, no side effects (`posthouse check`, reload)
 *   setup        once per instance, main thread, still privileged: register
 *                hooks and providers, read keys
 *   worker open  once per worker and instance, on the worker's loop
 *   session open, transaction open
 * and the mirror image down.  A close runs once for each open that succeeded.
 */
#ifndef POSTHOUSE_PLUGIN_H
#define POSTHOUSE_PLUGIN_H

#include <posthouse/hook.h>
#include <posthouse/option.h>

PH_BEGIN_DECLS

struct ph_setup;        /* check and setup phase */
struct ph_command;      /* command.h */
struct ph_worker;       /* worker open and close, loop services */

struct ph_worker_scope {
	size_t size;            /* bytes of zeroed storage, at most 1 MiB */
	int  (*open)(struct ph_worker *w, void *data);
	void (*close)(struct ph_worker *w, void *data);
};
struct ph_scope {
	size_t size;            /* at most 64 KiB */
	int  (*open)(struct ph_call *call, void *data);
	void (*close)(struct ph_call *call, void *data);
};

enum ph_plugin_flags {
	PH_RESIDENT = 1,        /* its library leaves handlers behind: never unload */
	/* What setup may provide: while an instance has mistakes, listeners and next hops are not
	 * told that what it would have provided is missing. */
	PH_SUPPLIES_TLS = 2,    /* transport security */
	PH_SUPPLIES_LOGINS = 4, /* mechanisms */
};

struct ph_plugin {
	struct ph_abi abi;      /* first, frozen */
	const char *name;
	const char *summary;    /* one line, no full stop */
	const char *doc;        /* prose for the manual; may be NULL */
	unsigned    flags;
	const struct ph_option *options;        /* may be NULL */
	size_t      config_size;
	struct ph_worker_scope worker;
	struct ph_scope session, transaction;
	int  (*check)(struct ph_setup *setup);
	int  (*setup)(struct ph_setup *setup);
	void (*teardown)(struct ph_setup *setup);
	const char *version;    /* the plugin's own; NULL: the daemon's */
	const struct ph_command *commands;      /* command.h; ends with PH_COMMAND_END; may be NULL */
};

#ifndef __cplusplus
/* id is the plugin's name as a C identifier: '-' in the name is '_' here. */
#define PH_PLUGIN(id, ...)                                              \
	extern PH_EXPORT const struct ph_plugin ph_plugin_##id;         \
	const struct ph_plugin ph_plugin_##id = {                       \
		.abi = { PH_ABI_MAGIC, PH_ABI_MAJOR, PH_ABI_MINOR,      \
		         sizeof(struct ph_plugin) },                    \
		.name = #id, __VA_ARGS__ }
#endif

/* check, setup: the instance's configuration.  In check it is complete but
 * for what check itself refuses; in setup plugins may still fill fields. */
PH_API void *ph_setup_config(struct ph_setup *setup);
PH_API const char *ph_setup_instance(const struct ph_setup *setup);   /* its name in the file */
/* The plugin of the instance of that name in the same file, NULL when there is none. */
PH_API const char *ph_setup_plugin_of(const struct ph_setup *setup, const char *instance);
/* The address of the file's listener of that number (from 0), as it is written there and as
 * ph_secure_want.listener has it; NULL behind the last. */
PH_API const char *ph_setup_listener(const struct ph_setup *setup, size_t index);
/* setup: a directory of this instance's own inside the spool, mode 0700, made when first asked
 * for, where it may keep what must outlive a restart.  NULL: it cannot be made (complained). */
PH_API const char *ph_setup_state_dir(struct ph_setup *setup);
/* Report a mistake at an option's place in the file; the phase then fails
 * whatever it returns.  option NULL: the instance itself.  fmt may have a line end: what
 * stands behind it is printed as the hint, and must not quote what may have some, too. */
PH_API void ph_complain(struct ph_setup *setup, const char *option, const char *fmt, ...)
	PH_PRINTF(3, 4);
PH_API void ph_warn(struct ph_setup *setup, const char *option, const char *fmt, ...)
	PH_PRINTF(3, 4);

/* setup: register.  PH_EINVAL: a hook of the other kind, or too late. */
PH_API int ph_on_decide(struct ph_setup *setup, enum ph_hook hook, ph_decide_fn fn) PH_MUST_USE;
PH_API int ph_on_observe(struct ph_setup *setup, enum ph_hook hook, ph_observe_fn fn) PH_MUST_USE;
/* This instance rules on relaying: without any, only loopback may relay. */
PH_API void ph_rules_relay(struct ph_setup *setup);
/* This instance admits clients (by login or without): without any, MAIL is 530. */
PH_API void ph_rules_admission(struct ph_setup *setup);
/* setup: the option is of use only where clients are asked for certificates.  When all instances
 * are set up and no listener does, that is a warning at it.  The text of option must live until
 * teardown. */
PH_API void ph_expects_certificates(struct ph_setup *setup, const char *option);

/* --- log: one event, one line; the context (worker, session, plugin) is added --- */
enum ph_level { PH_ERROR, PH_WARN, PH_INFO, PH_DEBUG, PH_TRACE };
PH_API void ph_log(struct ph_call *call, enum ph_level level, const char *fmt, ...) PH_PRINTF(3, 4);
PH_API void ph_log_worker(struct ph_worker *w, enum ph_level level, const char *fmt, ...)
	PH_PRINTF(3, 4);
/* The worker a call runs on; for loop services. */
PH_API struct ph_worker *ph_worker_of(struct ph_call *call);
PH_API const void *ph_worker_config(const struct ph_worker *w);
PH_API void *ph_worker_storage(struct ph_worker *w);

PH_END_DECLS
#endif
