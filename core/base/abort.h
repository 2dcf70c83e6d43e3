/* abort.h - a broken promise by our own code ends the process, with both values. */
#ifndef BASE_ABORT_H
#define BASE_ABORT_H

_Noreturn void ph_abort_at(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
#define ph_abort(...) ph_abort_at(__FILE__, __LINE__, __VA_ARGS__)
#define ph_assert(cond) do { if (__builtin_expect(!(cond), 0)) ph_abort("%s", #cond); } while (0)

#endif
