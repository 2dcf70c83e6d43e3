/*
 * opt.h - command lines from a table: one row per option gives parsing,
 * default, bounds and the --help text, so that they cannot disagree.
 *
 *   struct send_opts { const char *to; int verbose; struct opt_list rcpts; };
 *   static const struct opt rows[] = {
 *           OPT(struct send_opts, to, 't', "to", "HOST:PORT", "The server.", .dflt = "localhost:25"),
 *           OPT_HEADING("Trouble"),
 *           OPT(struct send_opts, verbose, 'v', "verbose", NULL, "Show the dialogue."),
 *           OPT_END
 *   };
 *   static const struct opt_command command = {
 *           "send", "[OPTION ...] [FILE]", "Submits a message.", rows, NULL
 *   };
 *   rc = opt_parse(&command, argc, argv, &opts, &operands);
 *   if (rc != OPT_GO_ON)
 *           return rc;
 */
#ifndef CMD_OPT_H
#define CMD_OPT_H

#include <posthouse/types.h>

enum opt_kind {
	OPT_NONE,       /* a heading of the help, or the end of the table */
	OPT_SET,        /* bool: becomes true */
	OPT_CLEAR,      /* bool: becomes false */
	OPT_COUNT,      /* int: one more each time */
	OPT_TEXT,       /* const char *: the argument itself */
	OPT_LIST,       /* struct opt_list: may be repeated */
	OPT_INT,        /* int64_t */
	OPT_REAL,       /* double */
	OPT_SIZE,       /* ph_size */
	OPT_DURATION,   /* ph_duration */
	OPT_CHOICE,     /* int: index into choices */
};
struct opt_list { const char **v; size_t n; };  /* v: freed by opt_list_free */

struct opt {
	enum opt_kind kind;
	size_t offset;                  /* of the field in the command's struct */
	char letter;                    /* 0: none */
	const char *name;               /* without the dashes; NULL: none */
	const char *arg;                /* how the help names the argument; NULL for flags */
	const char *doc;                /* sentences; wrapped by the help */
	const char *dflt;               /* parsed as if it had been given first; shown */
	int64_t min, max;               /* numbers (bytes, ms); both 0: none but that
	                                 * INT, REAL, SIZE and DURATION are not negative */
	const char *const *choices;     /* ends with NULL */
};

#define OPT_KIND_OF(expr) _Generic((expr),                              \
	bool: OPT_SET,              int: OPT_COUNT,                     \
	const char *: OPT_TEXT,     struct opt_list: OPT_LIST,          \
	int64_t: OPT_INT,           double: OPT_REAL,                   \
	ph_size: OPT_SIZE,          ph_duration: OPT_DURATION)
#define OPT_ROW(T, field, kind_, letter_, name_, arg_, doc_, ...)       \
	{ .kind = (kind_), .offset = offsetof(T, field), .letter = (letter_), \
	  .name = (name_), .arg = (arg_), .doc = (doc_), __VA_ARGS__ }
#define OPT(T, field, ...) OPT_ROW(T, field, OPT_KIND_OF(((T *)0)->field), __VA_ARGS__)
#define OPT_OFF(T, field, letter, name, ...)                            \
	OPT_ROW(T, field, OPT_CLEAR, letter, name, NULL, __VA_ARGS__)
#define OPT_ONE_OF(T, field, ...) OPT_ROW(T, field, OPT_CHOICE, __VA_ARGS__)
#define OPT_HEADING(text) { .kind = OPT_NONE, .doc = (text) }
#define OPT_END { .kind = OPT_NONE }

struct opt_command {
	const char *name;               /* "send", "queue list" */
	const char *usage;              /* behind the name: "[OPTION ...] [FILE]" */
	const char *about;              /* a paragraph for the help */
	const struct opt *rows;
	const char *epilog;             /* printed as it is; NULL: nothing */
};

enum { OPT_GO_ON = -1 };
/*
 * Fills out (the zeroed struct the rows speak of) and gathers what is no
 * option in *operands, in order; operands NULL: there must be none.  "--" ends
 * options, "-" alone is an operand.  OPT_GO_ON, or the exit status: EX_OK
 * after --help, which was printed; EX_USAGE after a complaint on standard error.
 */
int  opt_parse(const struct opt_command *cmd, int argc, char **argv, void *out,
               struct opt_list *operands);
/* For what the table cannot say: complains in the same form and gives EX_USAGE. */
int  opt_complain(const struct opt_command *cmd, const char *fmt, ...) PH_PRINTF(2, 3);
struct buf;
void opt_help(const struct opt_command *cmd, struct buf *out);
void opt_list_add(struct opt_list *l, const char *s);   /* borrows s */
void opt_list_free(struct opt_list *l);

#endif
