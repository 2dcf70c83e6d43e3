/*
 * bind.h - listening sockets: opened before privileges are dropped, taken
 * from socket activation where the service manager passes them, kept over
 * reloads.
 */
#ifndef DAEMON_BIND_H
#define DAEMON_BIND_H

#include "base/diag.h"
#include "config/settings.h"
#include "daemon/worker.h"

struct bound { char *address; int *fds; unsigned nfds; bool passed, wanted; };  /* one fd per worker */
struct binds { struct bound *v; size_t n; unsigned workers; int *passed; unsigned npassed; };

/* Sockets passed by the service manager (LISTEN_FDS); CLOEXEC is set on them. */
void binds_take_passed(struct binds *b);
/* Opens what `listen` names and is not open yet. 0, or the number of addresses that
 * could not be bound (diagnostics in d, at place). Those no longer named stay open until binds_drop. */
unsigned binds_open(struct binds *b, const struct config_file *cfg, struct diags *d);
bool bound_addr(const struct bound *bo, struct ph_addr *out);      /* as the socket has it */
void binds_drop(struct binds *b);               /* closes what the last binds_open did not want */
void binds_close(struct binds *b);
/* The listeners of one worker for these settings, in their order; v has room for all. */
size_t binds_for(const struct binds *b, const struct config_file *cfg, unsigned worker,
                 struct worker_listen *v);

#endif
