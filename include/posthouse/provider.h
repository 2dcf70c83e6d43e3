/*
 * provider.h - providers answer a question exactly once and are named in the
 * configuration: who routes, who encrypts, who knows passwords and logins.
 *
 * Every provider struct is led by its size and grown at the end.  Functions
 * that take a struct ph_question may answer at once or later, from the same
 * worker, by ph_answered; the core owns the deadline and tells by abandon.
 */
#ifndef POSTHOUSE_PROVIDER_H
#define POSTHOUSE_PROVIDER_H

#include <posthouse/service.h>

PH_BEGIN_DECLS

/* --- router: where a message goes --- */
enum ph_tls_policy { PH_TLS_OFF, PH_TLS_OPPORTUNISTIC, PH_TLS_REQUIRED, PH_TLS_VERIFY };

/* A next hop and how to talk to it: one site of the queue.  Owned by the
 * plugin, unchanged while its generation lives.  The site's key is made from
 * name, hosts, tls and login, so that two instances with the same values
 * share limits and suspension. */
struct ph_next_hop {
	uint32_t size;
	const char *name;               /* shown in log and queue */
	struct ph_endpoints hosts;      /* in order of preference; literal: no MX */
	uint16_t default_port;
	int64_t connections;            /* at once, whole daemon; 0: core's default */
	int64_t messages_per_connection;/* 0: no limit */
	int64_t recipients_per_message; /* 0: no limit */
	ph_duration connect_timeout, idle_timeout;      /* 0: core's default */
	enum ph_tls_policy tls;
	const char *tls_provider;       /* instance name; NULL: the only one */
	const char *auth;               /* client mechanism provider; NULL: none */
	const char *login;              /* user name for the site's key and the log */
	void *data;                     /* the plugin's own, given to its client providers */
	bool allow_loopback;            /* a name may resolve to this machine */
	/* What the providers of transport security and logins need to know; NULL: theirs. */
	bool tls_implicit;              /* TLS from the first byte (RFC 8314 3.3), no STARTTLS */
	const char *tls_name;           /* to verify and to ask for (SNI); NULL: the host's name */
	const char *tls_ca_file;        /* PEM; who may have signed the host's certificate */
	const char *tls_certificate, *tls_key;  /* PEM; shown when the host asks for one */
	const char *tls_minimum;        /* "1.2" */
	struct ph_strings mechanisms;   /* client mechanisms in order of preference; empty: strongest first */
	struct ph_secret password;      /* for login; lives as long as the generation */
};

struct ph_route;        /* one question: a message and its pending recipients */
PH_API struct ph_str ph_route_sender(const struct ph_route *r);
PH_API size_t        ph_route_rcpt_count(const struct ph_route *r);
PH_API struct ph_str ph_route_rcpt(const struct ph_route *r, size_t i);
PH_API struct ph_str ph_route_rcpt_domain(const struct ph_route *r, size_t i);
/* Answers, per recipient; the last one for a recipient holds. */
PH_API void ph_route_to(struct ph_route *r, size_t i, const struct ph_next_hop *hop);
PH_API void ph_route_fail(struct ph_route *r, size_t i, enum ph_reply reply, const char *text);
PH_API void ph_route_defer(struct ph_route *r, size_t i, const char *why);
/* Suspended routers call it when all recipients are answered. */
PH_API int  ph_route_done(struct ph_ticket ticket);
PH_API struct ph_ticket ph_route_ticket(struct ph_route *r);
PH_API const void *ph_route_config(const struct ph_route *r);
PH_API void *ph_route_worker_data(const struct ph_route *r);

struct ph_router {
	uint32_t size;
	/* Routers run in config order; each sees the recipients that none before
	 * has answered.  PH_CONTINUE: answered what it knows.  PH_SUSPEND: will
	 * call ph_route_done. */
	enum ph_verdict (*route)(struct ph_route *r);
	ph_duration limit;      /* for a suspended answer; 0: 30 s */
	/* Runs instead of ph_route_done when the wait ends otherwise: time-out,
	 * shutdown; r is gone after it.  A router that suspends must have it. */
	void (*abandon)(struct ph_route *r);
};
PH_API int ph_provide_router(struct ph_setup *setup, const struct ph_router *router) PH_MUST_USE;
/* setup: this router may answer with hop, which is whole by the end of setup and lives until teardown.
 * When all instances are set up, what hop wants is compared with what they supply, and mistakes are
 * told at the router's options auth, mechanisms, tls, tls-ca-file, tls-certificate and tls-key, so
 * named; where it has no such option, at the instance. */
PH_API void ph_expects_hop(struct ph_setup *setup, const struct ph_next_hop *hop);

