/* Both forms of the protocol without a program: what is sent, byte by byte, and hostile input. */
#include "device/remote_codec.h"
#include "device/remote_describe.h"
#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void sends_text(const struct remote_msg *m, const char *line)
{
	GByteArray *out = g_byte_array_new();

	remote_encode(out, m, false);
	g_byte_array_append(out, (const uint8_t *)"", 1);
	assert_string_equal((char *)out->data, line);
	g_byte_array_unref(out);
}

static void text_out(void **state)
{
	static const uint8_t data[] = {0, 0xff, 0x10};

	(void)state;
	sends_text(
		&(struct remote_msg){.type = REMOTE_READ, .id = 7, .bar = 2, .off = 8, .width = 4},
		"{\"op\":\"read\",\"id\":7,\"bar\":2,\"offset\":8,\"width\":4}\n");
	sends_text(&(struct remote_msg){.type = REMOTE_WRITE, .width = 8, .value = UINT64_MAX},
		   "{\"op\":\"write\",\"bar\":0,\"offset\":0,\"width\":8,"
		   "\"value\":\"0xffffffffffffffff\"}\n");
	sends_text(
		&(struct remote_msg){
			.type = REMOTE_WRITE, .id = 1, .width = 8, .value = (1ull << 53) - 1},
		"{\"op\":\"write\",\"id\":1,\"bar\":0,\"offset\":0,\"width\":8,"
		"\"value\":9007199254740991}\n");
	sends_text(&(struct remote_msg){.type = REMOTE_RESET, .id = 1, .arg = 1},
		   "{\"op\":\"reset\",\"id\":1,\"kind\":\"bus\"}\n");
	sends_text(&(struct remote_msg){.type = REMOTE_STATE, .arg = 2 + 8},
		   "{\"op\":\"state\",\"attached\":false,\"dma\":true,\"msi\":\"msix\"}\n");
	sends_text(&(struct remote_msg){.type = REMOTE_DONE, .id = 5, .data = data, .len = 3},
		   "{\"op\":\"done\",\"id\":5,\"data\":\"00ff10\"}\n");
	sends_text(&(struct remote_msg){.type = REMOTE_DONE, .id = 5, .arg = EFAULT},
		   "{\"op\":\"done\",\"id\":5,\"error\":\"EFAULT\"}\n");
}

static void binary_out(void **state)
{
	static const uint8_t expected[] = {
		32,   0,    0, 0,    REMOTE_WRITE,
		3,    4,    0, 9,    0,
		0,    0,    0, 0,    0,
		0, /* header */
		0x10, 0,    0, 0,    0,
		0,    0,    0, 0x44, 0x33,
		0x22, 0x11, 0, 0,    0,
		0,
	};
	const struct remote_msg m = {.type = REMOTE_WRITE,
				     .bar = 3,
				     .width = 4,
				     .id = 9,
				     .off = 0x10,
				     .value = 0x11223344};
	GByteArray *out = g_byte_array_new();

	(void)state;
	remote_encode(out, &m, true);
	assert_int_equal(out->len, sizeof(expected));
	assert_memory_equal(out->data, expected, sizeof(expected));
	g_byte_array_unref(out);
}

static ssize_t decode_line(struct remote_decoder *d, const char *line, struct remote_msg *m,
			   char **why)
{
	GError *error = NULL;
	ssize_t n = remote_decode(d, (const uint8_t *)line, strlen(line), m, &error);

	assert_int_equal(n < 0, error != NULL);
	*why = error ? g_strdup(error->message) : NULL;
	g_clear_error(&error);
	return n;
}

