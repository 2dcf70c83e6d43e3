/*
 * command.h - subcommands that a plugin adds: `posthouse user add bob`.
 *
 * The program looks among its own commands first, then among those of the
 * plugins that it finds.  A command runs in a process of its own, in the
 * foreground, without daemon or loop; ph_setup and ph_worker do not exist.  Mistakes elsewhere in
 * the configuration do not keep it from running.
 */
#ifndef POSTHOUSE_COMMAND_H
#define POSTHOUSE_COMMAND_H

#include <posthouse/plugin.h>

PH_BEGIN_DECLS

/* What the configuration says of this plugin; all lives until the command returns. */
struct ph_command_instance {
	const char *name;               /* in the file */
	const void *config;             /* its options as written; check has not seen them */
	const char *state_dir;          /* where ph_setup_state_dir keeps it; may not exist yet */
};
struct ph_command_env {
	uint32_t size;
	const char *config_file;        /* path; "" when there is none */
	const struct ph_command_instance *instances;    /* of this plugin, in the order of the file */
	size_t ninstances;              /* 0: the file is not there, or does not name the plugin */
	const char *user;               /* whom the daemon runs as; NULL: as who starts it */
};
struct ph_command {
	const char *name;               /* "user" */
	const char *summary;            /* for `posthouse --help`; no full stop */
	/* argv[0] is the name; -c FILE and --plugin-dir DIR in front are taken out.  Answers
	 * with an exit status of sysexits.h.  Prints to stdout and stderr by itself. */
	int (*run)(int argc, char **argv, const struct ph_command_env *env);
};
#define PH_COMMAND_END { NULL, NULL, NULL }

PH_END_DECLS
#endif
