/*
 * Save and restore of a device's own part: four bytes of version, then its fields. A field that
 * restore() did not ask for means that the state is of another (newer) device and is refused, since
 * leaving it out would lose something silently.
 */
#include "base/bytes.h"
#include "device/device_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { FIELD_MAX = 16 << 20, VERSION_LEN = 4 };

struct ob_state {
	GByteArray *out;        /* save */
	struct state_reader in; /* restore */
	GHashTable *asked;
	char name[STATE_NAME_MAX + 1]; /* of the first field nobody asked for */
};

int api_put(struct ob_state *s, const char *name, const void *data, size_t len)
{
	size_t n = strlen(name);

	if (!s->out || !n || n > STATE_NAME_MAX)
		return -EINVAL;
	if (len > FIELD_MAX)
		return -E2BIG;
	if (state_has(s->out, name))
		return -EEXIST;
	state_put(s->out, name, data, len);
	return 0;
}

static const uint8_t *find(struct ob_state *s, const char *name, size_t *len)
{
	const uint8_t *p = s->out ? NULL : state_find(&s->in, name, len);

	if (p)
		g_hash_table_add(s->asked, g_strdup(name));
	return p;
}

int api_get(struct ob_state *s, const char *name, void *data, size_t len)
{
	size_t has;
	const uint8_t *p = find(s, name, &has);

	if (!p)
		return -ENOENT;
	if (has != len)
		return -EINVAL;
	memcpy(data, p, len);
	return 0;
}

int api_get_len(struct ob_state *s, const char *name, size_t *len)
{
	return find(s, name, len) ? 0 : -ENOENT;
}

static bool fail(struct device *d, int res, const char *what, GError **error)
{
	if (d->why)
		return err_set(error, -res, "device %s: %s", d->name, d->why);
	return err_set_errno(error, -res, "device %s: %s failed", d->name, what);
}

static void listen_anew(struct device *d)
{
	g_clear_pointer(&d->why, g_free);
	d->listening = true;
}

bool device_save(struct pci_function *f, GByteArray *out, GError **error)
{
	struct device *d = pci_function_priv(f);
	struct ob_state s = {.out = g_byte_array_new()};
	uint8_t version[VERSION_LEN];
	int res;

	if (!d->cls.save) {
		g_byte_array_unref(s.out);
		return err_set(error, ENOTSUP, "device %s (%s) cannot be saved", d->name,
			       d->cls.name);
	}
	listen_anew(d);
	res = d->cls.save(&d->dev, &s);
	d->listening = false;
	if (res >= 0) {
		put_le32(version, d->cls.state_version);
		g_byte_array_append(out, version, sizeof(version));
		g_byte_array_append(out, s.out->data, s.out->len);
	}
	g_byte_array_unref(s.out);
	return res >= 0 || fail(d, res, "save()", error);
}

static bool was_asked(const char *name, void *arg)
{
	struct ob_state *s = arg;

	if (g_hash_table_contains(s->asked, name))
		return true;
	g_strlcpy(s->name, name, sizeof(s->name));
	return false;
}

static bool restore_fields(struct device *d, struct ob_state *s, uint32_t version, GError **error)
{
	int res;

	listen_anew(d);
	res = d->cls.restore(&d->dev, s, version);
	d->listening = false;
	if (res < 0)
		return fail(d, res, "restore()", error);
	state_each(&s->in, was_asked, s);
	if (s->name[0]) {
		return err_set(error, EINVAL,
			       "device %s: saved state has a field %s, which %s does "
			       "not know",
			       d->name, s->name, d->cls.name);
	}
	return true;
}

bool device_restore(struct pci_function *f, const void *data, size_t len, GError **error)
{
	struct device *d = pci_function_priv(f);
	struct ob_state s = {0};
	uint32_t version;
	bool ok;

	if (!d->cls.restore)
		return err_set(error, ENOTSUP, "device %s (%s) cannot be restored", d->name,
			       d->cls.name);
	if (len < VERSION_LEN)
		return err_set(error, EINVAL, "device %s: saved state is too short", d->name);
	version = get_le32(data);
	if (version > d->cls.state_version) {
		return err_set(error, EINVAL,
			       "device %s: saved state has version %" PRIu32
			       ", known is up to %" PRIu32,
			       d->name, version, d->cls.state_version);
	}
	if (!state_open(&s.in, (const uint8_t *)data + VERSION_LEN, len - VERSION_LEN, error))
		return false;
	s.asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	ok = restore_fields(d, &s, version, error);
	g_hash_table_unref(s.asked);
	return ok;
}