static void text_in(void **state)
{
	static const struct {
		const char *line;
		struct remote_msg m;
		const char *data;
	} good[] = {
		{"{\"op\":\"done\",\"id\":7,\"value\":5}\n",
		 {.type = REMOTE_DONE, .id = 7, .has_value = true, .value = 5},
		 NULL},
		{" { \"x\":[1,{}], \"id\" : \"0xff\", \"op\":\"done\" } \n",
		 {.type = REMOTE_DONE, .id = 255},
		 NULL},
		{"{\"op\":\"done\",\"id\":1,\"value\":18446744073709551615}\n",
		 {.type = REMOTE_DONE, .id = 1, .has_value = true, .value = UINT64_MAX},
		 NULL},
		{"{\"op\":\"done\",\"id\":1,\"value\":\"0xFFFFFFFFFFFFFFFF\"}\n",
		 {.type = REMOTE_DONE, .id = 1, .has_value = true, .value = UINT64_MAX},
		 NULL},
		{"{\"op\":\"irq\",\"level\":1}\n", {.type = REMOTE_IRQ, .arg = 1}, NULL},
		{"{\"op\":\"msi\",\"vector\":\"3\"}\n", {.type = REMOTE_MSI, .arg = 3}, NULL},
		{"{\"op\":\"dma_read\",\"id\":1,\"address\":4096,\"length\":65536}\n",
		 {.type = REMOTE_DMA_READ, .id = 1, .off = 4096, .arg = 65536},
		 NULL},
		{"{\"op\":\"dma_write\",\"id\":1,\"address\":0,\"data\":\"6f4B\"}\n",
		 {.type = REMOTE_DMA_WRITE, .id = 1},
		 "oK"},
		{"{\"op\":\"log\",\"level\":\"debug\",\"text\":\"a \\\" 12345678901234567890\"}\n",
		 {.type = REMOTE_LOG, .arg = 3},
		 "a \" 12345678901234567890"},
	};
	struct remote_decoder d;

	(void)state;
	remote_decoder_init(&d);
	for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
		struct remote_msg m = {0};
		char *why;
		ssize_t n = decode_line(&d, good[i].line, &m, &why);

		if (n != (ssize_t)strlen(good[i].line))
			fail_msg("%s: %zd, %s", good[i].line, n, why ? why : "");
		assert_int_equal(m.type, good[i].m.type);
		assert_int_equal(m.id, good[i].m.id);
		assert_int_equal(m.arg, good[i].m.arg);
		assert_int_equal(m.has_value, good[i].m.has_value);
		assert_true(m.value == good[i].m.value && m.off == good[i].m.off);
		assert_int_equal(m.len, good[i].data ? strlen(good[i].data) : 0);
		if (m.len)
			assert_memory_equal(m.data, good[i].data, m.len);
	}
	remote_decoder_fini(&d);
}

static void bad_text(void **state)
{
	static const char *const bad[][2] = {
		{"\n", "no JSON object"},
		{"[]\n", "no JSON object"},
		{"{\"op\":\"done\",\"id\":1,\"id\":2}\n", "duplicate"},
		{"{\"op\":\"done\"} {}\n", "no JSON object"},
		{"{}\n", "without \"op\""},
		{"{\"op\":7}\n", "\"op\" must be text"},
		{"{\"op\":\"read\"}\n", "\"op\":\"read\""},
		{"{\"op\":\"done\"}\n", "\"id\" is missing"},
		{"{\"op\":\"done\",\"id\":0}\n", "\"id\" must be a number from 1 to 4294967295"},
		{"{\"op\":\"done\",\"id\":4294967296}\n", "\"id\" must be"},
		{"{\"op\":\"done\",\"id\":-1}\n", "\"id\" must be"},
		{"{\"op\":\"done\",\"id\":1.0}\n", "\"id\" must be"},
		{"{\"op\":\"done\",\"id\":\"0x\"}\n", "\"id\" must be"},
		{"{\"op\":\"done\",\"id\":\" 1\"}\n", "\"id\" must be"},
		{"{\"op\":\"done\",\"id\":\"1\\u0000\"}\n", "no JSON object"},
		{"{\"op\":\"done\",\"id\":1,\"value\":18446744073709551616}\n", "\"value\" must"},
		{"{\"op\":\"done\",\"id\":1,\"value\":null}\n", "\"value\" must"},
		{"{\"op\":\"irq\",\"level\":2}\n", "\"level\" must"},
		{"{\"op\":\"dma_read\",\"id\":1,\"address\":0,\"length\":0}\n", "must be 1 to"},
		{"{\"op\":\"dma_read\",\"id\":1,\"address\":0,\"length\":65537}\n", "must be 1 to"},
		{"{\"op\":\"dma_write\",\"id\":1,\"address\":0,\"data\":\"\"}\n", "\"data\" must"},
		{"{\"op\":\"dma_write\",\"id\":1,\"address\":0,\"data\":\"abc\"}\n",
		 "\"data\" must"},
		{"{\"op\":\"dma_write\",\"id\":1,\"address\":0,\"data\":\"0x12\"}\n",
		 "\"data\" must"},
		{"{\"op\":\"dma_write\",\"id\":1,\"address\":0}\n", "\"data\" must"},
		{"{\"op\":\"log\",\"level\":\"loud\"}\n", "log level"},
		{"{\"op\":\"log\",\"text\":\"\\xff\"}\n", "no JSON object"},
		{"{\"a\":[[[[[[[[[]]]]]]]]]}\n", "nests deeper"},
	};
	struct remote_decoder d;

	(void)state;
	remote_decoder_init(&d);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct remote_msg m;
		char *why;

		if (decode_line(&d, bad[i][0], &m, &why) != -1 || !strstr(why, bad[i][1]))
			fail_msg("%s: \"%s\"", bad[i][0], why ? why : "taken");
		g_free(why);
	}
	remote_decoder_fini(&d);
}