/* --- transport security --- */
/*
 * A provider never sees the socket: it is handed ciphertext and gives
 * plaintext and back.  The core discards what was buffered in the clear when
 * a layer is put on (RFC 3207 4.2).
 */
enum ph_side { PH_SERVER, PH_CLIENT };
struct ph_secure_want {                 /* what the core asks for */
	uint32_t size;
	enum ph_side side;
	enum ph_tls_policy policy;
	struct ph_str name;             /* client: the host to verify and SNI */
	const struct ph_next_hop *hop;  /* client: else NULL */
	const char *listener;           /* server: address as configured */
	const struct ph_addr *client;   /* server: who connects; lives as long as the layer */
};
struct ph_secure_io {                   /* one pump step; the provider moves the marks */
	const uint8_t *cipher_in; size_t cipher_in_len;         /* consumed: advance */
	uint8_t *plain_out; size_t plain_out_room, plain_out_len;
	const uint8_t *plain_in; size_t plain_in_len;
	uint8_t *cipher_out; size_t cipher_out_room, cipher_out_len;
	bool closing;                   /* in: send close_notify */
};
enum ph_secure_state { PH_SECURE_HANDSHAKE, PH_SECURE_OPEN, PH_SECURE_CLOSED };
struct ph_secure_facts {                /* views live as long as the layer */
	struct ph_str version, cipher;  /* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
	int bits;
	struct ph_str peer_name;        /* verified certificate name, "" else */
	bool verified;
	struct ph_str problem;          /* why a handshake or verification failed, for people */
	/* The other side's certificate, verified or not; "" and 0 when it showed none. */
	struct ph_str subject, issuer, names;   /* names: those it is valid for, by ", " */
	int64_t expires;                /* its notAfter, seconds since 1970 */
	bool resumed;                   /* an earlier session was taken up again */
	bool legacy;                    /* server: too old for others, let in by an exception */
};
struct ph_secure {
	uint32_t size;
	size_t layer_size;              /* storage per layer, zeroed */
	int  (*open)(struct ph_worker *w, void *layer, const struct ph_secure_want *want);
	/* Moves what can be moved. 0 and *state, or PH_EPROTO (facts.problem says why). */
	int  (*pump)(void *layer, struct ph_secure_io *io, enum ph_secure_state *state);
	void (*facts)(void *layer, struct ph_secure_facts *out);
	void (*close)(void *layer);
	/* channel binding (RFC 5929, 9266); 0 or PH_ENOTSUP */
	int  (*binding)(void *layer, const char *type, uint8_t *out, size_t *len);
	/* It has no certificate to show: STARTTLS is not offered, listeners that need TLS are a
	 * mistake.  Among several instances the first that can serve does. */
	bool client_only;
	bool asks_certificates;         /* of clients, at one listener at least */
	/* Could a layer towards hop be opened, do its files fit?  Main thread, when all instances
	 * are set up and no worker has been opened; without side effects.  setup is that of the
	 * router who named hop, for complaints at its options, and registers nothing; config is the
	 * provider's own, read-only.  Nothing of it is kept.  May be NULL. */
	void (*check)(struct ph_setup *setup, const void *config, const struct ph_next_hop *hop);
};
PH_API int ph_provide_secure(struct ph_setup *setup, const struct ph_secure *secure) PH_MUST_USE;

/* --- SASL, both sides --- */
struct ph_sasl;         /* one exchange */
/*
 * Client side: the first step has no input and may set an initial response (output set, empty or
 * not) or none (the host speaks first).  What is set is sent with MORE and DONE.  DONE says that
 * 235 may come now; after MORE a 235 counts as a host that has not proved itself, and fails.  A
 * challenge that comes after DONE or DENIED goes to step all the same: SPNEGO's last token, the
 * reason why a token was refused.  DENIED with output sends it, and waits for the refusal; without
 * output, and for all other results, the exchange is cancelled.  After TRY_LATER the site waits
 * and is probed; after DENIED it does so with an alarm about the login.  The text of
 * ph_sasl_problem is shown to the admin as the reason.
 */
enum ph_sasl_result {
	PH_SASL_MORE,           /* a challenge (server) or response (client) was set */
	PH_SASL_DONE,           /* server: identity set; client: satisfied */
	PH_SASL_DENIED,         /* wrong credentials: 535 */
	PH_SASL_MALFORMED,      /* 501; client: the host's challenge makes no sense */
	PH_SASL_TRY_LATER,      /* 454 */
	PH_SASL_WAIT,           /* ph_sasl_done will be called */
};
PH_API struct ph_str ph_sasl_input(const struct ph_sasl *x);    /* decoded from base64 */
PH_API bool          ph_sasl_has_initial(const struct ph_sasl *x);
PH_API int           ph_sasl_output(struct ph_sasl *x, struct ph_str bytes) PH_MUST_USE;
PH_API int           ph_sasl_identity(struct ph_sasl *x, struct ph_str login) PH_MUST_USE;
PH_API void          ph_sasl_problem(struct ph_sasl *x, const char *text);  /* for the log only */
/* The name that the client claims, as soon as it is known and before it is believed: for the
 * log and for slowing down who guesses passwords. */
