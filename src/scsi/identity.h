/* How a unit names itself in INQUIRY data: texts, and the identification page. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { IDENTITY_VENDOR_LEN = 8, IDENTITY_PRODUCT_LEN = 16, IDENTITY_REVISION_LEN = 4 };
enum { IDENTITY_SERIAL_MAX = 36, IDENTITY_PAGE_MAX = 96 };

/* Left-aligned, padded with blanks, no NUL. */
void identity_put_text(uint8_t *out, const char *text, size_t len);
/* The number that follows from vendor, product and serial number: locally assigned NAA. */
uint64_t identity_naa(const char *vendor, const char *product, const char *serial);
/*
 * The descriptors of VPD page 83h: vendor, product and serial number as text, and their NAA. Their
 * length; out has room for IDENTITY_PAGE_MAX bytes.
 */
size_t identity_put_descriptors(uint8_t *out, const char *vendor, const char *product,
				const char *serial);
