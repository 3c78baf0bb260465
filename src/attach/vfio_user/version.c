/*
 * VERSION: two numbers and a JSON object with capabilities (reference/transports.md 1.6).
 *
 * Text from the peer goes to the JSON parser only after its length, its NUL and its nesting were
 * checked; numbers that no client can mean are refused by name, unknown members are ignored.
 */
#include "attach/vfio_user/version.h"
#include "attach/vfio_user/proto.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum { DEPTH_MAX = 8, PAGE = 4096 };

/* The parser is recursive: nesting is bounded before it sees the text. */
static bool is_shallow(const char *text)
{
	unsigned depth = 0;
	bool in_string = false;

	for (; *text; text++) {
		if (in_string && *text == '\\' && text[1])
			text++;
		else if (*text == '"')
			in_string = !in_string;
		else if (!in_string && (*text == '{' || *text == '['))
			depth++;
		else if (!in_string && (*text == '}' || *text == ']') && depth)
			depth--;
		if (depth > DEPTH_MAX)
			return false;
	}
	return true;
}

/* A number named key; absent: *value stays as it is. */
static bool get_number(json_t *caps, const char *key, uint64_t min, uint64_t max, uint64_t *value,
		       GError **error)
{
	json_t *v = json_object_get(caps, key);

	if (!v)
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) < min || (uint64_t)json_integer_value(v) > max) {
		char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

		err_set(error, EINVAL,
			"capability %s: %.40s, must be a number from %" PRIu64 " to %" PRIu64, key,
			text ? text : "?", min, max);
		free(text);
		return false;
	}
	*value = (uint64_t)json_integer_value(v);
	return true;
}

static bool get_caps(json_t *caps, struct vfu_caps *out, GError **error)
{
	uint64_t fds = out->max_msg_fds, xfer = out->max_data_xfer, maps = out->max_dma_maps;
	json_t *multi = json_object_get(caps, "write_multiple");

	if (!get_number(caps, "max_msg_fds", 0, INT32_MAX, &fds, error) ||
	    !get_number(caps, "max_data_xfer_size", VFU_XFER_MIN, INT64_MAX, &xfer, error) ||
	    !get_number(caps, "max_dma_maps", 0, INT64_MAX, &maps, error) ||
	    !get_number(caps, "pgsizes", PAGE, INT64_MAX, &out->pgsizes, error))
		return false;
	if (out->pgsizes % PAGE)
		return err_set(error, EINVAL, "capability pgsizes: %#" PRIx64 " has bits below %d",
			       out->pgsizes, PAGE);
	if (multi && !json_is_boolean(multi))
		return err_set(error, EINVAL, "capability write_multiple must be true or false");
	out->max_msg_fds = (unsigned)MIN(fds, VFU_FDS_MAX);
	out->max_data_xfer = (uint32_t)MIN(xfer, VFU_XFER_MAX);
	out->max_dma_maps = (unsigned)MIN(maps, VFU_MAPS_MAX);
	out->write_multiple = json_is_true(multi);
	return true;
}

static bool parse_json(const char *text, struct vfu_caps *out, GError **error)
{
	json_error_t where;
	json_t *root, *caps;
	bool ok;

	if (!is_shallow(text))
		return err_set(error, EINVAL, "capabilities nested deeper than %d", DEPTH_MAX);
	root = json_loads(text, 0, &where);
	if (!json_is_object(root)) {
		err_set(error, EINVAL, "capabilities are no JSON object: %s",
			root ? "another value" : where.text);
		json_decref(root);
		return false;
	}
	caps = json_object_get(root, "capabilities");
	if (caps && !json_is_object(caps))
		ok = err_set(error, EINVAL, "member capabilities must be an object");
	else
		ok = !caps || get_caps(caps, out, error);
	json_decref(root);
	return ok;
}

int vfu_version_parse(const uint8_t *payload, size_t len, struct vfu_caps *out, GError **error)
{
	struct vfu_caps caps = {
		.major = (unsigned)vfu_get(payload, VER_MAJOR),
		.minor = (unsigned)vfu_get(payload, VER_MINOR),
		.max_msg_fds = 1,
		.max_data_xfer = VFU_XFER_MAX,
		.max_dma_maps = VFU_MAPS_MAX,
		.pgsizes = PAGE,
	};
	const char *text = (const char *)payload + VER_LEN;

	if (caps.major != VFU_MAJOR) {
		err_set(error, ENOTSUP, "version %u.%u, must be %d.x", caps.major, caps.minor,
			VFU_MAJOR);
		return ENOTSUP;
	}
	if (len > VER_LEN) {
		if (memchr(text, 0, len - VER_LEN) != text + (len - VER_LEN) - 1) {
			err_set(error, EINVAL, "capabilities must end with their only NUL");
			return EINVAL;
		}
		if (*text && !parse_json(text, &caps, error))
			return EINVAL;
	}
	caps.minor = MIN(caps.minor, VFU_MINOR);
	*out = caps;
	return 0;
}

size_t vfu_version_reply(const struct vfu_caps *agreed, uint8_t *buf)
{
	int n;

	vfu_put(buf, VER_MAJOR, agreed->major);
	vfu_put(buf, VER_MINOR, agreed->minor);
	/*
	 * write_multiple stays false: QEMU 10.2 that is told true also queues every send. The
	 * command is served all the same.
	 */
	n = snprintf((char *)buf + VER_LEN, VFU_VERSION_MAX - VER_LEN,
		     "{\"capabilities\":{\"max_msg_fds\":%d,\"max_data_xfer_size\":%" PRIu32
		     ",\"max_dma_maps\":%u,\"pgsizes\":%d,\"write_multiple\":false}}",
		     VFU_FDS_MAX, agreed->max_data_xfer, agreed->max_dma_maps, PAGE);
	return VER_LEN + (size_t)n + 1;
}
