/* hello and describe: see remote_describe.h. */
#include "device/remote_describe.h"
#include "base/err.h"
#include "device/remote_codec.h"
#include "device/remote_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 63, HELP_MAX_LEN = 200, MSI_MAX = 32, MSIX_MAX = 2048 };

char *remote_hello(const char *id, json_t *properties, unsigned timeout_ms)
{
	json_t *o = json_pack("{s:s, s:i, s:s, s:O, s:i, s:i}", "op", "hello", "protocol",
			      REMOTE_PROTOCOL, "id", id, "properties", properties, "max_dma",
			      REMOTE_DMA_MAX, "timeout_ms", (int)timeout_ms);
	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
	char *line = g_strconcat(text, "\n", NULL);

	free(text);
	json_decref(o);
	return line;
}

/* A number into *out, whose width is that of the caller's variable. */
static bool get_unsigned(const json_t *o, const char *key, uint64_t min, uint64_t max,
			 unsigned *out, GError **error)
{
	uint64_t v = *out;

	if (!remote_json_number(o, key, false, min, max, &v, error))
		return false;
	*out = (unsigned)v;
	return true;
}

static bool get_identity(const json_t *o, struct ob_identity *id, GError **error)
{
	uint64_t vendor = 0, device = 0, sub_vendor = 0, sub = 0, class_code = 0xff0000;
	uint64_t revision = 0, pin = 0;

	if (!remote_json_number(o, "vendor", true, 0, 0xffff, &vendor, error) ||
	    !remote_json_number(o, "device", true, 0, 0xffff, &device, error) ||
	    !remote_json_number(o, "subsystem_vendor", false, 0, 0xffff, &sub_vendor, error) ||
	    !remote_json_number(o, "subsystem", false, 0, 0xffff, &sub, error) ||
	    !remote_json_number(o, "class", false, 0, 0xffffff, &class_code, error) ||
	    !remote_json_number(o, "revision", false, 0, 0xff, &revision, error) ||
	    !remote_json_number(o, "intx", false, 0, 4, &pin, error))
		return false;
	*id = (struct ob_identity){
		.vendor = (uint16_t)vendor,
		.device = (uint16_t)device,
		.subsystem_vendor = (uint16_t)sub_vendor,
		.subsystem = (uint16_t)sub,
		.class_code = (uint32_t)class_code,
		.revision = (uint8_t)revision,
		.intx_pin = (uint8_t)pin,
	};
	return true;
}

static bool get_bar(const json_t *o, struct remote_desc *d, GError **error)
{
	const char *type = "memory";
	bool wide = false, prefetch = false;
	uint64_t index = 0, len = 0;

	if (!remote_json_number(o, "index", true, 0, REMOTE_BARS - 1, &index, error) ||
	    !remote_json_number(o, "size", true, 1, UINT64_MAX, &len, error) ||
	    !remote_json_text(o, "type", &type, error) ||
	    !remote_json_bool(o, "64bit", &wide, error) ||
	    !remote_json_bool(o, "prefetch", &prefetch, error))
		return false;
	if (strcmp(type, "memory") != 0 && strcmp(type, "io") != 0)
		return err_set(error, EPROTO, "\"type\" must be \"memory\" or \"io\"");
	if (d->bars[index].len)
		return err_set(error, EPROTO, "BAR %" PRIu64 " twice", index);
	d->bars[index].len = len;
	d->bars[index].flags = (strcmp(type, "io") == 0 ? OB_BAR_IO : 0) | (wide ? OB_BAR_64 : 0) |
			       (prefetch ? OB_BAR_PREFETCH : 0);
	return true;
}

static bool get_bars(const json_t *o, struct remote_desc *d, GError **error)
{
	const json_t *list = json_object_get(o, "bars"), *bar;
	size_t i;

	if (list && !json_is_array(list))
		return err_set(error, EPROTO, "\"bars\" must be a list of objects");
	json_array_foreach(list, i, bar)
	{
		if (!get_bar(bar, d, error))
			return err_prefix(error, "\"bars\"[%zu]", i);
	}
	return true;
}

static unsigned first_free_bar(const struct remote_desc *d)
{
	unsigned i = 0;

	while (i < REMOTE_BARS - 1 && d->bars[i].len)
		i += d->bars[i].flags & OB_BAR_64 ? 2 : 1;
	return MIN(i, REMOTE_BARS - 1);
}