PH_API void          ph_sasl_user(struct ph_sasl *x, struct ph_str claimed);
/* Instead of ph_sasl_output, server side: the text of the first 334 as it is, not base64
 * ("NTLM supported", MS-SMTPNTLM 2.2).  Clients that sent no initial response read past it. */
PH_API int           ph_sasl_prompt(struct ph_sasl *x, const char *text) PH_MUST_USE;
PH_API void         *ph_sasl_data(struct ph_sasl *x);   /* state_size bytes, zeroed */
PH_API const void   *ph_sasl_config(const struct ph_sasl *x);
PH_API void         *ph_sasl_worker_data(const struct ph_sasl *x);
PH_API struct ph_worker *ph_sasl_worker(const struct ph_sasl *x);
PH_API bool          ph_sasl_is_secure(const struct ph_sasl *x);
PH_API int           ph_sasl_binding(struct ph_sasl *x, const char *type, uint8_t *out, size_t *len);
PH_API const struct ph_addr     *ph_sasl_client_addr(const struct ph_sasl *x);  /* server side */
PH_API const struct ph_next_hop *ph_sasl_hop(const struct ph_sasl *x);          /* client side */
/* client side: the host that is connected to, as it was looked up, and the port */
PH_API struct ph_str ph_sasl_remote_name(const struct ph_sasl *x);
PH_API uint16_t      ph_sasl_remote_port(const struct ph_sasl *x);
/* server side: the verified name of the client's certificate, "" without (SASL EXTERNAL) */
PH_API struct ph_str ph_sasl_certificate(const struct ph_sasl *x);
/* server side: is that mechanism offered to this client, on this listener, at this moment
 * (a client that says it has not seen it was lied to: RFC 5802 6) */
PH_API bool          ph_sasl_offers(const struct ph_sasl *x, const char *mechanism);
PH_API struct ph_ticket ph_sasl_ticket(struct ph_sasl *x);
PH_API int  ph_sasl_done(struct ph_ticket ticket, enum ph_sasl_result result);

struct ph_mechanism {
	uint32_t size;
	enum ph_side side;
	const char *name;               /* "PLAIN" */
	bool cleartext;                 /* gives the secret away: only inside TLS */
	bool client_first;
	size_t state_size;
	int  strength;                  /* client: the highest offered is taken; below 0: only
	                                 * when the next hop's list names it */
	enum ph_sasl_result (*step)(struct ph_sasl *x);
	void (*end)(struct ph_sasl *x); /* also while waiting: cancel */
	ph_duration limit;              /* one step; 0: 60 s */
	bool needs_tls;                 /* offered only inside TLS (channel binding) */
	bool needs_certificate;         /* server: offered only to clients with a verified one */
	/* client: the host refused, with this code, what the exchange showed.  true: what was
	 * remembered of it is dropped, and a new exchange on the same connection is worth one
	 * more try before the login counts as refused.  end follows.  May be NULL. */
	bool (*refused)(struct ph_sasl *x, int code);
};
PH_API int ph_provide_mechanism(struct ph_setup *setup, const struct ph_mechanism *m) PH_MUST_USE;

/* --- password checker, asked by mechanisms --- */
struct ph_check;
struct ph_password_checker {
	uint32_t size;
	/* Answers by ph_check_done, at once or later. */
	void (*verify)(struct ph_worker *w, struct ph_check *check);
	/* SCRAM and the like: the stored verifier of a user; may be NULL. */
	void (*verifier)(struct ph_worker *w, struct ph_check *check, const char *scheme);
};
PH_API struct ph_str ph_check_user(const struct ph_check *c);
PH_API struct ph_str ph_check_password(const struct ph_check *c);
/* status 0: right; PH_EPERM: wrong, PH_ENOENT: no such user, which is the same to the asker (in
 * both cases the next checker is asked); other: try later.  bytes, with status 0: for verify the
 * name as the checker writes it, "" as it was asked; for verifier what was asked for, and behind
 * a LF that name. */
PH_API void ph_check_done(struct ph_check *c, int status, struct ph_str bytes);
PH_API int  ph_check_begin(struct ph_worker *w, struct ph_str user, struct ph_str password,
                           const char *scheme,
                           void (*done)(void *arg, int status, struct ph_str bytes), void *arg)
	PH_MUST_USE;
PH_API int  ph_provide_checker(struct ph_setup *setup, const struct ph_password_checker *c) PH_MUST_USE;

PH_END_DECLS
#endif
