/*
 * user_prompt.c - where a password comes from.  A terminal is left as it was found, also when the
 * user interrupts or stops the program in the middle.
 */
#include "user_prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <posthouse/service.h>

static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
enum { CAUGHT = sizeof caught / sizeof caught[0] };
static volatile sig_atomic_t signalled;

static void
note_signal(int sig)
{
	signalled = sig;
}

/* A line without its end; octets that do not fit are read all the same.  -1: end or signal. */
static int
read_line(int fd, char *out, size_t room, size_t *out_n)
{
	bool any = false;
	size_t n = 0;
	char c;

	for (;;) {
		ssize_t got = read(fd, &c, 1);

		if (got < 0 && errno == EINTR && signalled == 0)
			continue;
		if (got < 0 || (got == 0 && !any))
			return -1;
		if (got == 0 || c == '\n')
			break;
		any = true;
		if (n < room)
			out[n] = c;
		n++;
	}
	if (n > 0 && n <= room && out[n - 1] == '\r')
		n--;
	*out_n = n;
	return 0;
}

static int
accept_password(char *text, size_t n)
{
	if (n <= PASSWORD_LIMIT)
		text[n] = '\0';
	if (n <= PASSWORD_LIMIT && password_valid((struct ph_str){ text, n }))
		return 0;
	ph_wipe(text, PASSWORD_LIMIT + 1);
	fprintf(stderr, "posthouse user: the password %s\n", n == 0 ? "is empty" :
	    n > PASSWORD_LIMIT ? "is longer than 511 octets"
	    : "is not UTF-8, or has a control character");
	return PH_EINVAL;
}

/* One question with the echo off. */
static int
ask(int fd, const char *question, const char *name, char *out, size_t *out_n)
{
	struct sigaction act = { .sa_handler = note_signal }, old[CAUGHT];
	struct termios was, quiet;
	int rc, sig;

	if (tcgetattr(fd, &was) != 0)
		return PH_EIO;
	signalled = 0;
	sigemptyset(&act.sa_mask);
	for (int i = 0; i < CAUGHT; i++) {
		sigaction(caught[i], &act, &old[i]);
		if (old[i].sa_handler == SIG_IGN)       /* by whoever started us: so it stays */
			sigaction(caught[i], &old[i], NULL);
	}
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	quiet.c_lflag |= ICANON | ISIG;
	(void)tcsetattr(fd, TCSAFLUSH, &quiet);
	dprintf(fd, "%s %s: ", question, name);
	rc = signalled == 0 ? read_line(fd, out, PASSWORD_LIMIT, out_n) : -1;
	(void)tcsetattr(fd, TCSAFLUSH, &was);
	dprintf(fd, "\n");
	for (int i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &old[i], NULL);
	sig = signalled;
	if (sig != 0)
		raise(sig);             /* with the terminal as it was */
	return rc == 0 ? 0 : PH_ECANCELED;
}

int
prompt_terminal(const char *name, bool twice, char out[PASSWORD_LIMIT + 1])
{
	char again[PASSWORD_LIMIT + 1];
	size_t n = 0, m = 0;
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), rc;

	if (fd < 0) {
		fprintf(stderr, "posthouse user: there is no terminal to ask for the password; use "
		    "--password-stdin or --password-file\n");
		return PH_ENOENT;
	}
	rc = ask(fd, twice ? "New password for" : "Password of", name, out, &n);
	if (rc == 0)
		rc = accept_password(out, n);
	else
		fprintf(stderr, "posthouse user: no password was given\n");
	if (rc == 0 && twice) {
		rc = ask(fd, "Once more, for", name, again, &m);
		if (rc != 0 || m != n || memcmp(again, out, n) != 0) {
			fprintf(stderr, "posthouse user: the two differ; nothing is changed\n");
			rc = PH_EINVAL;
		}
	}
	ph_wipe(again, sizeof again);
	if (rc != 0)
		ph_wipe(out, PASSWORD_LIMIT + 1);
	close(fd);
	return rc;
}

int
prompt_file(const char *path, char out[PASSWORD_LIMIT + 1])
{
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO, rc;
	size_t n = 0;

	if (fd < 0) {
		fprintf(stderr, "posthouse user: %s cannot be read: %s\n", path, strerror(errno));
		return PH_EIO;
	}
	signalled = 0;
	rc = read_line(fd, out, PASSWORD_LIMIT, &n);
	if (rc != 0)
		n = 0;
	if (path != NULL)
		close(fd);
	return accept_password(out, n);
}
