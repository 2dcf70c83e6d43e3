/* list.h - an intrusive doubly linked ring. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list { struct list *next, *prev; };

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *n) { return n->next != NULL && n->next != n; }
static inline void list_add_before(struct list *at, struct list *n)
{ n->next = at; n->prev = at->prev; at->prev->next = n; at->prev = n; }
static inline void list_push_back(struct list *l, struct list *n) { list_add_before(l, n); }
static inline void list_push_front(struct list *l, struct list *n) { list_add_before(l->next, n); }
/* Unlinks and makes it unlinked for list_linked; harmless when it is. */
static inline void list_del(struct list *n)
{ if (n->next != NULL) { n->prev->next = n->next; n->next->prev = n->prev; } n->next = n->prev = NULL; }
static inline struct list *list_pop(struct list *l)
{ struct list *n = l->next; if (n == l) return NULL; list_del(n); return n; }
static inline void list_splice_back(struct list *to, struct list *from)
{ if (list_empty(from)) return;
  from->next->prev = to->prev; to->prev->next = from->next;
  from->prev->next = to; to->prev = from->prev; list_init(from); }
#define list_each(it, l) for (struct list *it = (l)->next; it != (l); it = it->next)
#define list_each_safe(it, l) \
	for (struct list *it = (l)->next, *it##_next = it->next; it != (l); it = it##_next, it##_next = it->next)

#endif
