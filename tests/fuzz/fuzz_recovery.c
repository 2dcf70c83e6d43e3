/*
 * fuzz_recovery.c - bytes as a program: mail comes and goes, calls fail, power
 * is cut, bytes on the disk change; the model of tests/fault checks each life.
 */
#include "../fault/world.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
next_life(bool cut)
{
	if (cut) {
		world_die();
		fake_power_on();
	} else
		world_kill();
	world_open();
	world_settle();
	world_check();
}

static void
damage(uint8_t which, uint16_t where)
{
	const char *path = fake_first(which % 2 ? "/spool/seg-" : "/spool/");

	if (path == NULL)
		return;
	world.damaged = true;
	fake_flip(path, where);
}

static void
step(uint8_t op, uint8_t a, uint8_t b)
{
	size_t i = world.n > 0 ? (size_t)(a << 8 | b) % world.n : 0;

	switch (op % 16) {
	case 0: case 1: case 2:
		world_append(a, (uint32_t)b * 40, false);
		break;
	case 3:
		world_append(a, 16000 + (uint32_t)b * 100, true);
		break;
	case 4: case 5: case 6:
		if (world.n > 0 && world.v[i].reported && !world.v[i].remove_asked)
			world_remove(i);
		break;
	case 7:
		if (world.n > 0 && world.v[i].reported && !world.v[i].remove_asked)
			world_progress(i);
		break;
	case 8:
		world_settle();
		break;
	case 9:
		world_settle();
		world_pass(a < 128 ? 60 : 1000);
		break;
	case 10:
		(void)world_pump();
		break;
	case 11:
		fake_cut_at(1 + a);
		break;
	case 12:
		next_life(a % 2);
		break;
	case 13:
		fake_fail((enum fake_call)(a % FAKE_READ), 1 + b % 8, 1 + b / 64, b % 2 ? EIO : ENOSPC);
		break;
	case 14:
		if (b % 4 == 0)         /* seldom, as it makes the rest of the checks weak */
			damage(a, (uint16_t)(b << 8 | a));
		break;
	case 15:
		fake_space(b % 2 ? -1 : fake_used() + a * 1024);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4 || size > 1500)
		return 0;
	world_start(data[0], 64 << 10);
	world_open();
	for (size_t i = 1; i + 2 < size; i += 3) {
		step(data[i], data[i + 1], data[i + 2]);
		if (fake_is_off())
			next_life(true);
	}
	world_settle();
	fake_space(-1);
	next_life(true);
	next_life(true);
	world_end();
	return 0;
}
