/*
 * reply.h - replies by name.  See replies.def.
 */
#ifndef POSTHOUSE_REPLY_H
#define POSTHOUSE_REPLY_H

#include <posthouse/types.h>

PH_BEGIN_DECLS

enum ph_reply {
	PH_R_NONE = 0,
#define PH_REPLY(name, code, enhanced, text) PH_R_##name,
#include <posthouse/replies.def>
#undef PH_REPLY
	PH_R_COUNT
};

/* Code, enhanced code ("" where a reply has none), default text. Any thread. */
PH_API int         ph_reply_code(enum ph_reply r);
PH_API const char *ph_reply_enhanced(enum ph_reply r);
PH_API const char *ph_reply_text(enum ph_reply r);

PH_END_DECLS
#endif