/* A line that comes a byte at a time, and one that never ends. */
static void pieces(void **state)
{
	static const char line[] = "{\"op\":\"irq\",\"level\":1}\n{\"op\"";
	size_t end = strcspn(line, "\n") + 1;
	struct remote_decoder d;
	struct remote_msg m;
	GError *error = NULL;
	uint8_t *endless = g_malloc(REMOTE_LINE_MAX);

	(void)state;
	remote_decoder_init(&d);
	for (size_t n = 0; n < end; n++)
		assert_int_equal(remote_decode(&d, (const uint8_t *)line, n, &m, NULL), 0);
	assert_int_equal(remote_decode(&d, (const uint8_t *)line, sizeof(line) - 1, &m, NULL), end);
	memset(endless, ' ', REMOTE_LINE_MAX);
	assert_int_equal(remote_decode(&d, endless, REMOTE_LINE_MAX - 1, &m, NULL), 0);
	assert_int_equal(remote_decode(&d, endless, REMOTE_LINE_MAX, &m, &error), -1);
	assert_non_null(strstr(error->message, "more than 262144"));
	g_error_free(error);
	g_free(endless);
	remote_decoder_fini(&d);
}

static ssize_t decode_header(uint32_t len, uint8_t type, uint32_t id, uint32_t arg,
			     struct remote_msg *m)
{
	uint8_t *buf = g_malloc0(REMOTE_MESSAGE_MAX + 1);
	GError *error = NULL;
	ssize_t n;

	put_le32(buf, len);
	buf[4] = type;
	put_le32(buf + 8, id);
	put_le32(buf + 12, arg);
	n = remote_decode_binary(buf, REMOTE_MESSAGE_MAX + 1, m, &error);
	assert_int_equal(n < 0, error != NULL);
	g_clear_error(&error);
	g_free(buf);
	return n;
}

