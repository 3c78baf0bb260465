/*
 * Unlocking a LUKS version 1 header: a slot's key, derived from the secret (PBKDF2), opens the key
 * material, 4000 stripes which only together, each diffused into the next, are the master key; its
 * digest in the header says whether it is the right one.
 */
#include "block/luks.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum { /* where fields lie */
       LH_VERSION = 6,
       LH_CIPHER = 8,
       LH_MODE = 40,
       LH_HASH = 72,
       LH_KEY_LEN = 108,
       LH_DIGEST = 112,
       LH_DIGEST_SALT = 132,
       LH_DIGEST_ITERATIONS = 164,
       LH_SLOTS = 208,
       LH_LEN = 592,
       SLOT_LEN = 48,
       SLOT_ITERATIONS = 4,
       SLOT_SALT = 8,
       SLOT_MATERIAL = 40,
       SLOT_STRIPES = 44,
};
enum { SLOTS = 8, TEXT = 32, SALT = 32, DIGEST = 20, STRIPES = 4000, MAX_HASH = 64 };
#define SLOT_ACTIVE ((uint32_t)0x00ac71f3)
static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
static const uint32_t max_iterations = 100000000; /* a minute or two */

static const struct {
	const char *name;
	gnutls_mac_algorithm_t mac;
	gnutls_digest_algorithm_t digest;
	unsigned len;
} hashes[] = {
	{"sha1", GNUTLS_MAC_SHA1, GNUTLS_DIG_SHA1, 20},
	{"sha256", GNUTLS_MAC_SHA256, GNUTLS_DIG_SHA256, 32},
	{"sha384", GNUTLS_MAC_SHA384, GNUTLS_DIG_SHA384, 48},
	{"sha512", GNUTLS_MAC_SHA512, GNUTLS_DIG_SHA512, 64},
};

struct luks {
	uint8_t head[LH_LEN];
	char cipher[TEXT + 1], mode[TEXT + 1], hash[TEXT + 1];
	unsigned hash_index;
	size_t key_len;
	/* for the job */
	const char *secret;
	const uint8_t *slot;
	uint8_t *material;
	uint8_t key[CRYPT_MAX_KEY]; /* the result */
};

static bool bad(GError **error, unsigned off, const char *what)
{
	return err_set(error, EINVAL, "LUKS: at offset %u of the encryption header %s", off, what);
}

static bool parse(struct luks *l, GError **error)
{
	const uint8_t *p = l->head;

	if (memcmp(p, magic, sizeof(magic)) != 0 || get_be16(p + LH_VERSION) != 1)
		return bad(error, 0, "is no header of version 1");
	memcpy(l->cipher, p + LH_CIPHER, TEXT);
	memcpy(l->mode, p + LH_MODE, TEXT);
	memcpy(l->hash, p + LH_HASH, TEXT);
	l->key_len = get_be32(p + LH_KEY_LEN);
	if (l->key_len < 16 || l->key_len > CRYPT_MAX_KEY)
		return bad(error, LH_KEY_LEN, "is no length of a key");
	if (get_be32(p + LH_DIGEST_ITERATIONS) < 1 ||
	    get_be32(p + LH_DIGEST_ITERATIONS) > max_iterations)
		return bad(error, LH_DIGEST_ITERATIONS,
			   "is a number of iterations that is not 1 to 100000000");
	while (l->hash_index < G_N_ELEMENTS(hashes) &&
	       strcmp(l->hash, hashes[l->hash_index].name) != 0)
		l->hash_index++;
	if (l->hash_index == G_N_ELEMENTS(hashes)) {
		g_autofree char *name = g_utf8_make_valid(l->hash, -1);

		return err_set(error, ENOTSUP, "LUKS: hash \"%s\" is not supported", name);
	}
	return true;
}

static bool derive(const struct luks *l, const void *secret, size_t len, const uint8_t *salt,
		   uint32_t iterations, uint8_t *out, size_t out_len)
{
	const gnutls_datum_t k = {(unsigned char *)secret, (unsigned)len};
	const gnutls_datum_t s = {(unsigned char *)salt, SALT};

	return gnutls_pbkdf2(hashes[l->hash_index].mac, &k, &s, iterations, out, out_len) == 0;
}

/* Each piece of the length of a hash becomes the hash of its number and itself. */
static bool diffuse(const struct luks *l, uint8_t *d)
{
	unsigned len = hashes[l->hash_index].len;
	uint8_t in[4 + MAX_HASH], out[MAX_HASH];

	for (size_t i = 0, at = 0; at < l->key_len; i++, at += len) {
		size_t n = MIN((size_t)len, l->key_len - at);

		put_be32(in, (uint32_t)i);
		memcpy(in + 4, d + at, n);
		if (gnutls_hash_fast(hashes[l->hash_index].digest, in, 4 + n, out) < 0)
			return false;
		memcpy(d + at, out, n);
	}
	return true;
}

