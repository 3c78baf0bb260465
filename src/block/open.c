/*
 * Opening: a node by options, its children, the chain of backing files, and probing.
 *
 * A driver's open() says which backing file its image names; the core opens it, one level after the
 * other, so that the depth of a chain costs no stack. What an image may name is decided here alone
 * (formats.md 6.2).
 */
#include "block/below.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "block/align.h"

enum { MAX_CHAIN = 200 };

/* A backing file that others write to would change what is read above it. */
enum {
	BACKING_INHERITS = BLOCK_NO_LOCK | BLOCK_UNSHARE_WRITE | BLOCK_REFS_ANYWHERE |
			   BLOCK_DIRECT | BLOCK_NO_FLUSH,
	TOP_ONLY = BLOCK_DAMAGED_TOO | BLOCK_NO_BACKING | BLOCK_WRITETHROUGH |
		   BLOCK_DISCARD_IGNORE | BLOCK_DETECT_ZEROES | BLOCK_DETECT_UNMAP,
};

/* Children in children by options; only a user can nest them. */
static const char too_nested[] = "file.file.file.file.file.file.file.file.";

static struct block_node *node_new(const struct block_driver *driver, const char *name,
				   unsigned flags)
{
	struct block_node *node = g_new0(struct block_node, 1);

	node->driver = driver;
	node->state = g_malloc0(driver->state_size ? driver->state_size : 1);
	node->loop = co_loop();
	node->name = g_strdup(name);
	node->flags = flags;
	node->writable = flags & BLOCK_RDWR;
	node->refs = 1;
	node->request_align = node->memory_align = node->discard_align = 1;
	node->write_gen = 1; /* what an earlier process wrote may not be durable either */
	return node;
}

static co_fn void node_close(struct block_node *node)
{
	if (node->driver->close)
		node->driver->close(node);
	block_unref(node->file);
	below_free(node);
	g_free(node->state);
	g_free(node->name);
	g_free(node->backing_name);
	g_free(node->backing_format);
	g_free(node->allow_refs);
	align_free(node);
	if (!node->is_clone)
		g_free(node->shared);
	g_free(node);
}

void block_ref(struct block_node *node)
{
	node->refs++;
}

co_fn void block_unref(struct block_node *node)
{
	while (node && --node->refs == 0) {
		struct block_node *backing = node->backing;

		co_drain_wait(&node->drain);
		node_close(node);
		node = backing;
	}
}

/* One node with its file child. *backing: the options below "backing.", for opts_free(). */
static co_fn struct block_node *open_one(struct opts *options, unsigned flags,
					 struct opts **backing, GError **error)
{
	const char *driver_name = opts_get(options, "driver");
	const char *file_name = opts_get(options, "filename");
	const struct block_driver *driver;
	g_autofree char *what = NULL;
	struct block_node *node;
	bool ok;

	if (!driver_name && !file_name) {
		err_set(error, EINVAL, "needs \"filename\" or \"driver\"");
		return NULL;
	}
	driver = block_find_driver(driver_name ? driver_name : "file");
	if (!driver) {
		err_set(error, EINVAL, "no block driver is called \"%s\"", driver_name);
		return NULL;
	}
	if (!block_take_options(options, &flags, error))
		return NULL;
	node = node_new(driver, file_name ? file_name : driver->name, flags);
	node->allow_refs = g_strdup(opts_get(options, "allow-refs"));
	what = g_strdup_printf("block driver \"%s\"", driver->name);
	ok = driver->open(node, options, error);
	/* A child that failed to open has put its own name into the message. */
	if (!ok && (driver->kind == BLOCK_PROTOCOL || node->file))
		err_prefix(error, "%s", node->name);
	*backing = driver->kind == BLOCK_FORMAT && driver->has_metadata
			   ? opts_sub(options, "backing.")
			   : opts_new();
	if (ok && driver->has_metadata && opts_get(options, "backing") &&
	    !*opts_get(options, "backing"))
		node->flags |= BLOCK_NO_BACKING;
	if (ok && opts_check_used(options, what, error)) {
		if (!driver->pwritev)
			node->writable = false;
		return node;
	}
	opts_free(*backing);
	*backing = NULL;
	node_close(node);
	return NULL;
}

/* What is left of full (both canonical) beneath dir; NULL: it does not lie there. */
static const char *rest_beneath(const char *full, const char *dir)
{
	size_t n = strlen(dir);

	if (n > 1 && (strncmp(full, dir, n) != 0 || full[n] != '/'))
		return NULL;
	full += n > 1 ? n + 1 : 1;
	return *full ? full : NULL;
}

/*
 * Where the user lets it be looked for: the image's own folder first, then those of allow_refs. The
 * comparison is of names only; what the kernel is told to stay beneath decides.
 */
static bool place_beneath(const struct block_node *node, const char *dir, const char *name,
			  struct opts *o)
{
	g_autofree char *own = g_canonicalize_filename(dir, NULL);
	g_autofree char *full = g_canonicalize_filename(name, own);
	g_auto(GStrv) more = g_strsplit(node->allow_refs ? node->allow_refs : "", ":", -1);
	const char *rest = rest_beneath(full, own);