static bool get_msix(const json_t *o, struct remote_desc *d, GError **error)
{
	const json_t *x = json_object_get(o, "msix");
	uint64_t n;

	d->table_bar = d->pba_bar = first_free_bar(d);
	if (!x)
		return true;
	if (!json_is_object(x)) {
		if (!remote_json_number(o, "msix", true, 0, MSIX_MAX, &n, error))
			return false;
		d->msix = (unsigned)n;
		d->pba_off = n * 16;
		return true;
	}
	if (get_unsigned(x, "vectors", 1, MSIX_MAX, &d->msix, error) &&
	    get_unsigned(x, "table_bar", 0, REMOTE_BARS - 1, &d->table_bar, error)) {
		d->pba_bar = d->table_bar;
		d->pba_off = d->msix * 16ull;
		if (remote_json_number(x, "table_offset", false, 0, UINT32_MAX, &d->table_off,
				       error) &&
		    get_unsigned(x, "pba_bar", 0, REMOTE_BARS - 1, &d->pba_bar, error) &&
		    remote_json_number(x, "pba_offset", false, 0, UINT32_MAX, &d->pba_off, error))
			return d->msix || err_set(error, EPROTO, "\"msix\" needs \"vectors\"");
	}
	return err_prefix(error, "\"msix\"");
}

static bool get_names(const json_t *o, struct remote_desc *d, GError **error)
{
	const char *name = "remote", *help = "a device that is a program";

	if (!remote_json_text(o, "name", &name, error) ||
	    !remote_json_text(o, "help", &help, error))
		return false;
	if (!*name || strlen(name) > NAME_MAX_LEN ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(name)) {
		return err_set(error, EPROTO, "\"name\" must be 1 to %d of a-z, 0-9 and '-'",
			       NAME_MAX_LEN);
	}
	if (strlen(help) > HELP_MAX_LEN)
		return err_set(error, EPROTO, "\"help\" has %zu bytes, at most %d", strlen(help),
			       HELP_MAX_LEN);
	d->name = g_strdup(name);
	d->help = g_strdup(help);
	return true;
}

static bool get_rest(const json_t *o, struct remote_desc *d, GError **error)
{
	const char *format = "text";

	if (!remote_json_text(o, "format", &format, error))
		return false;
	d->binary = strcmp(format, "binary") == 0;
	if (!d->binary && strcmp(format, "text") != 0)
		return err_set(error, EPROTO, "\"format\" must be \"text\" or \"binary\"");
	return get_unsigned(o, "msi", 0, MSI_MAX, &d->msi, error) &&
	       remote_json_bool(o, "pcie", &d->pcie, error) &&
	       remote_json_bool(o, "pm", &d->pm, error) &&
	       remote_json_bool(o, "ack_writes", &d->ack_writes, error) &&
	       remote_props_parse(json_object_get(o, "properties"), d, error);
}

static bool fill(json_t *o, struct remote_desc *d, GError **error)
{
	uint64_t protocol = 0;

	if (!remote_json_number(o, "protocol", true, REMOTE_PROTOCOL, REMOTE_PROTOCOL, &protocol,
				error) ||
	    !get_identity(o, &d->id, error) || !get_names(o, d, error) || !get_bars(o, d, error) ||
	    !get_msix(o, d, error) || !get_rest(o, d, error))
		return err_prefix(error, "describe");
	json_object_del(o, "format");
	d->json = json_incref(o);
	return true;
}

struct remote_desc *remote_desc_parse(const char *line, size_t len, GError **error)
{
	json_t *o = remote_json_load(line, len, error);
	struct remote_desc *d = NULL;
	const char *op = "", *text = "the program refuses and does not say why";

	if (!o)
		return NULL;
	if (!remote_json_text(o, "op", &op, error)) {
		json_decref(o);
		return NULL;
	}
	if (strcmp(op, "describe") == 0) {
		d = g_new0(struct remote_desc, 1);
		if (!fill(o, d, error)) {
			remote_desc_free(d);
			d = NULL;
		}
	} else if (strcmp(op, "error") == 0) {
		if (remote_json_text(o, "text", &text, error))
			err_set(error, EINVAL, "%.400s", text);
	} else {
		err_set(error, EPROTO, "a message with \"op\":\"%.40s\" in place of \"describe\"",
			op);
	}
	json_decref(o);
	return d;
}

bool remote_desc_is_equal(const struct remote_desc *a, const struct remote_desc *b)
{
	return json_equal(a->json, b->json);
}

void remote_desc_free(struct remote_desc *d)
{
	if (!d)
		return;
	remote_props_free(d);
	json_decref(d->json);
	g_free(d->name);
	g_free(d->help);
	g_free(d);
}
