/*
 * Finding the superblock: copy B is the file's last block, copy A is where B says, or 6 MiB before
 * the end. When neither is there, a short search backwards for copy A tells a file that was cut off
 * or appended to from one that is something else; what it finds goes into the message only.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "disc/store_priv.h"

enum { SEARCH_STEPS = 4096 };

static co_fn enum super_result read_copy(struct block_node *node, uint64_t off,
					 struct super_found *copy, GError **error)
{
	int res = block_pread(node, off, copy->block, STORE_BLOCK);

	if (res < 0) {
		err_set_errno(error, -res, "reading the superblock at 0x%" PRIx64, off);
		return SUPER_UNREADABLE;
	}
	return super_decode(&copy->super, copy->block, error);
}

static bool explain_found(const struct store_super *super, uint64_t off, uint64_t len,
			  GError **error)
{
	if (super->file_len > len) {
		return err_set(
			error, EINVAL,
			"truncated: its tail is missing (length %" PRIu64 ", superblock copy A "
			"at 0x%" PRIx64 " says %" PRIu64 "); restore it from a complete copy",
			len, off, super->file_len);
	}
	return err_set(error, EINVAL,
		       "something was appended to it (length %" PRIu64
		       ", superblock copy A at 0x%" PRIx64 " says %" PRIu64
		       "); \"truncate -s %" PRIu64 "\" would undo that",
		       len, off, super->file_len, super->file_len);
}

/* Neither copy is where it should be: says why, as well as can be told. Always false. */
static co_fn bool explain(struct block_node *node, bool damaged, struct super_found *copy,
			  GError **error)
{
	uint64_t len = block_length(node);
	uint64_t off = len / META_ALIGN * META_ALIGN;

	for (unsigned i = 0; i < SEARCH_STEPS; i++, off -= META_ALIGN) {
		if (len - off >= STORE_BLOCK && read_copy(node, off, copy, NULL) == SUPER_OK &&
		    copy->super.meta_off == off && copy->super.file_len != len)
			return explain_found(&copy->super, off, len, error);
		if (off == 0)
			break;
	}
	if (damaged) {
		return err_set(
			error, EIO,
			"both copies of the superblock are damaged (checksum); restore the file "
			"from a copy");
	}
	return err_set(error, EINVAL, "not a .disc file (no superblock in its last 4096 bytes)");
}

/* Copy B is good: whether A agrees, and which counts. */
static co_fn void compare_copies(struct block_node *node, struct super_found *found)
{
	struct super_found *a = g_new0(struct super_found, 1);

	if (read_copy(node, found->super.meta_off, a, NULL) != SUPER_OK ||
	    a->super.file_len != found->super.file_len ||
	    memcmp(a->super.uuid, found->super.uuid, sizeof(a->super.uuid)) != 0) {
		found->heal_a = true;
	} else if ((int32_t)(a->super.copy_seq - found->super.copy_seq) > 0) {
		*found = *a;
		found->heal_b = true;
	} else {
		found->heal_a = a->super.copy_seq != found->super.copy_seq;
	}
	g_free(a);
}

co_fn bool super_find(struct block_node *node, struct super_found *found, GError **error)
{
	uint64_t len = block_length(node);
	GError *why = NULL;
	enum super_result b;

	if (len < META_LEN)
		return explain(node, false, found, error);
	b = read_copy(node, len - STORE_BLOCK, found, &why);
	if (b == SUPER_REFUSED || b == SUPER_UNREADABLE) {
		g_propagate_error(error, why);
		return false;
	}
	g_clear_error(&why);
	if (b == SUPER_OK) {
		if (found->super.meta_off == len - STORE_BLOCK) /* cut off just behind copy A */
			return explain_found(&found->super, found->super.meta_off, len, error);
		if (found->super.file_len != len) {
			return err_set(error, EINVAL,
				       "is %" PRIu64 " bytes long, its superblock says %" PRIu64
				       "; restore it from a complete copy",
				       len, found->super.file_len);
		}
		compare_copies(node, found);
		return true;
	}
	found->heal_b = true;
	if (read_copy(node, len - META_LEN, found, NULL) == SUPER_OK &&
	    found->super.file_len == len)
		return true;
	return explain(node, b == SUPER_DAMAGED, found, error);
}

co_fn int super_heal(struct block_node *node, const struct super_found *found)
{
	uint64_t off = found->heal_a ? found->super.meta_off : found->super.file_len - STORE_BLOCK;

	if (!found->heal_a && !found->heal_b)
		return 0;
	return block_pwrite(node, off, found->block, STORE_BLOCK, BLOCK_FUA);
}

co_fn bool disc_store_probe(struct block_node *file)
{
	struct super_found *copy = g_new0(struct super_found, 1);
	uint64_t len = block_length(file);
	bool is = false;

	if (len >= META_LEN) {
		enum super_result b = read_copy(file, len - STORE_BLOCK, copy, NULL);

		is = (b != SUPER_FOREIGN && b != SUPER_UNREADABLE) ||
		     (read_copy(file, len - META_LEN, copy, NULL) == SUPER_OK &&
		      copy->super.file_len == len);
	}
	g_free(copy);
	return is;
}
