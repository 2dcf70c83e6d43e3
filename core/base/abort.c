/*
 * abort.c - the end of the process when our own code broke a promise.
 *
 * Writes one line to standard error, without the log's buffers, and aborts.
 * Nothing a peer, a disk or a plugin does may lead here.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/abort.h"

void
ph_abort_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "posthouse: broken promise at %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
