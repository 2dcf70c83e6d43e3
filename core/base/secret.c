/*
 * secret.c - each secret has a mapping of its own.  There are few, and a page
 * that holds nothing else can be told apart by the kernel: not dumped, not
 * swapped, and gone when unmapped.
 */
#include "base/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/abort.h"
#include "base/mem.h"

static size_t
pages_for(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page) / page * page;        /* one octet more, for the NUL */
}

struct ph_secret
secret_keep(struct ph_str s)
{
	size_t size = pages_for(s.n);
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		ph_abort("no memory for a secret of %zu bytes", s.n);
	/* Best effort, both: an old kernel, or RLIMIT_MEMLOCK, may say no. */
	(void)madvise(p, size, MADV_DONTDUMP);
	(void)mlock(p, size);
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	(void)mprotect(p, size, PROT_READ);     /* nobody has a reason to write to it */
	return (struct ph_secret){ p, s.n };
}

void
secret_drop(struct ph_secret *s)
{
	char *p = (char *)(uintptr_t)s->p;
	size_t size;

	if (p == NULL)
		return;
	size = pages_for(s->n);
	if (mprotect(p, size, PROT_READ | PROT_WRITE) == 0)
		mem_wipe(p, size);
	(void)munmap(p, size);                  /* only fails on bad arguments */
	*s = (struct ph_secret){ NULL, 0 };
}
