/* The binary form of the device protocol, and what both forms share. */
#include "device/remote_codec.h"
#include "base/bytes.h"
#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { /* the header */
       AT_LENGTH = 0,
       AT_TYPE = 4,
       AT_BAR = 5,
       AT_WIDTH = 6,
       AT_ID = 8,
       AT_ARG = 12,
};

static const struct {
	int number;
	const char *name;
} errors[] = {
	{EIO, "EIO"},       {EPERM, "EPERM"},       {EACCES, "EACCES"},
	{EFAULT, "EFAULT"}, {ENOTCONN, "ENOTCONN"}, {ECANCELED, "ECANCELED"},
};

uint32_t remote_error_number(int res)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
		if (errors[i].number == -res)
			return (uint32_t)-res;
	}
	return res < 0 ? EIO : 0;
}

const char *remote_error_name(uint32_t number)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
		if (errors[i].number == (int)number)
			return errors[i].name;
	}
	return "EIO";
}

void remote_encode(GByteArray *out, const struct remote_msg *m, bool binary)
{
	if (binary)
		remote_encode_binary(out, m);
	else
		remote_encode_text(out, m);
}

void remote_encode_binary(GByteArray *out, const struct remote_msg *m)
{
	uint8_t b[REMOTE_HEADER_LEN + 16] = {0};
	size_t n = REMOTE_HEADER_LEN;

	b[AT_TYPE] = m->type;
	b[AT_BAR] = m->bar;
	b[AT_WIDTH] = m->width;
	put_le32(b + AT_ID, m->id);
	put_le32(b + AT_ARG, m->arg);
	if (m->type == REMOTE_READ || m->type == REMOTE_WRITE) {
		put_le64(b + n, m->off);
		n += 8;
	}
	if (m->type == REMOTE_WRITE) {
		put_le64(b + n, m->value);
		n += 8;
	}
	put_le32(b + AT_LENGTH, (uint32_t)(n + m->len));
	g_byte_array_append(out, b, (guint)n);
	if (m->len)
		g_byte_array_append(out, m->data, (guint)m->len);
}

/* Bytes of data or text that a message of this type from the program can have; false: no such. */
static bool payload_range(uint8_t type, size_t *min, size_t *max)
{
	switch (type) {
	case REMOTE_DONE:
		*min = 0;
		*max = 8;
		return true;
	case REMOTE_IRQ:
	case REMOTE_MSI: *min = *max = 0; return true;
	case REMOTE_DMA_READ: *min = *max = 8; return true;
	case REMOTE_DMA_WRITE:
		*min = 9;
		*max = 8 + REMOTE_DMA_MAX;
		return true;
	case REMOTE_LOG:
		*min = 0;
		*max = REMOTE_TEXT_MAX;
		return true;
	default: return false;
	}
}

static bool check_header(const uint8_t *buf, uint32_t len, GError **error)
{
	size_t min, max;

	if (len < REMOTE_HEADER_LEN || len > REMOTE_MESSAGE_MAX)
		return err_set(error, EPROTO, "a message of %" PRIu32 " bytes, must be %d to %d",
			       len, REMOTE_HEADER_LEN, REMOTE_MESSAGE_MAX);
	if (!payload_range(buf[AT_TYPE], &min, &max))
		return err_set(error, EPROTO, "a message of type %u", buf[AT_TYPE]);
	len -= REMOTE_HEADER_LEN;
	if (len < min || len > max || (buf[AT_TYPE] == REMOTE_DONE && len != 0 && len != 8)) {
		return err_set(error, EPROTO,
			       "a message of type %u with %" PRIu32 " bytes behind its header",
			       buf[AT_TYPE], len);
	}
	return true;
}

/* What holds of the numbers of a message in either form. */
static bool check_message(const struct remote_msg *m, GError **error)
{
	bool dma = m->type == REMOTE_DMA_READ || m->type == REMOTE_DMA_WRITE;

	if ((dma || m->type == REMOTE_DONE) && !m->id)
		return err_set(error, EPROTO, "a message of type %u without an id", m->type);
	if (m->type == REMOTE_IRQ && m->arg > 1)
		return err_set(error, EPROTO, "an interrupt level of %" PRIu32, m->arg);
	if (m->type == REMOTE_LOG && m->arg > 3)
		return err_set(error, EPROTO, "a log level of %" PRIu32, m->arg);
	if (m->type == REMOTE_DMA_READ && (!m->arg || m->arg > REMOTE_DMA_MAX))
		return err_set(error, EPROTO, "dma_read of %" PRIu32 " bytes, must be 1 to %d",
			       m->arg, REMOTE_DMA_MAX);
	if (m->type == REMOTE_DMA_WRITE && (!m->len || m->len > REMOTE_DMA_MAX))
		return err_set(error, EPROTO, "dma_write of %zu bytes, must be 1 to %d", m->len,
			       REMOTE_DMA_MAX);
	return true;
}

ssize_t remote_decode_binary(const uint8_t *buf, size_t len, struct remote_msg *m, GError **error)
{
	const uint8_t *body = buf + REMOTE_HEADER_LEN;
	struct remote_msg out = {0};
	uint32_t total, n;

	if (len < REMOTE_HEADER_LEN)
		return 0;
	total = get_le32(buf + AT_LENGTH);
	if (!check_header(buf, total, error))
		return -1;
	if (len < total)
		return 0;
	n = total - REMOTE_HEADER_LEN;
	out.type = buf[AT_TYPE];
	out.id = get_le32(buf + AT_ID);
	out.arg = get_le32(buf + AT_ARG);
	if (out.type == REMOTE_DONE && n) {
		out.has_value = true;
		out.value = get_le64(body);
	} else if (out.type == REMOTE_DMA_READ || out.type == REMOTE_DMA_WRITE) {
		out.off = get_le64(body);
		out.data = body + 8;
		out.len = n - 8;
	} else {
		out.data = body;
		out.len = n;
	}
	if (!check_message(&out, error))
		return -1;
	*m = out;
	return (ssize_t)total;
}

ssize_t remote_find_line(struct remote_decoder *d, const uint8_t *buf, size_t len, GError **error)
{
	size_t most = MIN(len, REMOTE_LINE_MAX);
	const uint8_t *end =
		most > d->scanned ? memchr(buf + d->scanned, '\n', most - d->scanned) : NULL;

	if (end) {
		d->scanned = 0;
		return end - buf;
	}
	d->scanned = most;
	if (len < REMOTE_LINE_MAX)
		return -1;
	err_set(error, EPROTO, "a line of more than %d bytes", REMOTE_LINE_MAX);
	return -2;
}

ssize_t remote_decode(struct remote_decoder *d, const uint8_t *buf, size_t len,
		      struct remote_msg *m, GError **error)
{
	ssize_t n;

	if (d->binary)
		return remote_decode_binary(buf, len, m, error);
	n = remote_find_line(d, buf, len, error);
	if (n < 0)
		return n == -1 ? 0 : -1;
	if (!remote_decode_line((const char *)buf, (size_t)n, d->room, m, error) ||
	    !check_message(m, error))
		return -1;
	return n + 1;
}

void remote_decoder_init(struct remote_decoder *d)
{
	*d = (struct remote_decoder){.room = g_byte_array_new()};
}

void remote_decoder_fini(struct remote_decoder *d)
{
	if (d->room)
		g_byte_array_unref(d->room);
	d->room = NULL;
}
