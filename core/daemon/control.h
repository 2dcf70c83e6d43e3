/*
 * control.h - the control socket: operators' commands to the running daemon.
 * Main thread.  One request line, then rows, then "end ok:true|false".
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

struct control;
struct daemon;
struct control *control_open(struct daemon *d, const char *path);       /* NULL: errno says why */
void control_close(struct control **c);

#endif
