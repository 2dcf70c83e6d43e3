/*
 * http.c - one HTTPS request by libcurl.
 *
 * What is sent holds secrets: the certificate is verified always, a redirection
 * is an answer and not followed, clear text goes to this machine only.  The
 * answer's size and the time for all of it are bounded.
 */
#include "http.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ANSWER_MOST = 256 * 1024 };

int
oauth_http_begin(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : PH_EIO;
}

void
oauth_http_end(void)
{
	curl_global_cleanup();
}

void
oauth_thread_done(void)
{
	OPENSSL_thread_stop();
}

bool
oauth_url_good(const char *url)
{
	static const char *const here[] = { "http://127.0.0.1", "http://localhost", "http://[::1]" };

	/* A user name in front of the host would make another host of it. */
	if (strpbrk(url, " \t\r\n\"<>@\\") != NULL)
		return false;
	if (strncasecmp(url, "https://", 8) == 0)
		return url[8] != '\0' && url[8] != '/' && url[8] != ':';
	for (size_t i = 0; i < sizeof here / sizeof here[0]; i++) {
		size_t n = strlen(here[i]);

		if (strncasecmp(url, here[i], n) == 0 &&
		    (url[n] == ':' || url[n] == '/' || url[n] == '\0'))
			return true;
	}
	return false;
}

static size_t
http_body(char *p, size_t size, size_t n, void *arg)
{
	struct oauth_reply *r = arg;

	oauth_text_add(&r->body, p, size * n);
	return r->body.failed ? 0 : size * n;   /* less than given: curl gives up */
}

/* Retry-After in seconds (RFC 9110 10.2.3); the form with a date is passed over. */
static size_t
http_field(char *p, size_t size, size_t n, void *arg)
{
	static const char name[] = "retry-after:";
	struct oauth_reply *r = arg;
	size_t len = size * n, i = sizeof name - 1;

	if (len > i && strncasecmp(p, name, i) == 0) {
		int64_t s = 0;

		while (i < len && (p[i] == ' ' || p[i] == '\t'))
			i++;
		for (; i < len && p[i] >= '0' && p[i] <= '9' && s < 1000000; i++)
			s = s * 10 + (p[i] - '0');
		r->retry_after_s = s;
	}
	return len;
}

static void
basic_field(struct oauth_text *field, const char *user, const struct ph_secret *password)
{
	struct oauth_text pair = { 0 };
	char *b64;
	size_t room;

	/* RFC 6749 2.3.1: both are encoded as in a form first */
	oauth_text_escape(&pair, user, strlen(user));
	oauth_text_adds(&pair, ":");
	if (password != NULL)
		oauth_text_escape(&pair, password->p, password->n);
	room = pair.n / 3 * 4 + 8;
	b64 = malloc(room);
	if (b64 == NULL || pair.failed ||
	    ph_base64_encode((struct ph_str){ pair.p, pair.n }, b64, room) < 0)
		field->failed = true;
	else {
		oauth_text_adds(field, "Authorization: Basic ");
		oauth_text_adds(field, b64);
	}
	if (b64 != NULL)
		ph_wipe(b64, room);
	free(b64);
	oauth_text_done(&pair);
}

static void
http_options(CURL *c, const struct oauth_http *how, const char *url,
             const struct oauth_text *form, struct oauth_reply *r)
{
#define SET(option, value) (void)curl_easy_setopt(c, option, value)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "https,http");
#else
	SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTPS | CURLPROTO_HTTP));
#endif
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (how->ca_file != NULL) {
		SET(CURLOPT_CAINFO, how->ca_file);
		SET(CURLOPT_CAPATH, NULL);
	}
	SET(CURLOPT_TIMEOUT_MS, (long)how->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(how->timeout_ms > 10000 ? 10000 : how->timeout_ms));
	SET(CURLOPT_MAXFILESIZE, (long)ANSWER_MOST);
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_USERAGENT, "posthouse");
	SET(CURLOPT_WRITEFUNCTION, http_body);
	SET(CURLOPT_WRITEDATA, r);
	SET(CURLOPT_HEADERFUNCTION, http_field);
	SET(CURLOPT_HEADERDATA, r);
	if (form != NULL) {
		SET(CURLOPT_POSTFIELDS, form->p != NULL ? form->p : "");
		SET(CURLOPT_POSTFIELDSIZE, (long)form->n);
	}
#undef SET
}

static void
http_problem(CURLcode rc, const char *words, struct oauth_reply *r)
{
	char why[200];

	oauth_plain(why, sizeof why, words[0] != '\0' ? words : curl_easy_strerror(rc));
	if (rc == CURLE_WRITE_ERROR || rc == CURLE_FILESIZE_EXCEEDED)
		snprintf(r->problem, sizeof r->problem, "its answer is larger than %d KiB",
		    ANSWER_MOST / 1024);
	else if (rc == CURLE_OPERATION_TIMEDOUT)
		snprintf(r->problem, sizeof r->problem, "no answer in time (%s)", why);
	else if (rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_SSL_CACERT_BADFILE)
		snprintf(r->problem, sizeof r->problem, "its certificate cannot be trusted (%s); "
		    "for a private authority set ca-file", why);
	else
		snprintf(r->problem, sizeof r->problem, "%s", why);
}

int
oauth_http(const struct oauth_http *how, const char *url, const struct oauth_text *form,
           const char *basic_user, const struct ph_secret *basic_password, struct oauth_reply *r)
{
	struct curl_slist *fields = NULL, *more;
	struct oauth_text auth = { 0 };
	char words[CURL_ERROR_SIZE] = "";
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	CURL *c = curl_easy_init();
	long status = 0;

	*r = (struct oauth_reply){ .body = { .most = ANSWER_MOST } };
	fields = curl_slist_append(NULL, "Accept: application/json");
	if (basic_user != NULL)
		basic_field(&auth, basic_user, basic_password);
	if (c == NULL || fields == NULL || auth.failed || (form != NULL && form->failed))
		goto out;
	if (auth.p != NULL) {
		more = curl_slist_append(fields, auth.p);
		if (more == NULL)
			goto out;
	}
	http_options(c, how, url, form, r);
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, words);
	rc = curl_easy_perform(c);
	if (rc == CURLE_OK)
		(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
out:
	if (rc != CURLE_OK)
		http_problem(rc, words, r);
	r->status = (int)status;
	for (more = fields; more != NULL; more = more->next)
		ph_wipe(more->data, strlen(more->data));
	curl_slist_free_all(fields);
	oauth_text_done(&auth);
	curl_easy_cleanup(c);
	return rc == CURLE_OK ? 0 : PH_EIO;
}

void
oauth_reply_done(struct oauth_reply *r)
{
	oauth_text_done(&r->body);
}
