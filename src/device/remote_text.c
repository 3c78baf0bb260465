/*
 * The text form of the device protocol: a JSON object a line. Outgoing lines are printed with their
 * keys in the order of the document, so that a script may cut them by pattern; incoming ones go
 * through a JSON parser.
 */
#include "base/err.h"
#include "device/remote_codec.h"
#include "device/remote_json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define INTEGER_MAX ((1ull << 53) - 1) /* what every JSON parser keeps exactly */

static const char *const resets[] = {
	[REMOTE_RESET_START] = "start",
	[REMOTE_RESET_BUS] = "bus",
	[REMOTE_RESET_FUNCTION] = "function",
};

static void put_number(GString *out, const char *key, uint64_t v)
{
	if (v <= INTEGER_MAX)
		g_string_append_printf(out, ",\"%s\":%" PRIu64, key, v);
	else
		g_string_append_printf(out, ",\"%s\":\"0x%" PRIx64 "\"", key, v);
}

static void put_data(GString *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t at;

	g_string_append(out, ",\"data\":\"");
	at = out->len;
	g_string_set_size(out, at + 2 * len);
	for (size_t i = 0; i < len; i++) {
		out->str[at + 2 * i] = digits[data[i] >> 4];
		out->str[at + 2 * i + 1] = digits[data[i] & 15];
	}
	g_string_append_c(out, '"');
}

static void put_access(GString *out, const struct remote_msg *m)
{
	bool is_write = m->type == REMOTE_WRITE;

	g_string_append(out, is_write ? "\"write\"" : "\"read\"");
	if (m->id)
		put_number(out, "id", m->id);
	put_number(out, "bar", m->bar);
	put_number(out, "offset", m->off);
	put_number(out, "width", m->width);
	if (is_write)
		put_number(out, "value", m->value);
}

static void put_done(GString *out, const struct remote_msg *m)
{
	g_string_append(out, "\"done\"");
	put_number(out, "id", m->id);
	if (m->arg)
		g_string_append_printf(out, ",\"error\":\"%s\"", remote_error_name(m->arg));
	else if (m->len)
		put_data(out, m->data, m->len);
}

void remote_encode_text(GByteArray *out, const struct remote_msg *m)
{
	GString *s = g_string_new("{\"op\":");

	switch (m->type) {
	case REMOTE_READ:
	case REMOTE_WRITE: put_access(s, m); break;
	case REMOTE_DONE: put_done(s, m); break;
	case REMOTE_RESET:
		g_string_append(s, "\"reset\"");
		put_number(s, "id", m->id);
		g_string_append_printf(s, ",\"kind\":\"%s\"", resets[m->arg]);
		break;
	default:
		g_string_append_printf(s, "\"state\",\"attached\":%s,\"dma\":%s,\"msi\":\"%s\"",
				       m->arg & REMOTE_ATTACHED ? "true" : "false",
				       m->arg & REMOTE_CAN_DMA ? "true" : "false",
				       m->arg & REMOTE_MSIX_ON  ? "msix"
				       : m->arg & REMOTE_MSI_ON ? "msi"
								: "off");
	}
	g_string_append(s, "}\n");
	g_byte_array_append(out, (const uint8_t *)s->str, (guint)s->len);
	g_string_free(s, TRUE);
}

/* ---- From the program ---- */

static bool get_id(const json_t *o, struct remote_msg *m, GError **error)
{
	uint64_t id = 0;

	if (!remote_json_number(o, "id", true, 1, UINT32_MAX, &id, error))
		return false;
	m->id = (uint32_t)id;
	return true;
}

static bool get_arg(const json_t *o, const char *key, uint64_t max, struct remote_msg *m,
		    GError **error)
{
	uint64_t v = 0;

	if (!remote_json_number(o, key, true, 0, max, &v, error))
		return false;
	m->arg = (uint32_t)v;
	return true;
}

static bool get_data(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	const char *hex = NULL;
	size_t n;

	if (!remote_json_text(o, "data", &hex, error))
		return false;
	n = hex ? strlen(hex) : 0;
	if (!n || n % 2 || n / 2 > REMOTE_DMA_MAX || strspn(hex, "0123456789abcdefABCDEF") != n) {
		return err_set(error, EPROTO,
			       "\"data\" must be 1 to %d bytes in hexadecimal digits",
			       REMOTE_DMA_MAX);
	}
	g_byte_array_set_size(room, (guint)(n / 2));
	for (size_t i = 0; i < n / 2; i++)
		room->data[i] = (uint8_t)(g_ascii_xdigit_value(hex[2 * i]) << 4 |
					  g_ascii_xdigit_value(hex[2 * i + 1]));
	m->data = room->data;
	m->len = n / 2;
	return true;
}

static bool get_done(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	(void)room;
	m->type = REMOTE_DONE;
	m->has_value = json_object_get(o, "value");
	return get_id(o, m, error) &&
	       remote_json_number(o, "value", false, 0, UINT64_MAX, &m->value, error);
}

static bool get_irq(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	(void)room;
	m->type = REMOTE_IRQ;
	return get_arg(o, "level", 1, m, error);
}

static bool get_msi(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	(void)room;
	m->type = REMOTE_MSI;
	return get_arg(o, "vector", UINT32_MAX, m, error);
}

static bool get_dma_read(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	(void)room;
	m->type = REMOTE_DMA_READ;
	return get_id(o, m, error) &&
	       remote_json_number(o, "address", true, 0, UINT64_MAX, &m->off, error) &&
	       get_arg(o, "length", UINT32_MAX, m, error);
}

static bool get_dma_write(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	m->type = REMOTE_DMA_WRITE;
	return get_id(o, m, error) &&
	       remote_json_number(o, "address", true, 0, UINT64_MAX, &m->off, error) &&
	       get_data(o, room, m, error);
}

static bool get_log(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
	const char *level = "info", *text = "";

	if (!remote_json_text(o, "level", &level, error) ||
	    !remote_json_text(o, "text", &text, error))
		return false;
	if (!g_strv_contains(levels, level))
		return err_set(error, EPROTO, "a log level \"%.20s\"", level);
	while (strcmp(levels[m->arg], level) != 0)
		m->arg++;
	m->type = REMOTE_LOG;
	m->len = MIN(strlen(text), REMOTE_TEXT_MAX);
	g_byte_array_set_size(room, 0);
	g_byte_array_append(room, (const uint8_t *)text, (guint)m->len);
	m->data = room->data;
	return true;
}

static const struct {
	const char *op;
	bool (*get)(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error);
} ops[] = {
	{"done", get_done},
	{"irq", get_irq},
	{"msi", get_msi},
	{"dma_read", get_dma_read},
	{"dma_write", get_dma_write},
	{"log", get_log},
};

static bool decode(const json_t *o, GByteArray *room, struct remote_msg *m, GError **error)
{
	const char *op = NULL;

	if (!remote_json_text(o, "op", &op, error))
		return false;
	if (!op)
		return err_set(error, EPROTO, "a line without \"op\"");
	for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++) {
		if (strcmp(ops[i].op, op) == 0)
			return ops[i].get(o, room, m, error) || err_prefix(error, "%s", op);
	}
	return err_set(error, EPROTO, "a message with \"op\":\"%.40s\"", op);
}

bool remote_decode_line(const char *line, size_t len, GByteArray *room, struct remote_msg *m,
			GError **error)
{
	struct remote_msg out = {0};
	json_t *o = remote_json_load(line, len, error);
	bool ok = o && decode(o, room, &out, error);

	json_decref(o);
	if (ok)
		*m = out;
	return ok;
}
