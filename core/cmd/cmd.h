/*
 * cmd.h - the subcommands of the one binary.  Each is a function of its own
 * arguments (argv[0] is its name) that answers with the exit status; statuses
 * are those of sysexits.h, so that scripts can tell why something failed.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <sysexits.h>

/*
 * EX_OK 0          done
 * EX_USAGE 64      the command line is wrong
 * EX_DATAERR 65    the input, or what arrived, is wrong
 * EX_NOINPUT 66    a file cannot be read
 * EX_NOHOST 68     nobody answers there
 * EX_UNAVAILABLE 69  refused for good
 * EX_OSERR 71      the system did not let us
 * EX_CANTCREAT 73  a file cannot be written
 * EX_TEMPFAIL 75   refused for now: try again
 * EX_CONFIG 78     the configuration is wrong
 */

struct cmd { const char *name, *summary; int (*run)(int argc, char **argv); };

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_plugins(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_sink(int argc, char **argv);
int cmd_bench(int argc, char **argv);

#endif
