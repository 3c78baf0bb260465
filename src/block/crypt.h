/* Sectors of 512 bytes in cipher, as LUKS has them: AES in XTS or CBC mode. Pure, by GnuTLS. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CRYPT_SECTOR = 512, CRYPT_MAX_KEY = 64 };

struct crypt;

/* name and mode as in a LUKS header ("aes", "xts-plain64"). NULL where there is no such thing here.
 */
struct crypt *crypt_new(const char *name, const char *mode, const uint8_t *key, size_t key_len,
			GError **error);
void crypt_free(struct crypt *c);
/* len bytes in whole sectors, the first of which has that number; in place. False: the library
 * failed. */
bool crypt_sectors(struct crypt *c, bool encrypt, uint64_t sector, uint8_t *buf, size_t len);
