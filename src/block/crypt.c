/* Sectors in cipher: see crypt.h. */
#include "block/crypt.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "base/err.h"

enum { IV_LEN = 16, ESSIV_KEY = 32 };
enum iv_kind { IV_PLAIN, IV_PLAIN64, IV_ESSIV };

struct crypt {
	gnutls_cipher_hd_t cipher, essiv;
	enum iv_kind iv;
};

static const struct {
	const char *mode;
	bool xts;
	enum iv_kind iv;
} modes[] = {
	{"xts-plain64", true, IV_PLAIN64},     {"xts-plain", true, IV_PLAIN},
	{"cbc-plain64", false, IV_PLAIN64},    {"cbc-plain", false, IV_PLAIN},
	{"cbc-essiv:sha256", false, IV_ESSIV},
};

static gnutls_cipher_algorithm_t algorithm(bool xts, size_t key_len)
{
	if (xts) {
		return key_len == 64   ? GNUTLS_CIPHER_AES_256_XTS
		       : key_len == 32 ? GNUTLS_CIPHER_AES_128_XTS
				       : GNUTLS_CIPHER_UNKNOWN;
	}
	return key_len == 32   ? GNUTLS_CIPHER_AES_256_CBC
	       : key_len == 24 ? GNUTLS_CIPHER_AES_192_CBC
	       : key_len == 16 ? GNUTLS_CIPHER_AES_128_CBC
			       : GNUTLS_CIPHER_UNKNOWN;
}

static bool init_cipher(gnutls_cipher_hd_t *handle, gnutls_cipher_algorithm_t algo,
			const uint8_t *key, size_t len)
{
	uint8_t zero[IV_LEN] = {0};
	const gnutls_datum_t k = {(unsigned char *)key, (unsigned)len}, iv = {zero, IV_LEN};

	return gnutls_cipher_init(handle, algo, &k, &iv) == 0;
}

struct crypt *crypt_new(const char *name, const char *mode, const uint8_t *key, size_t key_len,
			GError **error)
{
	gnutls_cipher_algorithm_t algo = GNUTLS_CIPHER_UNKNOWN;
	struct crypt *c = g_new0(struct crypt, 1);
	uint8_t hash[ESSIV_KEY];
	bool ok;

	for (unsigned i = 0; i < G_N_ELEMENTS(modes) && !strcmp(name, "aes"); i++) {
		if (!strcmp(mode, modes[i].mode)) {
			algo = algorithm(modes[i].xts, key_len);
			c->iv = modes[i].iv;
		}
	}
	ok = algo != GNUTLS_CIPHER_UNKNOWN && init_cipher(&c->cipher, algo, key, key_len);
	if (ok && c->iv == IV_ESSIV)
		ok = gnutls_hash_fast(GNUTLS_DIG_SHA256, key, key_len, hash) == 0 &&
		     init_cipher(&c->essiv, GNUTLS_CIPHER_AES_256_CBC, hash, ESSIV_KEY);
	if (ok)
		return c;
	err_set(error, ENOTSUP, "LUKS: cipher %s-%s with a key of %zu bits is not supported", name,
		mode, key_len * 8);
	crypt_free(c);
	return NULL;
}

void crypt_free(struct crypt *c)
{
	if (c && c->cipher)
		gnutls_cipher_deinit(c->cipher);
	if (c && c->essiv)
		gnutls_cipher_deinit(c->essiv);
	g_free(c);
}

static bool make_iv(struct crypt *c, uint64_t sector, uint8_t *iv)
{
	static const uint8_t zero[IV_LEN];

	if (c->iv == IV_PLAIN)
		sector &= UINT32_MAX;
	memset(iv, 0, IV_LEN);
	for (unsigned i = 0; i < sizeof(sector); i++)
		iv[i] = (uint8_t)(sector >> (8 * i));
	if (c->iv != IV_ESSIV)
		return true;
	gnutls_cipher_set_iv(c->essiv, (void *)zero, IV_LEN);
	return gnutls_cipher_encrypt(c->essiv, iv, IV_LEN) == 0;
}

bool crypt_sectors(struct crypt *c, bool encrypt, uint64_t sector, uint8_t *buf, size_t len)
{
	uint8_t iv[IV_LEN];

	for (size_t at = 0; at < len; at += CRYPT_SECTOR, sector++) {
		int res;

		if (!make_iv(c, sector, iv))
			return false;
		gnutls_cipher_set_iv(c->cipher, iv, IV_LEN);
		res = encrypt ? gnutls_cipher_encrypt(c->cipher, buf + at, CRYPT_SECTOR)
			      : gnutls_cipher_decrypt(c->cipher, buf + at, CRYPT_SECTOR);
		if (res < 0)
			return false;
	}
	return true;
}