	if (rest) {
		opts_set(o, "filename", rest);
		opts_set(o, "beneath", dir);
		return true;
	}
	for (unsigned i = 0; more[i]; i++) {
		g_autofree char *allowed = g_canonicalize_filename(more[i], NULL);

		rest = *more[i] ? rest_beneath(full, allowed) : NULL;
		if (rest) {
			opts_set(o, "filename", rest);
			opts_set(o, "beneath", allowed);
			return true;
		}
	}
	return false;
}

struct opts *block_refer(struct block_node *node, const char *role, const char *name,
			 GError **error)
{
	const char *slash = strrchr(node->name, '/');
	size_t colon = strcspn(name, ":/");
	g_autofree char *dir =
		slash ? g_strndup(node->name, (size_t)(slash - node->name) + 1) : g_strdup("./");
	struct opts *o;

	if (g_str_has_prefix(name, "file:"))
		name += strlen("file:");
	else if (name[colon] == ':') {
		err_set(error, EPERM,
			"names \"%s\" as its %s; inside an image only plain file names count", name,
			role);
		return NULL;
	}
	if (!*name || !node->file || !node->file->file_id[1]) {
		err_set(error, EINVAL, "names \"%s\" as its %s, and there is no folder to look in",
			name, role);
		return NULL;
	}
	o = opts_new();
	opts_set(o, "driver", "file");
	if (node->flags & BLOCK_REFS_ANYWHERE) {
		g_autofree char *full = g_strconcat(*name == '/' ? "" : dir, name, NULL);

		opts_set(o, "filename", full);
		return o;
	}
	if (place_beneath(node, dir, name, o))
		return o;
	opts_free(o);
	err_set(error, EPERM,
		"names \"%s\" as its %s, which is not beneath the image's own folder; allow the "
		"folder it is in by allow-refs=DIR",
		name, role);
	return NULL;
}

/* Adds what stands in the image to what the user said of the backing file. */
static bool complete_backing(struct block_node *node, struct opts *o, GError **error)
{
	bool placed = opts_get(o, "filename") || opts_get(o, "file.driver") ||
		      opts_get(o, "file.filename");
	const struct block_driver *driver;
	struct opts *place;

	if (!placed && !node->backing_name)
		return err_set(error, EINVAL,
			       "names no backing file; say which by backing.file.filename=");
	if (!opts_get(o, "driver")) {
		if (!node->backing_format) {
			return err_set(error, EINVAL,
				       "names \"%s\" as its backing file but not its format; say "
				       "backing.driver=FORMAT",
				       node->backing_name);
		}
		driver = block_find_driver(node->backing_format);
		if (!driver || driver->kind != BLOCK_FORMAT) {
			return err_set(error, EINVAL,
				       "says that its backing file is of format \"%s\", which is "
				       "none that is known here",
				       node->backing_format);
		}
		opts_set(o, "driver", driver->name);
	}
	if (placed)
		return true;
	place = block_refer(node, "backing file", node->backing_name, error);
	if (!place)
		return false;
	opts_set(o, "file.driver", opts_get(place, "driver"));
	opts_set(o, "file.filename", opts_get(place, "filename"));
	if (opts_get(place, "beneath"))
		opts_set(o, "file.beneath", opts_get(place, "beneath"));
	opts_free(place);
	return true;
}

/* The node whose bytes lie in the same host file, among those from top on; else NULL. */
static const struct block_node *find_same(const struct block_node *top,
					  const struct block_node *node)
{
	if (!node->file || !node->file->file_id[1])
		return NULL;
	for (; top && top != node; top = top->backing) {
		if (top->file &&
		    !memcmp(top->file->file_id, node->file->file_id, sizeof(node->file->file_id)))
			return top;
	}
	return NULL;
}

/* *options: what the user said of the backing file of node; replaced by that of the next one. */
static co_fn bool open_backing(struct block_node *top, struct block_node *node,
			       struct opts **options, GError **error)
{
	unsigned flags = node->flags & BACKING_INHERITS;
	struct opts *sub = *options;

	*options = NULL;
	if (node->allow_refs && !opts_get(sub, "allow-refs"))
		opts_set(sub, "allow-refs", node->allow_refs);
	if (complete_backing(node, sub, error))
		node->backing = open_one(sub, flags, options, error);
	opts_free(sub);
	if (!node->backing)
		return err_prefix(error, "%s", node->name);
	if (find_same(top, node->backing))
		return err_set(error, ELOOP, "%s: its backing file \"%s\" is itself above it",
			       node->name, node->backing->name);
	return !node->driver->check_backing || node->driver->check_backing(node, error) ||
	       err_prefix(error, "%s", node->name);
}

