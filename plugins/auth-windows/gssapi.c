/*
 * gssapi.c - the program posthouse-gssapi: SASL's GSSAPI (RFC 4752), server and
 * client, in the line protocol of ntlm_auth's gss-spnego.
 *
 * It stands beside the daemon for three reasons: ntlm_auth cannot do the last
 * step of RFC 4752, a Kerberos library may block for as long as a KDC does, and
 * what parses tickets of strangers had better be a process that can be killed.
 * It needs no privileges but to read a keytab.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>

enum {
	TOKEN_MAX = 64 * 1024, LINE_MAX_OCTETS = TOKEN_MAX / 3 * 4 + 16,
	NAME_LIMIT = 255, PASSWORD_MAX = 1024, LAYER_NONE = 1,
};

enum state { IDLE, SHAKING, OWED, LAYER };      /* OWED: the context stands, a token was sent */

struct peer {
	bool client, spnego;
	const char *target, *principal, *keytab, *ccache;
	gss_cred_id_t cred;
	gss_ctx_id_t ctx;
	gss_name_t name;                /* client: the target */
	enum state state;
	char who[NAME_LIMIT + 1];       /* server: the principal of the client */
	char password[PASSWORD_MAX + 1];
	size_t password_n;
};

static const char status_denied[] = "NT_STATUS_LOGON_FAILURE";
static const char status_invalid[] = "NT_STATUS_INVALID_PARAMETER";
static const char status_internal[] = "NT_STATUS_INTERNAL_ERROR";
static const char status_no_kdc[] = "NT_STATUS_NO_LOGON_SERVERS";

static gss_OID_desc krb5_oid = { 9, (void *)(uintptr_t)"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02" };
static gss_OID_desc spnego_oid = { 6, (void *)(uintptr_t)"\x2b\x06\x01\x05\x05\x02" };

/* --- base64 (RFC 4648 4), strict --- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void
base64_print(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(i + 1 < n ? p[i + 1] : 0) << 8 |
		    (i + 2 < n ? p[i + 2] : 0);

		putchar(digits[v >> 18]);
		putchar(digits[v >> 12 & 63]);
		putchar(i + 1 < n ? digits[v >> 6 & 63] : '=');
		putchar(i + 2 < n ? digits[v & 63] : '=');
	}
}

/* In place; the length, or -1. */
static ssize_t
base64_read(char *text)
{
	size_t n = strlen(text), out = 0, pads = 0;

	if (n % 4 != 0)
		return -1;
	while (pads < 2 && pads < n && text[n - 1 - pads] == '=')
		pads++;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *d = i + k < n - pads ? strchr(digits, text[i + k]) : digits;

			if (d == NULL)
				return -1;
			v = v << 6 | (uint32_t)(d - digits);
		}
		for (size_t k = 0; k < 3; k++)
			text[out++] = (char)(v >> (16 - 8 * k) & 0xFF);
	}
	out -= pads;
	/* bits that no octet takes must be 0 */
	return out < TOKEN_MAX && (pads == 0 || text[out] == 0) ? (ssize_t)out : -1;
}

/* --- answers --- */

static void
say(const char *verb, const gss_buffer_desc *token, const char *text)
{
	fputs(verb, stdout);
	putchar(' ');
	if (token != NULL && token->length > 0)
		base64_print(token->value, token->length);
	else
		putchar('*');
	if (text != NULL) {
		putchar(' ');
		for (const char *p = text; *p != '\0'; p++)
			putchar(iscntrl((unsigned char)*p) ? ' ' : *p);
	}
	putchar('\n');
}

static void
explain(char *out, size_t room, OM_uint32 code, int type)
{
	OM_uint32 minor, more = 0;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

	out[0] = '\0';
	if (gss_display_status(&minor, code, type, &krb5_oid, &more, &text) == GSS_S_COMPLETE) {
		snprintf(out, room, "%.*s", (int)text.length, (const char *)text.value);
		gss_release_buffer(&minor, &text);
	}
}

