/* Option texts of disks: see config.h. */
#include "control/config_impl.h"

#include <string.h>

#include "base/err.h"

enum { MODEL_MAX = 40, DISK_SERIAL_MAX = 20, FIRMWARE_MAX = 8 }; /* IDENTIFY DEVICE */

void config_disk_free(void *p)
{
	struct disk_config *d = p;

	if (!d)
		return;
	g_free(d->id);
	g_free(d->file);
	g_free(d->format);
	g_free(d->model);
	g_free(d->serial);
	g_free(d->firmware);
	g_free(d->state);
	opts_free(d->opts);
	opts_free(d->image_opts);
	g_free(d);
}

const struct disk_config *config_find_disk(const struct daemon_config *c, const char *id)
{
	for (unsigned i = 0; i < c->disks->len; i++) {
		const struct disk_config *d = c->disks->pdata[i];

		if (!strcmp(d->id, id))
			return d;
	}
	return NULL;
}

/* What every node takes, as block_open() says; with driver= they are among its options anyway. */
static void get_node_options(struct disk_config *d)
{
	static const char *const keys[] = {
		"cache",         "cache.direct",   "cache.no-flush", "cache.writeback", "discard",
		"detect-zeroes", "auto-read-only", "force-share",    "allow-refs",
	};

	d->image_opts = opts_new();
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		const char *value = opts_get(d->opts, keys[i]);

		if (value)
			opts_set(d->image_opts, keys[i], value);
	}
}

/* Either file= and format=, or a block driver with its own options. */
static bool get_image(struct disk_config *d, GError **error)
{
	const char *file = opts_get(d->opts, "file"), *format = opts_get(d->opts, "format");
	const char *driver = opts_get(d->opts, "driver");

	if (file && !*file)
		return err_set(error, EINVAL, "file= names no file");
	if (!file && !driver)
		return err_set(error, EINVAL, "say which file, as in file=disk.img");
	if (driver && (file || format)) {
		return err_set(error, EINVAL,
			       "driver= has options of its own, as in driver=raw,file.filename=x; "
			       "file= and format= do not go with it");
	}
	d->file = g_strdup(file);
	d->format = g_strdup(format);
	if (file)
		get_node_options(d);
	return true;
}

static bool get_block_size(struct opts *o, unsigned *size, GError **error)
{
	static const char *const names[] = {"512", "4096", NULL};
	static const unsigned sizes[] = {512, 4096};
	int which = 0;

	if (!opts_get_enum(o, "block-size", names, &which, error))
		return false;
	*size = sizes[which];
	return true;
}

static bool parse_disk(const struct daemon_config *c, struct disk_config *d, GError **error)
{
	struct opts *o = d->opts;

	d->state = g_strdup(opts_get(o, "state"));
	return get_image(d, error) && get_block_size(o, &d->block_size, error) &&
	       config_get_id(c, o, "hd", &d->id, error) &&
	       config_get_text(o, "model", MODEL_MAX, &d->model, error) &&
	       config_get_text(o, "serial", DISK_SERIAL_MAX, &d->serial, error) &&
	       config_get_text(o, "firmware", FIRMWARE_MAX, &d->firmware, error) &&
	       opts_get_bool(o, "rotational", &d->rotational, error) &&
	       opts_get_bool(o, "readonly", &d->readonly, error) &&
	       opts_get_bool(o, "share-rw", &d->share_rw, error) &&
	       (!d->file || opts_check_used(o, "--disk", error));
}

bool config_add_disk(struct daemon_config *c, const char *text, GError **error)
{
	struct disk_config *d = g_new0(struct disk_config, 1);

	d->opts = opts_parse(text, "file", error);
	if (!d->opts || !parse_disk(c, d, error)) {
		config_disk_free(d);
		return err_prefix(error, "--disk %s", text);
	}
	g_ptr_array_add(c->disks, d);
	return true;
}
