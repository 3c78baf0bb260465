/*
 * Fuzzer: what a program sends, in both forms and as a description. The first byte chooses; the
 * rest arrives in pieces of a size it chooses too, as from a pipe.
 */
#include "device/remote_codec.h"
#include "device/remote_describe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything a message points to is read: a sanitizer looks at it. */
static void use(const struct remote_msg *m)
{
	unsigned sum = 0;

	for (size_t i = 0; i < m->len; i++)
		sum += m->data[i];
	if (m->type < REMOTE_DONE || m->type > REMOTE_LOG || m->len > REMOTE_DMA_MAX ||
	    sum > 255 * m->len)
		abort();
}

static void decode(const uint8_t *data, size_t size, bool binary, size_t step)
{
	struct remote_decoder d;
	struct remote_msg m;
	size_t at = 0, have = 0;
	ssize_t n = 0;

	remote_decoder_init(&d);
	d.binary = binary;
	while (have < size && n >= 0) {
		have = MIN(have + step, size);
		while ((n = remote_decode(&d, data + at, have - at, &m, NULL)) > 0) {
			if ((size_t)n > have - at)
				abort();
			use(&m);
			at += (size_t)n;
		}
	}
	remote_decoder_fini(&d);
}

static void describe(const uint8_t *data, size_t size)
{
	struct remote_desc *d = remote_desc_parse((const char *)data, size, NULL);

	if (d && (!d->name || !d->n_props || !remote_desc_is_equal(d, d)))
		abort();
	remote_desc_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] % 3 == 2)
		describe(data + 1, size - 1);
	else
		decode(data + 1, size - 1, data[0] % 3, 1 + data[0] / 3);
	return 0;
}