static void
forget(struct peer *p)
{
	OM_uint32 minor;

	gss_delete_sec_context(&minor, &p->ctx, GSS_C_NO_BUFFER);
	p->state = IDLE;
	p->who[0] = '\0';
}

/* Kerberos' own codes that are no fault of the client. */
static bool
is_kdc_unreachable(OM_uint32 minor)
{
	enum { KDC_UNREACH = -1765328228, REALM_CANT_RESOLVE = -1765328164 };

	return (int32_t)minor == KDC_UNREACH || (int32_t)minor == REALM_CANT_RESOLVE;
}

static void
complain(struct peer *p, OM_uint32 major, OM_uint32 minor)
{
	const char *verb = "NA", *status = status_denied;
	char a[200], b[300], text[600];

	switch (GSS_ROUTINE_ERROR(major)) {
	case GSS_S_DEFECTIVE_TOKEN:
	case GSS_S_BAD_MECH:
		status = status_invalid;
		break;
	case GSS_S_NO_CRED:
	case GSS_S_CREDENTIALS_EXPIRED:
		if (!p->client || p->password_n == 0) {
			verb = "BH";            /* it is our key that is missing */
			status = status_internal;
		}
		break;
	default:
		break;
	}
	if (is_kdc_unreachable(minor)) {
		verb = "NA";
		status = status_no_kdc;
	}
	explain(a, sizeof a, major, GSS_C_GSS_CODE);
	explain(b, sizeof b, minor, GSS_C_MECH_CODE);
	snprintf(text, sizeof text, "%s %s: %s", status, a, b);
	say(verb, NULL, text);
	forget(p);
}

static void
refuse(struct peer *p, const char *status, const char *why)
{
	char text[300];

	snprintf(text, sizeof text, "%s %s", status, why);
	say("NA", NULL, text);
	forget(p);
}

/* --- server --- */

/* Which keys: those of the keytab, whatever service they are for; tickets for others do not fit. */
static OM_uint32
server_credentials(struct peer *p, OM_uint32 *minor)
{
	gss_OID_set_desc mechs = { 1, &krb5_oid };
	gss_key_value_element_desc e = { "keytab", p->keytab };
	gss_key_value_set_desc store = { p->keytab != NULL ? 1 : 0, &e };

	if (p->cred != GSS_C_NO_CREDENTIAL)
		gss_release_cred(minor, &p->cred);
	return gss_acquire_cred_from(minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechs, GSS_C_ACCEPT,
	    p->keytab != NULL ? &store : NULL, &p->cred, NULL, NULL);
}

static bool
who_is(struct peer *p, gss_name_t name)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	bool ok = false;

	if (gss_display_name(&minor, name, &text, NULL) == GSS_S_COMPLETE && text.length > 0 &&
	    text.length <= NAME_LIMIT) {
		memcpy(p->who, text.value, text.length);
		p->who[text.length] = '\0';
		/* A backslash quotes odd characters of a principal, and divides names elsewhere. */
		ok = strchr(p->who, '\\') == NULL && strlen(p->who) == text.length;
		for (const char *c = p->who; *c != '\0'; c++)
			ok = ok && !iscntrl((unsigned char)*c);
	}
	gss_release_buffer(&minor, &text);
	return ok;
}

/* RFC 4752 3.2: the layers offered (none) and the largest message, which must be 0 then. */
static void
offer_layers(struct peer *p)
{
	unsigned char octets[4] = { LAYER_NONE, 0, 0, 0 };
	gss_buffer_desc in = { sizeof octets, octets }, out = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor;

	major = gss_wrap(&minor, p->ctx, 0, GSS_C_QOP_DEFAULT, &in, NULL, &out);
	if (GSS_ERROR(major)) {
		complain(p, major, minor);
		return;
	}
	p->state = LAYER;
	say("TT", &out, "*");
	gss_release_buffer(&minor, &out);
}

/* The authorization identity is the client's wish: its own name, or nothing. */
static bool
may_act_as(const struct peer *p, const char *id, size_t n)
{
	size_t user = strcspn(p->who, "@");

	return n == 0 || (n == strlen(p->who) && memcmp(id, p->who, n) == 0) ||
	       (n == user && memcmp(id, p->who, n) == 0);
}

