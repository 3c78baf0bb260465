/* The identification of a unit (SPC-4 7.8.6; mmc.md 2.3): see identity.h. */
#include "scsi/identity.h"

#include <string.h>

#include "base/bytes.h"
#include "base/field.h"

/* clang-format off */
enum {
	ID_CODE_SET = BITS(0, 3, 0), ID_TYPE = BITS(1, 3, 0), ID_LEN = U8(3), ID_HEAD_LEN = 4,
	CODE_SET_BINARY = 1, CODE_SET_ASCII = 2, TYPE_T10_VENDOR = 1, TYPE_NAA = 3, NAA_LOCAL = 3,
	NAA_LEN = 8,
	TEXT_MAX = IDENTITY_VENDOR_LEN + IDENTITY_PRODUCT_LEN + IDENTITY_SERIAL_MAX,
};
/* clang-format on */

void identity_put_text(uint8_t *out, const char *text, size_t len)
{
	size_t n = strnlen(text, len);

	memset(out, ' ', len);
	memcpy(out, text, n);
}

static size_t put_name(uint8_t *text, const char *vendor, const char *product, const char *serial)
{
	size_t len = strnlen(serial, IDENTITY_SERIAL_MAX);

	identity_put_text(text, vendor, IDENTITY_VENDOR_LEN);
	identity_put_text(text + IDENTITY_VENDOR_LEN, product, IDENTITY_PRODUCT_LEN);
	memcpy(text + IDENTITY_VENDOR_LEN + IDENTITY_PRODUCT_LEN, serial, len);
	return IDENTITY_VENDOR_LEN + IDENTITY_PRODUCT_LEN + len;
}

static uint64_t naa_of(const uint8_t *text, size_t len)
{
	uint64_t name = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		name = (name ^ text[i]) * UINT64_C(0x100000001b3);
	return (name & UINT64_C(0x0fffffffffffffff)) | (uint64_t)NAA_LOCAL << 60;
}

uint64_t identity_naa(const char *vendor, const char *product, const char *serial)
{
	uint8_t text[TEXT_MAX];

	return naa_of(text, put_name(text, vendor, product, serial));
}

static size_t put_descriptor(uint8_t *out, unsigned code_set, unsigned type, const void *data,
			     size_t len)
{
	memset(out, 0, ID_HEAD_LEN);
	fld_put(out, ID_CODE_SET, code_set);
	fld_put(out, ID_TYPE, type);
	fld_put(out, ID_LEN, (uint32_t)len);
	memcpy(out + ID_HEAD_LEN, data, len);
	return ID_HEAD_LEN + len;
}

size_t identity_put_descriptors(uint8_t *out, const char *vendor, const char *product,
				const char *serial)
{
	uint8_t text[TEXT_MAX], naa[NAA_LEN];
	size_t text_len = put_name(text, vendor, product, serial), len;

	put_be64(naa, naa_of(text, text_len));
	len = put_descriptor(out, CODE_SET_ASCII, TYPE_T10_VENDOR, text, text_len);
	return len + put_descriptor(out + len, CODE_SET_BINARY, TYPE_NAA, naa, sizeof(naa));
}
