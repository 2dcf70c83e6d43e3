/* control_client.h - asking a running daemon, from a command. Blocking; no loop. */
#ifndef DAEMON_CONTROL_CLIENT_H
#define DAEMON_CONTROL_CLIENT_H

#include "daemon/fields.h"

/* Sends the request and hands each line to row until "end". 0 done; PH_EREFUSED
 * the daemon said no (text in *out_text, malloc'd); PH_ENOENT no daemon is
 * running there; PH_EPERM not permitted; PH_EIO the connection broke. */
int control_ask(const char *path, const struct fields *request,
                void (*row)(void *arg, const struct fields *f), void *arg, char **out_text);

#endif
