/*
 * types.h - the small value types that the whole interface is written in.
 *
 * Text is a view (pointer and length, not ended by NUL unless said).  Views
 * are borrowed: the function that hands one out says how long it lives.
 */
#ifndef POSTHOUSE_TYPES_H
#define POSTHOUSE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <posthouse/abi.h>

PH_BEGIN_DECLS

/* Results: 0 or positive is success, negative one of these. */
#define PH_ERRORS(X) \
	X(PH_ENOMEM,    -4001, "out of memory or over a limit") \
	X(PH_EINVAL,    -4002, "not valid") \
	X(PH_ESTALE,    -4003, "the object is gone or has moved on") \
	X(PH_EBUSY,     -4004, "busy") \
	X(PH_EIO,       -4005, "input/output error") \
	X(PH_ENOSPC,    -4006, "no space left") \
	X(PH_ENOENT,    -4007, "not found") \
	X(PH_ETIMEOUT,  -4008, "timed out") \
	X(PH_ECLOSED,   -4009, "closed by the other side") \
	X(PH_ECANCELED, -4010, "canceled") \
	X(PH_EDOUBT,    -4011, "outcome unknown") \
	X(PH_ECORRUPT,  -4012, "damaged data") \
	X(PH_EPERM,     -4013, "not permitted") \
	X(PH_EEXIST,    -4014, "exists already") \
	X(PH_EREFUSED,  -4015, "connection refused") \
	X(PH_EUNREACH,  -4016, "host or network unreachable") \
	X(PH_ELIMIT,    -4017, "a configured limit is reached") \
	X(PH_EPROTO,    -4018, "protocol violated by the other side") \
	X(PH_ENOTSUP,   -4019, "not supported") \
	X(PH_EDNS,      -4020, "name cannot be resolved")

enum ph_error {
#define PH_X(name, value, text) name = value,
	PH_ERRORS(PH_X)
#undef PH_X
};

/* Text for a code; never NULL.  Any thread. */
PH_API const char *ph_strerror(int code);

struct ph_str { const char *p; size_t n; };

typedef struct { int64_t  ms;    } ph_duration;  /* distinct types: units cannot mix */
typedef struct { uint64_t bytes; } ph_size;

/* A queue id: time ordered, unique over all nodes.  Its text is 20 characters
 * of [0-9A-V] (base32hex of the upper 100 bits; the rest is zero). */
struct ph_msgid { uint64_t hi, lo; };
#define PH_MSGID_TEXT 21                /* with the NUL */

/* An IP address with port, host byte order.  family: 4, 6, or 0 for a local
 * (unix) socket or unknown. */
struct ph_addr { uint8_t family; uint16_t port; uint8_t ip[16]; };
#define PH_ADDR_TEXT 64
/* "192.0.2.1", "2001:db8::1", "local".  v4-mapped v6 is given as v4. */
PH_API const char *ph_addr_text(const struct ph_addr *a, char out[PH_ADDR_TEXT]);
PH_API bool ph_addr_is_loopback(const struct ph_addr *a);

/* A network: address and prefix length. */
struct ph_network { uint8_t family; uint8_t bits; uint8_t ip[16]; };
struct ph_networks { const struct ph_network *v; size_t n; };
PH_API bool ph_network_has(const struct ph_networks *nets, const struct ph_addr *a);

/* host:port as configured.  literal: an address or "[name]" was written, so
 * no MX look-up is wanted.  port 0: none was written. */
struct ph_endpoint { const char *host; uint16_t port; bool literal; };
struct ph_endpoints { const struct ph_endpoint *v; size_t n; };
struct ph_strings { const char *const *v; size_t n; };
struct ph_durations { const ph_duration *v; size_t n; };
/* A list of sub-sections; v points at n structs of the row table's type. */
struct ph_sections { const void *v; size_t n; };
/* Text read from a file or a systemd credential; wiped when its generation
 * ends, never printed. */
struct ph_secret { const char *p; size_t n; };

/* Something posted to another thread's mailbox.  Embedded in the caller's
 * struct and owned by the mailbox until run() is called, once, on the thread
 * that owns the mailbox. */
struct ph_note { struct ph_note *next; void (*run)(struct ph_note *); };
struct ph_mailbox;
/* Any thread, never blocks, never fails. */
PH_API void ph_post(struct ph_mailbox *to, struct ph_note *note);

PH_END_DECLS
#endif
