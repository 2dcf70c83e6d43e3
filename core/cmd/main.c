/*
 * main.c - one binary, git-style: finds the subcommand and runs it.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/plugin_command.h"

static const struct cmd cmds[] = {
	{ "run",     "run the relay in the foreground", cmd_run },
	{ "check",   "check a configuration and start nothing", cmd_check },
	{ "reload",  "make the running relay take its configuration anew", cmd_reload },
	{ "queue",   "list, show, flush, hold, release and remove queued mail", cmd_queue },
	{ "plugins", "what is loaded, who runs on which hook, what a plugin's options are", cmd_plugins },
	{ "send",    "submit a message, or generated ones", cmd_send },
	{ "sink",    "a receiving server for trials", cmd_sink },
	{ "bench",   "drive any SMTP server and measure it", cmd_bench },
	{ "explain", "the reference of the configuration, from its own tables", cmd_explain },
	{ "version", "print the version", cmd_version },
};

static void
usage(FILE *f)
{
	fprintf(f, "usage: posthouse COMMAND [OPTION ...]\n\n");
	for (size_t i = 0; i < sizeof cmds / sizeof cmds[0]; i++)
		fprintf(f, "  %-9s %s\n", cmds[i].name, cmds[i].summary);
	plugin_command_list(f);
	fprintf(f, "\n`posthouse COMMAND --help` tells the options of a command.\n");
}

int
main(int argc, char **argv)
{
	int status;

	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return EX_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	for (size_t i = 0; i < sizeof cmds / sizeof cmds[0]; i++)
		if (strcmp(argv[1], cmds[i].name) == 0)
			return cmds[i].run(argc - 1, argv + 1);
	if (plugin_command(argc - 1, argv + 1, &status))
		return status;
	fprintf(stderr, "posthouse: there is no command \"%s\" (plugins may add commands; "
	    "--plugin-dir says where they are)\n\n", argv[1]);
	usage(stderr);
	return EX_USAGE;
}