static void
choose_layer(struct peer *p, gss_buffer_desc *in)
{
	gss_buffer_desc plain = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor;
	const unsigned char *o;

	major = gss_unwrap(&minor, p->ctx, in, &plain, NULL, NULL);
	if (GSS_ERROR(major)) {
		complain(p, major, minor);
		return;
	}
	o = plain.value;
	if (plain.length < 4 || o[0] != LAYER_NONE)
		refuse(p, status_invalid, "a security layer was chosen that was not offered");
	else if (!may_act_as(p, (const char *)o + 4, plain.length - 4))
		refuse(p, status_denied, "it asks to act as somebody else");
	else {
		say("AF", NULL, p->who);
		forget(p);
	}
	gss_release_buffer(&minor, &plain);
}

static void
server_accept(struct peer *p, gss_buffer_desc *in)
{
	gss_buffer_desc out = GSS_C_EMPTY_BUFFER;
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major, minor, unused;

	major = gss_accept_sec_context(&minor, &p->ctx, p->cred, in, GSS_C_NO_CHANNEL_BINDINGS, &name,
	    NULL, &out, NULL, NULL, NULL);
	if (GSS_ERROR(major)) {
		complain(p, major, minor);
	} else if (major & GSS_S_CONTINUE_NEEDED) {
		p->state = SHAKING;
		say("TT", &out, "*");
	} else if (!who_is(p, name)) {
		refuse(p, status_denied, "the name of the client cannot be used");
	} else if (out.length > 0) {
		p->state = OWED;
		say("TT", &out, "*");
	} else {
		offer_layers(p);
	}
	gss_release_buffer(&unused, &out);
	gss_release_name(&unused, &name);
}

static void
server_line(struct peer *p, const char *verb, gss_buffer_desc *in)
{
	OM_uint32 major, minor;

	if (strcmp(verb, "YR") == 0) {
		forget(p);
		major = server_credentials(p, &minor);
		if (GSS_ERROR(major))
			complain(p, major, minor);
		else
			server_accept(p, in);
	} else if (strcmp(verb, "KK") != 0 || p->state == IDLE) {
		say("BH", NULL, "NT_STATUS_INVALID_PARAMETER out of turn");
	} else if (p->state == SHAKING) {
		server_accept(p, in);
	} else if (p->state == LAYER) {
		choose_layer(p, in);
	} else if (in->length > 0) {
		refuse(p, status_invalid, "the response to the last token of the context is not empty");
	} else {
		offer_layers(p);
	}
}

/* --- client --- */

static OM_uint32
client_credentials(struct peer *p, OM_uint32 *minor)
{
	gss_OID_set_desc mechs = { 1, p->spnego ? &spnego_oid : &krb5_oid };
	gss_key_value_element_desc e[2];
	gss_key_value_set_desc store = { 0, e };
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major = GSS_S_COMPLETE, unused;

	if (p->principal != NULL) {
		gss_buffer_desc text = { strlen(p->principal), (void *)(uintptr_t)p->principal };

		major = gss_import_name(minor, &text, GSS_C_NT_USER_NAME, &name);
		if (GSS_ERROR(major))
			return major;
	}
	if (p->keytab != NULL) {
		e[store.count++] = (gss_key_value_element_desc){ "client_keytab", p->keytab };
		e[store.count++] = (gss_key_value_element_desc){ "ccache", "MEMORY:posthouse-gssapi" };
	} else if (p->ccache != NULL) {
		e[store.count++] = (gss_key_value_element_desc){ "ccache", p->ccache };
	}
	if (p->password_n > 0 && store.count == 0) {
		gss_buffer_desc password = { p->password_n, p->password };

		major = gss_acquire_cred_with_password(minor, name, &password, GSS_C_INDEFINITE, &mechs,
		    GSS_C_INITIATE, &p->cred, NULL, NULL);
	} else {
		major = gss_acquire_cred_from(minor, name, GSS_C_INDEFINITE, &mechs, GSS_C_INITIATE,
		    store.count > 0 ? &store : NULL, &p->cred, NULL, NULL);
	}
	gss_release_name(&unused, &name);
	return major;
}