static bool merge_stripes(struct luks *l)
{
	memset(l->key, 0, sizeof(l->key));
	for (size_t s = 0; s < STRIPES; s++) {
		for (size_t i = 0; i < l->key_len; i++)
			l->key[i] ^= l->material[s * l->key_len + i];
		if (s < STRIPES - 1 && !diffuse(l, l->key))
			return false;
	}
	return true;
}

static size_t material_len(const struct luks *l)
{
	return (l->key_len * STRIPES + CRYPT_SECTOR - 1) / CRYPT_SECTOR * CRYPT_SECTOR;
}

/* 0: the secret opens the slot, and l->key is the master key. */
static int try_slot(void *arg)
{
	struct luks *l = arg;
	uint8_t key[CRYPT_MAX_KEY], digest[DIGEST];
	struct crypt *c;
	bool ok;

	if (!derive(l, l->secret, strlen(l->secret), l->slot + SLOT_SALT,
		    get_be32(l->slot + SLOT_ITERATIONS), key, l->key_len))
		return -EIO;
	c = crypt_new(l->cipher, l->mode, key, l->key_len, NULL);
	ok = c && crypt_sectors(c, false, 0, l->material, material_len(l)) && merge_stripes(l) &&
	     derive(l, l->key, l->key_len, l->head + LH_DIGEST_SALT,
		    get_be32(l->head + LH_DIGEST_ITERATIONS), digest, DIGEST);
	crypt_free(c);
	gnutls_memset(key, 0, sizeof(key));
	if (!ok)
		return -EIO;
	return memcmp(digest, l->head + LH_DIGEST, DIGEST) != 0 ? -EACCES : 0;
}

/* 1: opened; 0: not by this one, or it is not in use; -errno */
static co_fn int open_slot(struct luks *l, struct block_node *file, uint64_t off, uint64_t len,
			   unsigned i)
{
	uint64_t at;
	int res;

	l->slot = l->head + LH_SLOTS + (size_t)i * SLOT_LEN;
	at = (uint64_t)get_be32(l->slot + SLOT_MATERIAL) * CRYPT_SECTOR;
	if (get_be32(l->slot) != SLOT_ACTIVE)
		return 0;
	if (get_be32(l->slot + SLOT_STRIPES) != STRIPES || at > len || material_len(l) > len - at ||
	    get_be32(l->slot + SLOT_ITERATIONS) < 1 ||
	    get_be32(l->slot + SLOT_ITERATIONS) > max_iterations)
		return -EINVAL;
	res = block_pread(file, off + at, l->material, material_len(l));
	if (res == 0)
		res = job_run(try_slot, l);
	return res == -EACCES ? 0 : res < 0 ? res : 1;
}

static co_fn bool unlock(struct luks *l, struct block_node *file, uint64_t off, uint64_t len,
			 GError **error)
{
	int res = 0;

	for (unsigned i = 0; i < SLOTS && res == 0; i++) {
		res = open_slot(l, file, off, len, i);
		if (res < 0) {
			return err_set_errno(error, -res,
					     "LUKS: key slot %u at offset %u of the encryption "
					     "header cannot be used",
					     i, LH_SLOTS + i * SLOT_LEN);
		}
	}
	return res > 0 || err_set(error, EACCES, "LUKS: the secret opens none of its key slots");
}

co_fn struct crypt *luks_open(struct block_node *file, uint64_t off, uint64_t len,
			      const char *secret, GError **error)
{
	struct luks *l = g_new0(struct luks, 1);
	struct crypt *c = NULL;
	int res = len < LH_LEN ? -EINVAL : block_pread(file, off, l->head, LH_LEN);

	l->secret = secret;
	if (res < 0) {
		err_set_errno(error, -res,
			      "LUKS: the encryption header at offset %" PRIu64
			      " of the file cannot be read",
			      off);
	} else if (parse(l, error)) {
		/* Whether there is such a cipher shows before a minute is spent on the key. */
		c = crypt_new(l->cipher, l->mode, l->key, l->key_len, error);
		crypt_free(c);
		l->material = c ? g_try_malloc(material_len(l)) : NULL;
		if (c && !l->material)
			err_set(error, ENOMEM, "LUKS: no memory for key material");
		c = NULL;
		if (l->material && unlock(l, file, off, len, error))
			c = crypt_new(l->cipher, l->mode, l->key, l->key_len, error);
	}
	g_free(l->material);
	gnutls_memset(l, 0, sizeof(*l));
	g_free(l);
	return c;
}