co_fn struct block_node *block_open(struct opts *options, unsigned flags, GError **error)
{
	struct opts *below = NULL;
	struct block_node *top = open_one(options, flags, &below, error), *node = top;
	unsigned depth = 0;
	bool ok = true;

	if (!top)
		return NULL;
	while (ok && !(node->flags & (BLOCK_NO_BACKING | BLOCK_HEADER_ONLY))) {
		if (!node->backing_name && !opts_get(below, "driver"))
			break;
		if (++depth > MAX_CHAIN) {
			ok = err_set(error, ELOOP, "%s: more than %d backing files", top->name,
				     MAX_CHAIN);
		} else {
			ok = open_backing(top, node, &below, error);
		}
		if (ok)
			node = node->backing;
	}
	if (ok && below && !(node->flags & (BLOCK_NO_BACKING | BLOCK_HEADER_ONLY)))
		ok = opts_check_used(below, "backing", error);
	opts_free(below);
	if (ok)
		return top;
	block_unref(top);
	return NULL;
}

co_fn struct block_node *block_open_file(const char *path, unsigned flags, GError **error)
{
	struct opts *options = opts_new();
	struct block_node *node;

	opts_set(options, "driver", "file");
	opts_set(options, "filename", path);
	node = block_open(options, flags, error);
	opts_free(options);
	return node;
}

co_fn bool block_open_child(struct block_node *node, struct opts *options, GError **error)
{
	struct opts *sub = opts_sub(options, "file."), *deep = opts_sub(options, too_nested);
	bool nested = !opts_is_empty(deep);
	const char *name = opts_get(options, "filename");
	unsigned flags = node->flags & ~(unsigned)TOP_ONLY;

	if (!opts_get(sub, "driver") && !opts_get(sub, "filename") && name)
		opts_set(sub, "filename", name);
	if (node->driver->has_metadata && !(flags & BLOCK_NO_LOCK))
		flags |= BLOCK_UNSHARE_WRITE;
	opts_free(deep);
	if (nested)
		err_set(error, EINVAL, "\"file.\" is nested too deeply");
	else
		node->file = block_open(sub, flags, error);
	opts_free(sub);
	if (!node->file)
		return false;
	g_free(node->name);
	node->name = g_strdup(node->file->name);
	node->writable = node->writable && node->file->writable;
	node->length = node->file->length;
	return true;
}

struct block_node *block_new_over(const struct block_driver *driver, struct block_node *file)
{
	struct block_node *node =
		node_new(driver, file ? file->name : driver->name, file ? file->flags : BLOCK_RDWR);

	if (!file)
		return node;
	node->file = file;
	node->writable = file->writable;
	node->length = file->length;
	return node;
}

co_fn struct block_node *block_open_over(const char *format, struct block_node *file,
					 GError **error)
{
	const struct block_driver *driver = block_find_driver(format);
	struct block_node *node;
	struct opts *none;
	bool ok;

	if (!driver || !driver->open_over) {
		err_set(error, ENOTSUP, "format \"%s\" cannot be opened over a file", format);
		block_unref(file);
		return NULL;
	}
	none = opts_new();
	node = block_new_over(driver, file);
	ok = driver->open_over(node, none, error);
	opts_free(none);
	if (ok)
		return node;
	block_unref(node);
	return NULL;
}

/* Sets the driver (and the guard of a raw one) by what the file looks like. */
static co_fn bool probe(struct opts *options, const char *name, GError **error)
{
	struct opts *below = opts_sub(options, "file.");
	struct block_node *file =
		block_open(opts_is_empty(below) ? options : below, BLOCK_NO_LOCK, error);
	uint8_t head[BLOCK_PROBE_LEN] = {0};
	const char *format;
	size_t len;
	int res;

	opts_free(below);
	if (!file)
		return false;
	len = MIN(block_length(file), (uint64_t)sizeof(head));
	res = block_pread(file, 0, head, len);
	block_unref(file);
	if (res < 0)
		return err_set_errno(error, -res, "%s: cannot read its beginning", name);
	format = block_probe(head, len, name);
	if (!block_find_driver(format)) {
		return err_set(error, ENOTSUP,
			       "%s: looks like format \"%s\", which this version cannot read; if "
			       "it is none, say that its format is raw",
			       name, format);
	}
	opts_set(options, "driver", format);
	if (!strcmp(format, "raw"))
		opts_set(options, "guard", "on");
	return true;
}

static void add_option(const char *key, const char *value, void *arg)
{
	opts_set(arg, key, value);
}

co_fn struct block_node *block_open_image_with(const char *name, const char *format,
					       const struct opts *more, unsigned flags,
					       GError **error)
{
	struct opts *options = block_parse_name(name, error);
	struct block_node *node = NULL;
	bool ok = true;

	if (!options)
		return NULL;
	if (more)
		opts_foreach(more, add_option, options);
	if (format)
		opts_set(options, "driver", format);
	if (!opts_get(options, "driver")) {
		ok = flags & BLOCK_NO_PROBE
			     ? err_set(error, EINVAL,
				       "%s: say its format, as formats are not to be guessed", name)
			     : probe(options, name, error);
	}
	if (ok)
		node = block_open(options, flags, error);
	opts_free(options);
	return node;
}

co_fn struct block_node *block_open_image(const char *name, const char *format, unsigned flags,
					  GError **error)
{
	return block_open_image_with(name, format, NULL, flags, error);
}
