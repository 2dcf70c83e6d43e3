/* bad-empty.c - a shared object without a descriptor. */
extern int bad_empty;
int bad_empty = 1;
