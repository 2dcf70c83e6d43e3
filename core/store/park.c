/* park.c - a futex of three states, see park.h. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <stddef.h>

#include "store/park.h"

enum { BUSY, TOLD, ASLEEP };

void
park_init(struct park *p)
{
	atomic_init(&p->state, BUSY);
}

void
park_wake(struct park *p)
{
	if (atomic_exchange(&p->state, TOLD) == ASLEEP)
		(void)syscall(SYS_futex, &p->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void
park_wait(struct park *p, int64_t timeout_ms)
{
	struct timespec limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000000 };
	uint32_t state = BUSY;

	if (atomic_compare_exchange_strong(&p->state, &state, ASLEEP) && timeout_ms != 0)
		/* any outcome is a reason to look again */
		(void)syscall(SYS_futex, &p->state, FUTEX_WAIT_PRIVATE, ASLEEP,
		    timeout_ms < 0 ? NULL : &limit, NULL, 0);
	atomic_store(&p->state, BUSY);
}