static void
client_init(struct peer *p, gss_buffer_desc *in)
{
	gss_buffer_desc out = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor, unused;
	bool first = p->state == IDLE;

	major = gss_init_sec_context(&minor, p->cred, &p->ctx, p->name, p->spnego ? &spnego_oid : &krb5_oid,
	    GSS_C_MUTUAL_FLAG | GSS_C_INTEG_FLAG | GSS_C_SEQUENCE_FLAG, 0, GSS_C_NO_CHANNEL_BINDINGS, in,
	    NULL, &out, NULL, NULL);
	if (GSS_ERROR(major)) {
		complain(p, major, minor);
	} else if (major & GSS_S_CONTINUE_NEEDED) {
		p->state = SHAKING;
		say(first ? "YR" : "KK", &out, NULL);
	} else if (p->spnego) {         /* nothing comes after the context */
		say("AF", &out, NULL);
		forget(p);
	} else {
		p->state = LAYER;
		say(first ? "YR" : "KK", &out, NULL);
	}
	gss_release_buffer(&unused, &out);
}

/* RFC 4752 3.1: no layer, no size, no other identity. */
static void
client_layer(struct peer *p, gss_buffer_desc *in)
{
	unsigned char octets[4] = { LAYER_NONE, 0, 0, 0 };
	gss_buffer_desc plain = GSS_C_EMPTY_BUFFER, out = GSS_C_EMPTY_BUFFER;
	gss_buffer_desc mine = { sizeof octets, octets };
	OM_uint32 major, minor;

	major = gss_unwrap(&minor, p->ctx, in, &plain, NULL, NULL);
	if (GSS_ERROR(major)) {
		complain(p, major, minor);
		return;
	}
	if (plain.length < 4 || (((const unsigned char *)plain.value)[0] & LAYER_NONE) == 0) {
		gss_release_buffer(&minor, &plain);
		refuse(p, status_denied, "the host insists on a security layer; with TLS none is needed");
		return;
	}
	gss_release_buffer(&minor, &plain);
	major = gss_wrap(&minor, p->ctx, 0, GSS_C_QOP_DEFAULT, &mine, NULL, &out);
	if (GSS_ERROR(major)) {
		complain(p, major, minor);
		return;
	}
	say("AF", &out, NULL);
	gss_release_buffer(&minor, &out);
	forget(p);
}

static void
client_start(struct peer *p)
{
	gss_buffer_desc none = GSS_C_EMPTY_BUFFER, target = { strlen(p->target), (void *)(uintptr_t)p->target };
	OM_uint32 major = GSS_S_COMPLETE, minor = 0;

	forget(p);
	if (p->cred == GSS_C_NO_CREDENTIAL)
		major = client_credentials(p, &minor);
	explicit_bzero(p->password, sizeof p->password);
	if (!GSS_ERROR(major) && p->name == GSS_C_NO_NAME)
		major = gss_import_name(&minor, &target, GSS_C_NT_HOSTBASED_SERVICE, &p->name);
	if (GSS_ERROR(major))
		complain(p, major, minor);
	else
		client_init(p, &none);
	p->password_n = 0;
}

static void
client_line(struct peer *p, const char *verb, gss_buffer_desc *in)
{
	if (strcmp(verb, "PW") == 0 && in->length > 0 && in->length <= PASSWORD_MAX) {
		memcpy(p->password, in->value, in->length);
		p->password[in->length] = '\0';
		p->password_n = in->length;
		puts("OK");
	} else if (strcmp(verb, "YR") == 0) {
		client_start(p);
	} else if (strcmp(verb, "TT") == 0 && p->state == SHAKING) {
		client_init(p, in);
	} else if (strcmp(verb, "TT") == 0 && p->state == LAYER) {
		client_layer(p, in);
	} else {
		say("BH", NULL, "NT_STATUS_INVALID_PARAMETER out of turn");
	}
}

/* --- lines --- */

