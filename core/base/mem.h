/*
 * mem.h - heap and arenas.  Small structural allocations abort when memory
 * is gone; anything whose size a peer chooses is limited by its caller first.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <posthouse/types.h>

void *mem_alloc(size_t n);              /* never NULL */
void *mem_calloc(size_t n, size_t size);/* zeroed */
void *mem_realloc(void *p, size_t n);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);     /* ends with NUL */
void  mem_wipe(void *p, size_t n);      /* not optimised away */

#define mem_new(type) ((type *)mem_calloc(1, sizeof(type)))

/* An arena: memory freed all at once. Zero-initialised storage plus
 * arena_init; the first chunk is taken at the first allocation. */
struct arena_chunk;
struct arena { struct arena_chunk *head; size_t chunk_size, total; };

void  arena_init(struct arena *a, size_t chunk_size);
void *arena_alloc(struct arena *a, size_t n);   /* zeroed, aligned to 16 */
char *arena_strndup(struct arena *a, const char *s, size_t n);  /* NUL ended */
struct ph_str arena_str(struct arena *a, struct ph_str s);      /* copy, NUL behind */
char *arena_printf(struct arena *a, const char *fmt, ...) PH_PRINTF(2, 3);
void  arena_reset(struct arena *a);     /* frees all chunks */
#define arena_new(a, type) ((type *)arena_alloc(a, sizeof(type)))

#endif
