/*
 * loader.c - finds plugin files, decides whether to trust them, and opens
 * them through libltdl, whose only user this file is.
 *
 * libltdl is given a loader entry of our own: RTLD_NOW, so that a missing
 * function is found here and named; RTLD_LOCAL, so that plugins do not see each
 * other; and dlerror's text is kept.  Its own loaders and search paths are not
 * used.  Main thread only.
 */
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <ltdl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fsutil.h"
#include "base/str.h"
#include "plugin/descriptor.h"
#include "plugin/loader.h"
#include "plugin/private.h"

/* An open file or a static plugin; shared by all instances and generations, so
 * that a reload finds the code it had. */
struct plugin_file {
	struct list link;
	char *name, *path;
	lt_dlhandle handle;             /* NULL: static */
	struct ph_plugin plugin;
	unsigned refs;                  /* 0: resident, kept open */
};

/* One per process, as libltdl is. */
static struct {
	bool ready;
	struct list files;
	char error[512];                /* of the last module_open */
} loader;

enum { NAME_LIMIT = 64, SHOWN_MAX = 20, DISTANCE_MAX = 4 };

/* --- the entry in libltdl --- */

static lt_module
entry_open(lt_user_data data, const char *path, lt_dladvise advise)
{
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	(void)data;
	(void)advise;
	if (h == NULL) {
		const char *text = dlerror();

		(void)snprintf(loader.error, sizeof loader.error, "%s", text ? text : "no reason");
	}
	return h;
}

static int
entry_close(lt_user_data data, lt_module m)
{
	(void)data;
	return dlclose(m) != 0;
}

static void *
entry_symbol(lt_user_data data, lt_module m, const char *symbol)
{
	(void)data;
	return dlsym(m, symbol);
}

static const lt_dlvtable entry = {
	.name = "posthouse",
	.module_open = entry_open,
	.module_close = entry_close,
	.find_sym = entry_symbol,
	.priority = LT_DLLOADER_PREPEND,
};

int
loader_init(void)
{
	lt_dlvtable *mine;

	if (loader.ready)
		return 0;
	if (lt_dlinit() != 0)
		return PH_EIO;
	/* Without them a failed open is not tried again in another way. */
	free(lt_dlloader_remove("lt_dlopen"));
	free(lt_dlloader_remove("lt_preopen"));
	mine = mem_new(lt_dlvtable);    /* lt_dlexit frees it */
	*mine = entry;
	if (lt_dlloader_add(mine) != 0) {
		free(mine);
		(void)lt_dlexit();
		return PH_EIO;
	}
	list_init(&loader.files);
	loader.ready = api_exported_count > 0;  /* and keeps the whole interface linked in */
	return 0;
}

static void
file_free(struct plugin_file *f)
{
	free(f->name);
	free(f->path);
	free(f);
}

/* What is still open is resident: its code stays mapped. */
void
loader_done(void)
{
	bool resident = false;

	if (!loader.ready)
		return;
	list_each_safe(it, &loader.files) {
		struct plugin_file *f = container_of(it, struct plugin_file, link);

		if (f->refs > 0)
			continue;
		if (f->handle != NULL) {
			(void)lt_dlmakeresident(f->handle);     /* fails only on NULL */
			resident = true;
		}
		list_del(it);
		file_free(f);
	}
	if (list_empty(&loader.files)) {
		if (!resident)          /* it would lose track of them, which looks like a leak */
			(void)lt_dlexit();
		loader.ready = false;
	}
}

/* --- what there is --- */

static void
name_of_static(const struct ph_plugin *p, char out[NAME_LIMIT])
{
	size_t i = 0;

	for (; p->name[i] != '\0' && i < NAME_LIMIT - 1; i++)
		out[i] = p->name[i] == '_' ? '-' : p->name[i];
	out[i] = '\0';
}

static bool
name_valid(const char *name)
{
	if (!islower((unsigned char)name[0]) || strlen(name) >= NAME_LIMIT)
		return false;
	for (; *name != '\0'; name++)
		if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) && *name != '-')
			return false;
	return true;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t
list_add(struct arena *a, const char ***v, size_t n, const char *name, size_t len)
{
	const char **grown;

	for (size_t i = 0; i < n; i++)
		if (strncmp((*v)[i], name, len) == 0 && (*v)[i][len] == '\0')
			return n;
	if (n % 16 == 0) {
		grown = arena_alloc(a, (n + 16) * sizeof *grown);
		if (n > 0)
			memcpy(grown, *v, n * sizeof *grown);
		*v = grown;
	}
	(*v)[n] = arena_strndup(a, name, len);
	return n + 1;
}

