/* plugin_command.h - subcommands that plugins add (posthouse/command.h). */
#ifndef CMD_PLUGIN_COMMAND_H
#define CMD_PLUGIN_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

/* Runs the command argv[0] if a plugin has it: true and the exit status. */
bool plugin_command(int argc, char **argv, int *status);
/* A line for each such command, for `posthouse --help`. */
void plugin_command_list(FILE *f);

#endif
