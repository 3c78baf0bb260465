/* The devices of the tree, by name; and what is checked of any class before it is used. */
#include "device/classes.h"
#include "device/device_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const size_t STATE_SIZE_MAX = 64 << 20;

static const struct ob_class *const classes[] = {
	&edu_class,
	&ahci_class,
	&ide_class,
	NULL,
};

const struct ob_class *const *device_classes(void)
{
	return classes;
}

const struct ob_class *class_find(const char *name, GError **error)
{
	GString *known = g_string_new(NULL);

	for (unsigned i = 0; classes[i]; i++) {
		if (strcmp(classes[i]->name, name) == 0) {
			g_string_free(known, TRUE);
			return classes[i];
		}
		g_string_append_printf(known, "%s%s", i ? ", " : "", classes[i]->name);
	}
	err_set(error, ENOENT,
		"there is no device \"%s\"; known: %s, or the path of a plug-in with a slash in it",
		name, known->str);
	g_string_free(known, TRUE);
	return NULL;
}

bool class_copy(struct ob_class *out, const struct ob_class *in, GError **error)
{
	const size_t least = offsetof(struct ob_class, open) + sizeof(in->open);

	memset(out, 0, sizeof(*out));
	if (in->size < least || in->size > 65536) {
		return err_set(error, EINVAL,
			       "a device class says it has %" PRIu32
			       " bytes, at least %zu are needed",
			       in->size, least);
	}
	memcpy(out, in, MIN(in->size, sizeof(*out)));
	if (!out->name || !*out->name || strlen(out->name) > 63)
		return err_set(error, EINVAL, "a device class without a name");
	if (!out->open)
		return err_set(error, EINVAL, "class %s has no open()", out->name);
	if (out->state_size > STATE_SIZE_MAX)
		return err_set(error, EINVAL, "class %s: a state of %" PRIu32 " bytes, at most %zu",
			       out->name, out->state_size, STATE_SIZE_MAX);
	if (!out->save != !out->restore)
		return err_set(error, EINVAL, "class %s: save() and restore() go together",
			       out->name);
	return props_check(out, error);
}