static void binary_in(void **state)
{
	struct remote_msg m;

	(void)state;
	assert_int_equal(decode_header(24, REMOTE_DONE, 1, 0, &m), 24);
	assert_true(m.has_value);
	assert_int_equal(decode_header(16, REMOTE_DONE, 1, 0, &m), 16);
	assert_false(m.has_value);
	assert_int_equal(decode_header(16, REMOTE_DONE, 0, 0, &m), -1);
	assert_int_equal(decode_header(20, REMOTE_DONE, 1, 0, &m), -1);
	assert_int_equal(decode_header(16, REMOTE_IRQ, 0, 1, &m), 16);
	assert_int_equal(decode_header(16, REMOTE_IRQ, 0, 2, &m), -1);
	assert_int_equal(decode_header(17, REMOTE_IRQ, 0, 1, &m), -1);
	assert_int_equal(decode_header(16, REMOTE_MSI, 0, UINT32_MAX, &m), 16);
	assert_int_equal(decode_header(24, REMOTE_DMA_READ, 1, 65536, &m), 24);
	assert_int_equal(decode_header(24, REMOTE_DMA_READ, 1, 65537, &m), -1);
	assert_int_equal(decode_header(24, REMOTE_DMA_READ, 1, 0, &m), -1);
	assert_int_equal(decode_header(24, REMOTE_DMA_WRITE, 1, 0, &m), -1);
	assert_int_equal(decode_header(25, REMOTE_DMA_WRITE, 1, 0, &m), 25);
	assert_int_equal(m.len, 1);
	assert_int_equal(decode_header(REMOTE_MESSAGE_MAX, REMOTE_DMA_WRITE, 1, 0, &m),
			 REMOTE_MESSAGE_MAX);
	assert_int_equal(decode_header(REMOTE_MESSAGE_MAX + 1, REMOTE_DMA_WRITE, 1, 0, &m), -1);
	assert_int_equal(decode_header(16 + 4096, REMOTE_LOG, 0, 3, &m), 16 + 4096);
	assert_int_equal(decode_header(17 + 4096, REMOTE_LOG, 0, 3, &m), -1);
	assert_int_equal(decode_header(16, REMOTE_LOG, 0, 4, &m), -1);
	assert_int_equal(decode_header(24, REMOTE_READ, 1, 0, &m), -1);
	assert_int_equal(decode_header(16, 0, 0, 0, &m), -1);
	assert_int_equal(decode_header(16, 255, 0, 0, &m), -1);
	for (uint32_t len = 0; len < 16; len++)
		assert_int_equal(decode_header(len, REMOTE_IRQ, 0, 0, &m), -1);
	assert_int_equal(decode_header(UINT32_MAX, REMOTE_DMA_WRITE, 1, 0, &m), -1);
}

static void described(void **state)
{
	static const char line[] =
		"{\"op\":\"describe\",\"protocol\":1,\"name\":\"x\",\"vendor\":\"0x1af4\","
		"\"device\":2,\"bars\":[{\"index\":0,\"size\":\"0x1000\",\"64bit\":true}],\"msix\":"
		"3,"
		"\"pcie\":true,\"format\":\"binary\",\"properties\":[\"a\",{\"name\":\"b\","
		"\"type\":\"int\",\"min\":-5,\"max\":5,\"default\":-1},{\"name\":\"c\",\"type\":"
		"\"enum\",\"values\":[\"u\",\"v\"],\"default\":\"v\"}]}";
	g_autofree char *text = g_strdup(line);
	struct remote_desc *d = remote_desc_parse(line, strlen(line), NULL), *e;

	(void)state;
	assert_non_null(d);
	assert_true(d->binary && d->pcie && !d->pm);
	assert_int_equal(d->id.vendor, 0x1af4);
	assert_int_equal(d->bars[0].len, 4096);
	assert_int_equal(d->msix, 3);
	assert_int_equal(d->table_bar, 2); /* behind the 64-bit one */
	assert_int_equal(d->pba_off, 48);
	assert_int_equal(d->n_props, 4);
	assert_true((int64_t)d->props[1].def == -1 && (int64_t)d->props[1].min == -5);
	assert_int_equal(d->props[2].def, 1);
	memcpy(strstr(text, "\"format"), "\"farmat",
	       7); /* of another key it is text, and differs */
	e = remote_desc_parse(text, strlen(text), NULL);
	assert_non_null(e);
	assert_false(e->binary);
	remote_desc_free(e);
	strcpy(text, line);
	memcpy(strstr(text, "\"device\":2"), "\"device\":3", 10);
	e = remote_desc_parse(text, strlen(text), NULL);
	assert_non_null(e);
	assert_false(remote_desc_is_equal(d, e));
	remote_desc_free(e);
	for (size_t n = 0; n < strlen(line); n++) /* torn at every byte */
		assert_null(remote_desc_parse(line, n, NULL));
	remote_desc_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_out),  cmocka_unit_test(binary_out),
		cmocka_unit_test(text_in),   cmocka_unit_test(bad_text),
		cmocka_unit_test(pieces),    cmocka_unit_test(binary_in),
		cmocka_unit_test(described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