static void
line_do(struct peer *p, char *line)
{
	gss_buffer_desc in = GSS_C_EMPTY_BUFFER;
	char *token = strchr(line, ' ');
	ssize_t n = 0;

	if (token != NULL) {
		*token++ = '\0';
		n = strcmp(token, "*") == 0 ? 0 : base64_read(token);
	}
	if (n < 0) {
		refuse(p, status_invalid, "not base64");
		return;
	}
	in.value = n > 0 ? token : NULL;
	in.length = (size_t)n;
	if (p->client)
		client_line(p, line, &in);
	else
		server_line(p, line, &in);
}

/* Reads lines to the end; one that is too long ends the program: what it meant is unknown. */
static int
serve(struct peer *p)
{
	char *line = malloc(LINE_MAX_OCTETS + 2);
	int c = 0, rc = EXIT_SUCCESS;

	if (line == NULL)
		return EXIT_FAILURE;
	while (c != EOF) {
		size_t n = 0;

		while ((c = getchar()) != EOF && c != '\n' && n < LINE_MAX_OCTETS)
			line[n++] = (char)c;
		if (c != '\n') {
			if (c != EOF) {
				fputs("posthouse-gssapi: a line is too long\n", stderr);
				rc = EXIT_FAILURE;
			}
			break;
		}
		line[n] = '\0';
		line_do(p, line);
		explicit_bzero(line, n);
		if (fflush(stdout) != 0)
			break;
	}
	free(line);
	return rc;
}

static void
usage(FILE *to)
{
	fputs("Usage: posthouse-gssapi [--keytab=FILE]\n"
	      "       posthouse-gssapi --client --target=SERVICE@HOST [--spnego] [--principal=NAME]\n"
	      "                        [--keytab=FILE | --ccache=NAME]\n"
	      "SASL GSSAPI (RFC 4752) by lines on stdin and stdout, as a helper of posthouse.\n\n"
	      "  --keytab=FILE     server: keys of the service; client: key of --principal\n"
	      "  --client          log in, rather than check logins\n"
	      "  --target=S@H      client: the service to log in to, for example smtp@mail.example.com\n"
	      "  --spnego          client: wrap tokens in SPNEGO, without the last step of RFC 4752\n"
	      "  --principal=NAME  client: who logs in\n"
	      "  --ccache=NAME     client: ticket cache to use\n"
	      "  -h, --help        print this\n"
	      "See posthouse-gssapi(8).\n", to);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "client", no_argument, NULL, 'c' }, { "spnego", no_argument, NULL, 's' },
		{ "target", required_argument, NULL, 't' }, { "principal", required_argument, NULL, 'p' },
		{ "keytab", required_argument, NULL, 'k' }, { "ccache", required_argument, NULL, 'C' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }
	};
	struct peer p = { .cred = GSS_C_NO_CREDENTIAL, .ctx = GSS_C_NO_CONTEXT, .name = GSS_C_NO_NAME };
	OM_uint32 minor;
	int c, rc;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'c': p.client = true; break;
		case 's': p.spnego = true; break;
		case 't': p.target = optarg; break;
		case 'p': p.principal = optarg; break;
		case 'k': p.keytab = optarg; break;
		case 'C': p.ccache = optarg; break;
		case 'h': usage(stdout); return EXIT_SUCCESS;
		default: usage(stderr); return 64;
		}
	}
	if (optind < argc || p.client != (p.target != NULL) || (p.keytab != NULL && p.ccache != NULL) ||
	    (!p.client && (p.spnego || p.principal != NULL || p.ccache != NULL))) {
		usage(stderr);
		return 64;
	}
	/* No replay cache on the disk, a file for which all helpers would wait: who shows a ticket
	 * that was overheard cannot do the last step, which takes the session's key. */
	if (!p.client)
		(void)setenv("KRB5RCACHENAME", "none:", 0);
	setvbuf(stdout, NULL, _IOFBF, LINE_MAX_OCTETS);
	rc = serve(&p);
	forget(&p);
	gss_release_cred(&minor, &p.cred);
	gss_release_name(&minor, &p.name);
	explicit_bzero(p.password, sizeof p.password);
	return rc;
}
