/* Making, copying and freeing what is recorded about a disc; and its variable pieces. */
#include "disc/state.h"

#include <string.h>

/* g_memdup2() is younger than the GLib that we ask for. */
static void *memdup(const void *data, uint32_t len)
{
	void *copy = g_malloc(len);

	memcpy(copy, data, len);
	return copy;
}

static void blob_clear(void *p)
{
	struct disc_blob *blob = p;

	g_free(blob->data);
}

static GArray *blobs_new(void)
{
	GArray *blobs = g_array_new(FALSE, TRUE, sizeof(struct disc_blob));

	g_array_set_clear_func(blobs, blob_clear);
	return blobs;
}

struct disc_state *disc_state_new(void)
{
	struct disc_state *s = g_new0(struct disc_state, 1);

	s->sessions = g_array_new(FALSE, TRUE, sizeof(struct disc_session));
	s->tracks = g_array_new(FALSE, TRUE, sizeof(struct disc_track));
	s->blobs = blobs_new();
	s->punches = g_array_new(FALSE, TRUE, sizeof(struct disc_punch));
	return s;
}

void disc_state_free(struct disc_state *s)
{
	if (!s)
		return;
	g_array_unref(s->sessions);
	g_array_unref(s->tracks);
	g_array_unref(s->blobs);
	g_array_unref(s->punches);
	g_free(s);
}

struct disc_state *disc_state_copy(const struct disc_state *s)
{
	struct disc_state *copy = g_new(struct disc_state, 1);

	*copy = *s;
	copy->sessions = g_array_copy(s->sessions);
	copy->tracks = g_array_copy(s->tracks);
	copy->punches = g_array_copy(s->punches);
	copy->blobs = blobs_new();
	for (unsigned i = 0; i < s->blobs->len; i++) {
		struct disc_blob blob = g_array_index(s->blobs, struct disc_blob, i);

		blob.data = memdup(blob.data, blob.len);
		g_array_append_val(copy->blobs, blob);
	}
	return copy;
}

static struct disc_blob *find_blob(const struct disc_state *s, uint32_t type, uint32_t key)
{
	for (unsigned i = 0; i < s->blobs->len; i++) {
		struct disc_blob *blob = &g_array_index(s->blobs, struct disc_blob, i);

		if (blob->type == type && blob->key == key)
			return blob;
	}
	return NULL;
}

const struct disc_blob *state_find_blob(const struct disc_state *s, uint32_t type, uint32_t key)
{
	return find_blob(s, type, key);
}

void state_put_blob(struct disc_state *s, uint32_t type, uint32_t key, const void *data,
		    uint32_t len)
{
	struct disc_blob *old = find_blob(s, type, key);
	struct disc_blob blob = {.type = type, .key = key, .len = len};

	if (len > 0)
		blob.data = memdup(data, len);
	if (old && len > 0) {
		g_free(old->data);
		*old = blob;
	} else if (old) {
		g_array_remove_index(s->blobs,
				     (unsigned)(old - (struct disc_blob *)s->blobs->data));
	} else if (len > 0) {
		g_array_append_val(s->blobs, blob);
	}
}
