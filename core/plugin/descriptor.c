/*
 * descriptor.c - checks the descriptor of a plugin before anything of it runs.
 *
 * struct ph_abi is read first; when it does not fit, nothing else is.  Then
 * what a mistake in the descriptor could damage later is refused here, by name.
 */
#include <stdio.h>
#include <string.h>

#include "plugin/descriptor.h"
#include "plugin/private.h"

/* The descriptor as interface 1.0 had it: no plugin's is smaller. */
enum { OLDEST_SIZE = offsetof(struct ph_plugin, version) + sizeof(const char *) };

static int
refuse(char why[DESCRIPTOR_WHY], const char *fmt, ...) PH_PRINTF(2, 3);

static int
refuse(char why[DESCRIPTOR_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, DESCRIPTOR_WHY, fmt, ap);  /* a longer text is cut */
	va_end(ap);
	return PH_EINVAL;
}

static int
abi_check(const struct ph_abi *abi, char why[DESCRIPTOR_WHY])
{
	if (abi->magic != PH_ABI_MAGIC)
		return refuse(why, "is not a posthouse plugin: its descriptor starts with 0x%08x, "
		    "not 0x%08x", abi->magic, PH_ABI_MAGIC);
	if (abi->major != PH_ABI_MAJOR)
		return refuse(why, "was built for plugin interface %u.%u, this posthouse has %d.%d: "
		    "rebuild the plugin", abi->major, abi->minor, PH_ABI_MAJOR, PH_ABI_MINOR);
	if (abi->minor > PH_ABI_MINOR)
		return refuse(why, "needs plugin interface %u.%u, this posthouse has %d.%d: upgrade "
		    "posthouse or rebuild the plugin", abi->major, abi->minor, PH_ABI_MAJOR,
		    PH_ABI_MINOR);
	if (abi->size > sizeof(struct ph_plugin))
		return refuse(why, "has a descriptor of %u bytes, this posthouse knows %zu: upgrade "
		    "posthouse or rebuild the plugin", abi->size, sizeof(struct ph_plugin));
	if (abi->size < OLDEST_SIZE)
		return refuse(why, "has a descriptor of %u bytes, %d are the least: rebuild the plugin",
		    abi->size, OLDEST_SIZE);
	return 0;
}

static bool
same_name(const char *a, const char *b)
{
	for (; *a != '\0' && *b != '\0'; a++, b++)
		if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
			return false;
	return *a == *b;
}

/* Bytes that a value of a row takes in the plugin's struct. */
static size_t
row_size(const struct ph_option *row)
{
	switch (row->type) {
	case PH_T_END:       return 0;
	case PH_T_BOOL:      return sizeof(bool);
	case PH_T_INT:       return sizeof(int64_t);
	case PH_T_STRING:    return sizeof(const char *);
	case PH_T_DURATION:  return sizeof(ph_duration);
	case PH_T_SIZE:      return sizeof(ph_size);
	case PH_T_CHOICE:    return sizeof(int);
	case PH_T_ENDPOINT:  return sizeof(struct ph_endpoint);
	case PH_T_SECRET:    return sizeof(struct ph_secret);
	case PH_T_STRINGS:   return sizeof(struct ph_strings);
	case PH_T_DURATIONS: return sizeof(struct ph_durations);
	case PH_T_ENDPOINTS: return sizeof(struct ph_endpoints);
	case PH_T_NETWORKS:  return sizeof(struct ph_networks);
	case PH_T_SECTION:   return 1;
	case PH_T_SECTIONS:  return sizeof(struct ph_sections);
	}
	return 0;
}

static int
options_check(const struct ph_plugin *p, char why[DESCRIPTOR_WHY])
{
	for (const struct ph_option *row = p->options; row != NULL && row->name != NULL; row++) {
		size_t n = row_size(row);

		if (n == 0)
			return refuse(why, "its option %s has a type (%d) that this posthouse does not "
			    "know", row->name, (int)row->type);
		if (row->offset > p->config_size || n > p->config_size - row->offset)
			return refuse(why, "its option %s lies outside the %zu bytes of its config_size",
			    row->name, p->config_size);
	}
	return 0;
}

static int
sizes_check(const struct ph_plugin *p, char why[DESCRIPTOR_WHY])
{
	const struct { const char *what; size_t size, limit; } v[] = {
		{ "configuration", p->config_size, MAX_CONFIG },
		{ "worker storage", p->worker.size, MAX_WORKER },
		{ "session storage", p->session.size, MAX_SCOPE },
		{ "transaction storage", p->transaction.size, MAX_SCOPE },
	};

	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		if (v[i].size > v[i].limit)
			return refuse(why, "wants %zu bytes of %s; %zu is the limit", v[i].size,
			    v[i].what, v[i].limit);
	return 0;
}

int
descriptor_read(const void *found, const char *name, struct ph_plugin *out,
                char why[DESCRIPTOR_WHY])
{
	struct ph_abi abi;
	int rc;

	memcpy(&abi, found, sizeof abi);
	rc = abi_check(&abi, why);
	if (rc < 0)
		return rc;
	memset(out, 0, sizeof *out);
	memcpy(out, found, abi.size);
	if (out->name == NULL)
		return refuse(why, "has a descriptor without a name");
	if (!same_name(out->name, name))
		return refuse(why, "calls itself %s", out->name);
	rc = sizes_check(out, why);
	return rc < 0 ? rc : options_check(out, why);
}
