/*
 * Memory in QEMU's command line: see qemu.h.
 *
 * Memory that is not shared must be found here, before the machine starts. QEMU hands the
 * descriptor of a memory-backend-memfd,share=off to a vfio-user server like any other, while the
 * guest writes to private copies of its pages: the server maps zeroes or old data, and nothing
 * about the descriptor (type, size, seals) tells it.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/qemu.h"

enum { RAM_ALIGN = 8192 }; /* QEMU rounds the size up to it */

struct qemu_backend {
	char *type;  /* "memory-backend-file" */
	bool shared; /* another process can map it */
};

static void backend_free(void *p)
{
	struct qemu_backend *b = p;

	g_free(b->type);
	g_free(b);
}

/* "a,b=c" or the JSON form. NULL when it is neither: QEMU will say so. */
static struct opts *parse_option(const char *text, const char *implied)
{
	struct opts *o;
	const char *key;
	json_t *j, *value;

	if (*text != '{')
		return opts_parse(text, implied, NULL);
	j = json_loads(text, 0, NULL);
	if (!json_is_object(j)) {
		json_decref(j);
		return NULL;
	}
	o = opts_new();
	json_object_foreach(j, key, value)
	{
		if (json_is_string(value))
			opts_set(o, key, json_string_value(value));
		else if (json_is_boolean(value))
			opts_set(o, key, json_is_true(value) ? "on" : "off");
	}
	json_decref(j);
	return o;
}

/* A number without suffix means MiB here, other than everywhere else. */
static bool set_size(struct qemu_memory *m, const char *text, bool plain_is_mib, GError **error)
{
	bool plain = *text && g_ascii_isdigit(text[strlen(text) - 1]);
	g_autofree char *with_unit = g_strconcat(text, plain && plain_is_mib ? "M" : "", NULL);
	uint64_t bytes;

	if (!size_parse(with_unit, &bytes, NULL) || bytes > UINT64_MAX - RAM_ALIGN)
		return err_set(error, EINVAL,
			       "-m %s: that size is not understood; write it as 2G or 2048M", text);
	if (!bytes)
		return true; /* as not given */
	m->bytes = (bytes + RAM_ALIGN - 1) / RAM_ALIGN * RAM_ALIGN;
	g_free(m->size_text);
	m->size_text = g_strdup(text);
	return true;
}

static bool take_m(struct qemu_memory *m, struct opts *o, GError **error)
{
	const char *size = opts_get(o, "size");

	return !size || set_size(m, size, true, error);
}

static bool take_machine(struct qemu_memory *m, struct opts *o, GError **error)
{
	const char *backend = opts_get(o, "memory-backend"), *size = opts_get(o, "memory.size");

	if (backend) {
		g_free(m->backend);
		m->backend = g_strdup(backend);
	}
	return !size || set_size(m, size, false, error);
}

static bool take_object(struct qemu_memory *m, struct opts *o, GError **error)
{
	const char *type = opts_get(o, "qom-type"), *id = opts_get(o, "id");
	struct qemu_backend *b;

	(void)error;
	if (!type || !id || !g_str_has_prefix(type, "memory-backend-"))
		return true;
	b = g_new0(struct qemu_backend, 1);
	b->type = g_strdup(type);
	b->shared = !strcmp(type, "memory-backend-memfd") || !strcmp(type, "memory-backend-shm");
	opts_get_bool(o, "share", &b->shared, NULL);
	if (!strcmp(type,
		    "memory-backend-ram")) /* anonymous: there is no descriptor to hand over */
		b->shared = false;
	g_hash_table_replace(m->backends, g_strdup(id), b);
	return true;
}

static bool take_numa(struct qemu_memory *m, struct opts *o, GError **error)
{
	const char *memdev = opts_get(o, "memdev");

	(void)error;
	if (memdev)
		g_ptr_array_add(m->memdevs, g_strdup(memdev));
	return true;
}

/* Memory modules bring guest memory as well; other devices with a memdev mean their BAR. */
static bool take_device(struct qemu_memory *m, struct opts *o, GError **error)
{
	const char *driver = opts_get(o, "driver"), *memdev = opts_get(o, "memdev");

	(void)error;
	if (driver && memdev &&
	    (!strcmp(driver, "pc-dimm") || !strcmp(driver, "nvdimm") ||
	     g_str_has_prefix(driver, "virtio-mem") || g_str_has_prefix(driver, "virtio-pmem")))
		g_ptr_array_add(m->plugged, g_strdup(memdev));
	return true;
}

static const struct taken {
	const char *name; /* of the option, and of the section of a -readconfig file */
	const char *implied;
	bool (*take)(struct qemu_memory *m, struct opts *o, GError **error);
} taken[] = {
	{"m", "size", take_m},
	{"memory", "size", take_m}, /* the section's name */
	{"machine", "type", take_machine},
	{"M", "type", take_machine},
	{"object", "qom-type", take_object},
	{"numa", "type", take_numa},
	{"device", "driver", take_device},
};

static const struct taken *find_taken(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(taken); i++) {
		if (!strcmp(taken[i].name, name))
			return &taken[i];
	}
	return NULL;
}

