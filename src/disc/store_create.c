/*
 * Making a .disc file: its final length and the room for all metadata first, so that neither can
 * fail later; then the state and both superblocks, the one at the end last.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "disc/store_priv.h"

static co_fn bool set_length(struct block_node *node, const struct store_super *super,
			     GError **error)
{
	int res = block_truncate(node, super->file_len);
	char *size;

	if (res == 0)
		return true;
	size = size_text(super->file_len);
	if (res == -EFBIG || res == -EINVAL) {
		err_set(error, EFBIG,
			"the file must be %s long, which is more than this file system or the "
			"limit for "
			"files (ulimit -f) allows; put it on another file system (FAT ends at 4 "
			"GiB)",
			size);
	} else {
		err_set_errno(error, -res, "making the file %s long", size);
	}
	g_free(size);
	return false;
}

static co_fn bool reserve(struct block_node *node, uint64_t off, uint64_t len, bool wanted,
			  GError **error)
{
	int res = block_allocate(node, off, len);
	char *size;

	if (res == 0 || (res == -ENOTSUP && !wanted))
		return true;
	size = size_text(len);
	if (res == -ENOSPC || res == -EDQUOT) {
		err_set(error, -res,
			"the file system has no room for %s of %s; free some, or put the file "
			"elsewhere",
			size, wanted ? "preallocated data" : "metadata");
	} else {
		err_set_errno(error, -res, "reserving %s at 0x%" PRIx64, size, off);
	}
	g_free(size);
	return false;
}

static co_fn int write_first_slot(struct block_node *node, const struct store_super *super,
				  const struct disc_state *state)
{
	struct disc_store *s = g_new0(struct disc_store, 1);
	struct disc_history created = {.event = EVENT_CREATED, .blocks = super->max_blocks};
	int res;

	/* A store as far as a checkpoint and the history need one; it goes to slot 0. */
	s->node = node;
	s->super = *super;
	s->writable = true;
	s->slot.index = 1;
	s->next_generation = 1;
	s->history_known = true;
	rows_init(&s->scratch);
	rows_from_state(&s->scratch, state, 1, NULL);
	res = slot_checkpoint(s, &s->scratch, true);
	if (res == 0)
		res = disc_store_add_history(s, &created);
	rows_fini(&s->scratch);
	g_free(s);
	return res;
}

static co_fn int write_supers(struct block_node *node, const struct store_super *super)
{
	uint8_t *block = g_malloc(STORE_BLOCK);
	int res;

	super_encode(super, block);
	res = block_pwrite(node, super->meta_off, block, STORE_BLOCK, 0);
	if (res == 0)
		res = block_flush(node);
	if (res == 0)
		res = block_pwrite(node, super->file_len - STORE_BLOCK, block, STORE_BLOCK,
				   BLOCK_FUA);
	g_free(block);
	return res;
}

static co_fn bool format(struct block_node *node, const struct store_super *super,
			 const struct disc_state *state, unsigned flags, GError **error)
{
	int res;

	if (!set_length(node, super, error) ||
	    !reserve(node, super->meta_off, META_LEN, false, error))
		return false;
	if (flags & STORE_PREALLOCATE &&
	    !reserve(node, 0, super->planes[PLANE_USER].len, true, error))
		return false;
	res = write_first_slot(node, super, state);
	if (res == -ENOSPC)
		return err_set_errno(error, -res, "writing the state at 0x%" PRIx64,
				     super->slots[0].state_off);
	if (res == 0)
		res = write_supers(node, super);
	return res == 0 ||
	       err_set_errno(error, -res, "writing the metadata at 0x%" PRIx64, super->meta_off);
}

co_fn bool disc_store_format(struct block_node *file, const struct disc_state *state,
			     unsigned flags, GError **error)
{
	struct store_super *super;
	bool ok;

	if (!block_is_writable(file))
		return err_set(error, EROFS, "%s: opened read-only", block_name(file));
	if (block_length(file) > 0)
		return err_set(error, EEXIST, "%s: is not empty", block_name(file));
	if (state->max_blocks < 1 || state->max_blocks > INT32_MAX)
		return err_set(error, EINVAL, "%s: %u blocks, must be 1 to %d", block_name(file),
			       state->max_blocks, INT32_MAX);
	if (!rows_check_state(state, error))
		return err_prefix(error, "%s", block_name(file));
	super = g_new(struct store_super, 1);
	super_plan(super, state);
	ok = format(file, super, state, flags, error) || err_prefix(error, "%s", block_name(file));
	g_free(super);
	return ok;
}

struct tidy_job {
	const char *path;
	char *folder;
};

static int unlink_run(void *arg)
{
	struct tidy_job *job = arg;

	return unlink(job->path) < 0 ? -errno : 0;
}

/* The name itself must be durable, too. */
static int sync_folder_run(void *arg)
{
	struct tidy_job *job = arg;
	int fd = open(job->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), res = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 && errno != EINVAL)
		res = -errno;
	close(fd);
	return res;
}

co_fn bool disc_store_create(const char *path, const struct disc_state *state, unsigned flags,
			     GError **error)
{
	struct tidy_job tidy = {.path = path};
	struct opts *options = opts_new();
	struct block_node *node;
	bool ok;
	int res;

	opts_set(options, "driver", "file");
	opts_set(options, "filename", path);
	opts_set(options, "create", "on");
	node = block_open(options, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, error);
	opts_free(options);
	if (!node)
		return false;
	ok = disc_store_format(node, state, flags, error);
	if (ok) {
		tidy.folder = g_path_get_dirname(path);
		res = job_run(sync_folder_run, &tidy);
		if (res < 0)
			ok = err_set_errno(error, -res, "%s: making its name durable in %s", path,
					   tidy.folder);
		g_free(tidy.folder);
	}
	if (!ok)
		job_run(unlink_run, &tidy); /* what matters is already in *error */
	block_unref(node);
	return ok;
}