size_t
loader_list(const char *dir, struct arena *a, const char ***out)
{
	const char **v = NULL;
	size_t n = 0;
	DIR *d = opendir(dir != NULL ? dir : PH_PLUGIN_DIR);
	struct dirent *e;
	char name[NAME_LIMIT];

	for (size_t i = 0; loader_static[i] != NULL; i++) {
		name_of_static(loader_static[i], name);
		n = list_add(a, &v, n, name, strlen(name));
	}
	while (d != NULL && n < 1000 && (e = readdir(d)) != NULL) {
		size_t len = strlen(e->d_name);

		if (len <= 3 || len - 3 >= NAME_LIMIT || strcmp(e->d_name + len - 3, ".so") != 0)
			continue;
		(void)snprintf(name, sizeof name, "%.*s", (int)(len - 3), e->d_name);
		if (name_valid(name))
			n = list_add(a, &v, n, name, len - 3);
	}
	if (d != NULL)
		closedir(d);
	if (n > 0)
		qsort(v, n, sizeof *v, by_name);
	*out = v;
	return n;
}

/* "did you mean", or else what there is. */
static void
hint_names(struct diags *d, struct diag *g, const char *name, const char *dir)
{
	const char **v, *best = NULL;
	size_t n = loader_list(dir, &d->arena, &v);
	unsigned least = DISTANCE_MAX, distance;
	struct buf text = { 0 };

	for (size_t i = 0; i < n; i++) {
		distance = str_distance(str_of(name), str_of(v[i]), DISTANCE_MAX);
		if (distance < least) {
			least = distance;
			best = v[i];
		}
	}
	if (best != NULL)
		buf_printf(&text, "did you mean %s? ", best);
	buf_printf(&text, "plugins there: %s", n == 0 ? "none" : "");
	for (size_t i = 0; i < n && i < SHOWN_MAX; i++)
		buf_printf(&text, "%s%s", i > 0 ? ", " : "", v[i]);
	if (n > SHOWN_MAX)
		buf_printf(&text, " and %zu more", n - SHOWN_MAX);
	diag_hint(d, g, STR_FMT, STR_ARG(buf_view(&text)));
	buf_free(&text);
}

/* --- opening --- */

struct request {
	const char *name;               /* "smarthost"; of a path: its last part without .so */
	const char *shown;              /* as written */
	const char *path;
	struct diag_place place;
	struct diags *d;
};

static struct diag *
refuse(const struct request *r, const char *fmt, ...) PH_PRINTF(2, 3);

static struct diag *
refuse(const struct request *r, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);    /* a longer text is cut */
	va_end(ap);
	return diag_add(r->d, DIAG_ERROR, r->place,
	    arena_printf(&r->d->arena, "plugins.%s", r->shown), "%s", text);
}

static void
symbol_of(const char *name, char out[NAME_LIMIT + 16])
{
	(void)snprintf(out, NAME_LIMIT + 16, "ph_plugin_%s", name);
	for (char *p = out; *p != '\0'; p++)
		if (*p == '-')
			*p = '_';
}

static struct plugin_file *
file_add(const struct request *r, lt_dlhandle h, const struct ph_plugin *plugin)
{
	struct plugin_file *f = mem_new(struct plugin_file);

	f->name = mem_strdup(r->name);
	f->path = mem_strdup(h != NULL ? r->path : "static");
	f->handle = h;
	f->plugin = *plugin;
	f->plugin.name = f->name;       /* as in the configuration file, with '-' */
	f->refs = 1;
	list_push_back(&loader.files, &f->link);
	return f;
}

static struct plugin_file *
open_static(const struct request *r, const struct ph_plugin *found)
{
	struct ph_plugin plugin;
	char why[DESCRIPTOR_WHY];

	if (descriptor_read(found, r->name, &plugin, why) < 0) {
		refuse(r, "the built-in plugin %s %s", r->name, why);
		return NULL;
	}
	return file_add(r, NULL, &plugin);
}

/* "…: undefined symbol: NAME[, version V]" is what people must act upon. */
static void
refuse_open(const struct request *r)
{
	static const char mark[] = "undefined symbol: ";
	const char *at = strstr(loader.error, mark);
	struct diag *g;

	if (at == NULL) {
		refuse(r, "cannot load %s: %s", r->path, loader.error);
		return;
	}
	at += sizeof mark - 1;
	g = refuse(r, "cannot load %s: it needs the function %.*s, which this posthouse (plugin "
	    "interface %d.%d) does not have", r->path, (int)strcspn(at, " ,\t\n"), at, PH_ABI_MAJOR,
	    PH_ABI_MINOR);
	diag_hint(r->d, g, "upgrade posthouse, or rebuild the plugin against its headers and with "
	    "all libraries it uses");
}