/* One section of the file, gathered so far. */
static bool end_section(struct qemu_memory *m, const struct taken **t, struct opts **o,
			GError **error)
{
	bool ok = !*t || (*t)->take(m, *o, error);

	opts_free(*o);
	*o = NULL;
	*t = NULL;
	return ok;
}

/* [machine], [memory], [object "id"] with lines key = "value". */
static bool take_readconfig(struct qemu_memory *m, const char *path, GError **error)
{
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;
	const struct taken *t = NULL;
	struct opts *o = NULL;
	bool ok = true;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return true;
	lines = g_strsplit(text, "\n", -1);
	for (unsigned i = 0; ok && lines[i]; i++) {
		char *line = g_strstrip(lines[i]);
		char key[64], value[1024];

		if (*line == '[') {
			char id[256] = "";

			ok = end_section(m, &t, &o, error);
			o = opts_new();
			if (sscanf(line, "[%63[a-z-] \"%255[^\"]\"]", key, id) >= 1)
				t = find_taken(key);
			if (*id)
				opts_set(o, "id", id);
		} else if (o && sscanf(line, "%63[^ =] = \"%1023[^\"]\"", key, value) == 2) {
			opts_set(o, key, value);
		}
	}
	return end_section(m, &t, &o, error) && ok;
}

static bool take_option(struct qemu_memory *m, const char *name, const char *value, GError **error)
{
	const struct taken *t = find_taken(name);
	struct opts *o = t ? parse_option(value, t->implied) : NULL;
	bool ok = !o || t->take(m, o, error);

	opts_free(o);
	if (!strcmp(name, "readconfig"))
		return take_readconfig(m, value, error);
	if (!strcmp(name, "mem-path")) {
		g_free(m->mem_path);
		m->mem_path = g_strdup(value);
	}
	return ok;
}

bool qemu_memory_parse(struct qemu_memory *m, char *const *args, GError **error)
{
	memset(m, 0, sizeof(*m));
	m->memdevs = g_ptr_array_new_with_free_func(g_free);
	m->plugged = g_ptr_array_new_with_free_func(g_free);
	m->backends = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, backend_free);
	for (unsigned i = 0; args[i]; i++) {
		const char *name = args[i], *value = args[i + 1];

		if (*name != '-' || !name[1])
			continue;
		name += name[1] == '-' ? 2 : 1;
		m->daemonize |= !strcmp(name, "daemonize");
		/*
		 * Only of these is it certain that the next argument is their value, whatever it
		 * looks like.
		 */
		if (value && (find_taken(name) || !strcmp(name, "append") ||
			      !strcmp(name, "readconfig") || !strcmp(name, "mem-path"))) {
			if (!take_option(m, name, value, error))
				return false;
			i++;
		}
	}
	return true;
}

void qemu_memory_fini(struct qemu_memory *m)
{
	g_free(m->size_text);
	g_free(m->backend);
	g_free(m->mem_path);
	if (m->memdevs)
		g_ptr_array_free(m->memdevs, TRUE);
	if (m->plugged)
		g_ptr_array_free(m->plugged, TRUE);
	if (m->backends)
		g_hash_table_unref(m->backends);
	memset(m, 0, sizeof(*m));
}

static bool check_backend(const struct qemu_memory *m, const char *id, GError **error)
{
	const struct qemu_backend *b = g_hash_table_lookup(m->backends, id);

	if (!b)
		return err_set(error, EINVAL,
			       "memory backend '%s' has no -object here that makes it", id);
	if (b->shared)
		return true;
	if (!strcmp(b->type, "memory-backend-ram")) {
		return err_set(error, EINVAL,
			       "memory backend '%s' is a memory-backend-ram, which no other "
			       "process can map; "
			       "make it memory-backend-memfd,share=on",
			       id);
	}
	return err_set(error, EINVAL,
		       "memory backend '%s' is not shared, so that a drive in another process "
		       "cannot reach "
		       "the guest's memory; add share=on to its -object",
		       id);
}

bool qemu_memory_is_shared(const struct qemu_memory *m, bool *shared, GError **error)
{
	if (m->mem_path) {
		return err_set(error, EINVAL,
			       "-mem-path %s: such memory cannot be shared; give instead -object "
			       "memory-backend-file,id=ram,mem-path=%s,size=SIZE,share=on -machine "
			       "memory-backend=ram",
			       m->mem_path, m->mem_path);
	}
	*shared = m->backend || m->memdevs->len;
	if (m->backend && !check_backend(m, m->backend, error))
		return false;
	for (unsigned i = 0; i < m->memdevs->len; i++) {
		if (!check_backend(m, m->memdevs->pdata[i], error))
			return false;
	}
	for (unsigned i = 0; i < m->plugged->len; i++) {
		if (!check_backend(m, m->plugged->pdata[i], error))
			return false;
	}
	return true;
}

uint64_t qemu_default_memory(const char *program)
{
	return strstr(program, "-ppc64") ? 512ull << 20 : 128ull << 20;
}
