/* notify.h - the service manager's notification socket (sd_notify(3)), spoken without a library. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

void notify_init(void);                 /* takes NOTIFY_SOCKET out of the environment */
void notify_say(const char *state);     /* "READY=1"; harmless without a manager */

#endif