static struct plugin_file *
open_shared(const struct request *r, uid_t owner)
{
	struct ph_plugin plugin;
	char why[1024], symbol[NAME_LIMIT + 16], wrong[DESCRIPTOR_WHY];
	const void *found;
	lt_dlhandle h;

	if (fs_untrusted(r->path, owner, why, sizeof why) != NULL) {
		struct diag *g = refuse(r, "does not trust %s: %s", r->path, why);

		diag_hint(r->d, g, "plugins run with posthouse's rights: chown root and chmod go-w the "
		    "file and its directories");
		return NULL;
	}
	loader.error[0] = '\0';
	h = lt_dlopen(r->path);
	if (h == NULL) {
		if (loader.error[0] == '\0')
			(void)snprintf(loader.error, sizeof loader.error, "%s", lt_dlerror());
		refuse_open(r);
		return NULL;
	}
	symbol_of(r->name, symbol);
	found = lt_dlsym(h, symbol);
	if (found == NULL)
		refuse(r, "%s has no descriptor: the symbol %s is missing", r->path, symbol);
	else if (descriptor_read(found, r->name, &plugin, wrong) < 0)
		refuse(r, "%s %s", r->path, wrong);
	else
		return file_add(r, h, &plugin);
	(void)lt_dlclose(h);    /* nothing of it ran but its constructors */
	return NULL;
}

static struct plugin_file *
find_open(const struct request *r, bool is_static)
{
	list_each(it, &loader.files) {
		struct plugin_file *f = container_of(it, struct plugin_file, link);

		if (strcmp(f->name, r->name) == 0 &&
		    (is_static ? f->handle == NULL : strcmp(f->path, r->path) == 0)) {
			f->refs++;
			return f;
		}
	}
	return NULL;
}

static struct plugin_file *
open_named(struct request *r, const char *dir, uid_t owner)
{
	struct plugin_file *f;

	for (size_t i = 0; loader_static[i] != NULL; i++) {
		char name[NAME_LIMIT];

		name_of_static(loader_static[i], name);
		if (strcmp(name, r->name) != 0)
			continue;
		f = find_open(r, true);
		return f != NULL ? f : open_static(r, loader_static[i]);
	}
	r->path = arena_printf(&r->d->arena, "%s/%s.so", dir, r->name);
	if (access(r->path, F_OK) != 0) {
		hint_names(r->d, refuse(r, "no such plugin: there is no %s", r->path), r->name, dir);
		return NULL;
	}
	f = find_open(r, false);
	return f != NULL ? f : open_shared(r, owner);
}

/* An absolute path: its last part without .so is the name. */
static struct plugin_file *
open_path(struct request *r, uid_t owner)
{
	const char *base = strrchr(r->shown, '/') + 1;
	size_t n = strlen(base);
	struct plugin_file *f;

	r->path = r->shown;
	if (n > 3 && strcmp(base + n - 3, ".so") == 0)
		n -= 3;
	r->name = arena_strndup(&r->d->arena, base, n);
	if (!name_valid(r->name)) {
		refuse(r, "the file name of a plugin is [a-z][a-z0-9-]* and .so, not %s", base);
		return NULL;
	}
	if (access(r->path, F_OK) != 0) {
		refuse(r, "no such plugin: there is no %s", r->path);
		return NULL;
	}
	f = find_open(r, false);
	return f != NULL ? f : open_shared(r, owner);
}

struct plugin_file *
loader_open(const char *name, const char *dir, uid_t owner, struct diag_place place,
            struct diags *d)
{
	struct request r = { name, name, NULL, place, d };

	if (loader_init() != 0) {
		refuse(&r, "libltdl cannot be started: %s", lt_dlerror());
		return NULL;
	}
	if (name[0] == '/')
		return open_path(&r, owner);
	if (!name_valid(name)) {
		hint_names(d, refuse(&r, "\"%s\" is not the name of a plugin: [a-z][a-z0-9-]*, or an "
		    "absolute path to a .so", name), name, dir);
		return NULL;
	}
	return open_named(&r, dir != NULL ? dir : PH_PLUGIN_DIR, owner);
}

const struct ph_plugin *
loader_plugin(const struct plugin_file *f)
{
	return &f->plugin;
}

const char *
loader_path(const struct plugin_file *f)
{
	return f->path;
}

void
loader_close(struct plugin_file **fp)
{
	struct plugin_file *f = *fp;

	*fp = NULL;
	if (f == NULL || --f->refs > 0 || (f->plugin.flags & PH_RESIDENT))
		return;
	list_del(&f->link);
	if (f->handle != NULL)
		(void)lt_dlclose(f->handle);    /* a failure leaves it mapped: harmless */
	file_free(f);
}
