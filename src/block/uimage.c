/*
 * Driver "uimage": what U-Boot's mkimage packs, to be read only (formats.md 2.10). A header of 64
 * bytes, big-endian, with a checksum of itself and one of the data, and the data, which are the
 * disk. Both checksums are verified when it is opened.
 *
 * Data compressed with gzip are unpacked into memory, up to 256 MiB of them; others cannot be
 * opened, only looked at. The data of types "multi" and "script" are a list of sizes and the parts;
 * these are the disk as they stand there.
 *
 * Options: "file.*" or "filename"; "part", of a list: only that one is the disk.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/drivers.h"

enum { HEAD_LEN = 64, NAME_LEN = 32, MAX_PARTS = 256, ENTRY = 4, CHUNK = 1 << 20 };
enum { FIRST_ROOM = 4 << 20, MAX_UNPACKED = 256 << 20, GZIP_BITS = 16 + 15 };
#define MAGIC 0x27051956u

enum { /* where fields are in the header */
       UI_MAGIC = 0,
       UI_HEAD_CRC = 4,
       UI_TIME = 8,
       UI_SIZE = 12,
       UI_LOAD = 16,
       UI_ENTRY = 20,
       UI_DATA_CRC = 24,
       UI_OS = 28,
       UI_ARCH = 29,
       UI_TYPE = 30,
       UI_CODEC = 31,
       UI_NAME = 32,
};
enum { TYPE_MULTI = 4, TYPE_SCRIPT = 6, CODEC_NONE = 0, CODEC_GZIP = 1 };

/* By their numbers; as mkimage calls them. */
static const char *const systems[] = {
	"invalid",  "openbsd",
	"netbsd",   "freebsd",
	"4_4bsd",   "linux",
	"svr4",     "esix",
	"solaris",  "irix",
	"sco",      "dell",
	"ncr",      "lynxos",
	"vxworks",  "psos",
	"qnx",      "u-boot",
	"rtems",    "artos",
	"unity",    "integrity",
	"ose",      "plan9",
	"openrtos", "arm-trusted-firmware",
	"tee",      "opensbi",
	"efi",      "elf",
};
static const char *const machines[] = {
	"invalid",    "alpha", "arm",      "x86",    "ia64",    "mips",    "mips64",
	"powerpc",    "s390",  "sh",       "sparc",  "sparc64", "m68k",    "nios",
	"microblaze", "nios2", "blackfin", "avr32",  "st200",   "sandbox", "nds32",
	"or1k",       "arm64", "arc",      "x86_64", "xtensa",  "riscv",
};
static const char *const types[] = {
	"invalid",         "standalone",   "kernel",       "ramdisk",    "multi",
	"firmware",        "script",       "filesystem",   "flat_dt",    "kwbimage",
	"imximage",        "ublimage",     "omapimage",    "aisimage",   "kernel_noload",
	"pblimage",        "mxsimage",     "gpimage",      "atmelimage", "socfpgaimage",
	"x86_setup",       "lpc32xximage", "loadable",     "rkimage",    "rksd",
	"rkspi",           "zynqimage",    "zynqmpimage",  "zynqmpbif",  "fpga",
	"vybridimage",     "tee",          "firmware_ivt", "pmmc",       "stm32image",
	"socfpgaimage_v1", "mtk_image",    "imx8mimage",   "imx8image",  "copro",
	"sunxi_egon",      "sunxi_toc0",   "fdt_legacy",   "spkgimage",  "starfive_spl",
};
static const char *const codecs[] = {"none", "gzip", "bzip2", "lzma", "lzo", "lz4", "zstd"};

struct part {
	uint64_t off, len;
};

struct uimage {
	uint8_t head[HEAD_LEN];
	GArray *parts;     /* struct part; of multi and script */
	struct part disk;  /* where it is in the file */
	uint8_t *unpacked; /* or it is this */
};

static int uimage_probe(const uint8_t *head, size_t len, const char *name)
{
	(void)name;
	return len >= HEAD_LEN && get_be32(head) == MAGIC ? 100 : 0;
}

static uint32_t field(const struct uimage *u, unsigned off)
{
	return get_be32(u->head + off);
}

static bool has_list(const struct uimage *u)
{
	return u->head[UI_TYPE] == TYPE_MULTI || u->head[UI_TYPE] == TYPE_SCRIPT;
}

static bool check_header(const struct uimage *u, uint64_t file_len, GError **error)
{
	static const struct {
		unsigned off;
		const char *name;
	} kinds[] = {{UI_OS, "the operating system"},
		     {UI_ARCH, "the architecture"},
		     {UI_TYPE, "the type"}};
	uint8_t copy[HEAD_LEN];
	uint32_t crc;

	if (field(u, UI_MAGIC) != MAGIC) {
		return err_set(error, EINVAL,
			       "uimage: the magic number at offset 0 is %08" PRIx32
			       "; must be %08x",
			       field(u, UI_MAGIC), MAGIC);
	}
	memcpy(copy, u->head, sizeof(copy));
	put_be32(copy + UI_HEAD_CRC, 0);
	crc = (uint32_t)crc32(0, copy, sizeof(copy));
	if (crc != field(u, UI_HEAD_CRC)) {
		return err_set(error, EINVAL,
			       "uimage: the header's checksum at offset %d is %08" PRIx32
			       ", and the header has %08" PRIx32,
			       UI_HEAD_CRC, field(u, UI_HEAD_CRC), crc);
	}
	if (field(u, UI_SIZE) > file_len - HEAD_LEN) {
		return err_set(error, EINVAL,
			       "uimage: the size of the data at offset %d is %" PRIu32
			       ", and the file has %" PRIu64 " bytes behind the header",
			       UI_SIZE, field(u, UI_SIZE), file_len - HEAD_LEN);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (u->head[kinds[i].off] == 0) {
			return err_set(error, EINVAL,
				       "uimage: %s at offset %u is 0, which means none",
				       kinds[i].name, kinds[i].off);
		}
	}
	return true;
}

static co_fn bool read_head(struct block_node *node, GError **error)
{
	struct uimage *u = node->state;
	int res;

	if (node->file->length < HEAD_LEN) {
		return err_set(error, EINVAL,
			       "uimage: the file has %" PRIu64 " bytes, fewer than the header's %d",
			       node->file->length, HEAD_LEN);
	}
	res = block_pread(node->file, 0, u->head, HEAD_LEN);
	if (res < 0)
		return err_set_errno(error, -res, "uimage: the header cannot be read");
	return check_header(u, node->file->length, error);
}

/* What goes through a worker thread, a piece at a time. */
struct work {
	uint8_t *in;
	size_t in_len;
	uint32_t crc;
	z_stream z;
	uint8_t *out;
	size_t room;
	bool ended;
};

static int crc_run(void *arg)
{
	struct work *w = arg;

	w->crc = (uint32_t)crc32(w->crc, w->in, (unsigned)w->in_len);
	return 0;
}

static int inflate_run(void *arg)
{
	struct work *w = arg;
	int res;

	w->z.next_in = w->in;
	w->z.avail_in = (unsigned)w->in_len;
	while (!w->ended && w->z.avail_in > 0) {
		if (w->z.total_out == w->room) {
			uint8_t *more;

			if (w->room >= MAX_UNPACKED)
				return -EFBIG;
			more = g_try_realloc(w->out, w->room * 2);
			if (!more)
				return -ENOMEM;
			w->out = more;
			w->room *= 2;
		}
		w->z.next_out = w->out + w->z.total_out;
		w->z.avail_out = (unsigned)(w->room - w->z.total_out);
		res = inflate(&w->z, Z_NO_FLUSH);
		if (res != Z_OK && res != Z_STREAM_END)
			return -EINVAL;
		w->ended = res == Z_STREAM_END;
	}
	return 0;
}

/* Gives all of the data to run(), in order. */
static co_fn int work_through(struct block_node *node, struct work *w, int (*run)(void *))
{
	struct uimage *u = node->state;
	uint64_t len = field(u, UI_SIZE);
	int res = 0;

	w->in = g_try_malloc(CHUNK);
	if (!w->in)
		return -ENOMEM;
	for (uint64_t off = 0; off < len && res == 0; off += w->in_len) {
		w->in_len = MIN((uint64_t)CHUNK, len - off);
		res = block_pread(node->file, HEAD_LEN + off, w->in, w->in_len);
		if (res == 0)
			res = job_run(run, w);
	}
	g_free(w->in);
	return res;
}

static co_fn bool verify_data(struct block_node *node, GError **error)
{
	struct uimage *u = node->state;
	struct work w = {0};
	int res = work_through(node, &w, crc_run);

	if (res < 0)
		return err_set_errno(error, -res, "uimage: the data cannot be read");
	return w.crc == field(u, UI_DATA_CRC) ||
	       err_set(error, EINVAL,
		       "uimage: the checksum of the data at offset %d is %08" PRIx32
		       ", and the %" PRIu32 " bytes have %08" PRIx32,
		       UI_DATA_CRC, field(u, UI_DATA_CRC), field(u, UI_SIZE), w.crc);
}

static co_fn bool unpack(struct block_node *node, GError **error)
{
	struct uimage *u = node->state;
	struct work w = {.room = FIRST_ROOM};
	int res;

	w.out = g_try_malloc(w.room);
	if (!w.out || inflateInit2(&w.z, GZIP_BITS) != Z_OK) {
		g_free(w.out);
		return err_set(error, ENOMEM, "uimage: no memory to unpack the data");
	}
	res = work_through(node, &w, inflate_run);
	u->unpacked = w.out;
	node->length = w.z.total_out;
	inflateEnd(&w.z);
	if (res == -EFBIG)
		return err_set(error, EFBIG, "uimage: unpacks to more than 256 MiB");
	if (res == -EINVAL || (res == 0 && !w.ended))
		return err_set(error, EINVAL,
			       "uimage: the data at offset %d are no whole gzip stream", HEAD_LEN);
	return res == 0 || err_set_errno(error, -res, "uimage: the data cannot be unpacked");
}

/* Sizes up to one of 0, then the parts, each from a multiple of 4 bytes on. */
static co_fn bool read_list(struct block_node *node, GError **error)
{
	struct uimage *u = node->state;
	uint64_t size = field(u, UI_SIZE), off;
	uint8_t *list = g_malloc0((MAX_PARTS + 1) * ENTRY);
	unsigned n = 0, most = (unsigned)MIN(size / ENTRY, (uint64_t)MAX_PARTS + 1);
	int res = block_pread(node->file, HEAD_LEN, list, (size_t)most * ENTRY);
	bool ok = res == 0 || err_set_errno(error, -res, "uimage: the list cannot be read");

	while (ok && n < most && get_be32(list + (size_t)n * ENTRY))
		n++;
	if (ok && n == most) {
		ok = err_set(error, EINVAL,
			     "uimage: the list of sizes at offset %d has no end in %u entries",
			     HEAD_LEN, most);
	}
	off = (n + UINT64_C(1)) * ENTRY;
	for (unsigned i = 0; ok && i < n; i++) {
		struct part p = {HEAD_LEN + off, get_be32(list + (size_t)i * ENTRY)};

		if (off > size || p.len > size - off) {
			ok = err_set(error, EINVAL,
				     "uimage: part %u has %" PRIu64
				     " bytes by the list at offset %u, more than there are",
				     i, p.len, HEAD_LEN + i * ENTRY);
		}
		g_array_append_val(u->parts, p);
		off += (p.len + 3) / 4 * 4;
	}
	g_free(list);
	return ok;
}

static bool choose_part(struct block_node *node, struct opts *options, GError **error)
{
	struct uimage *u = node->state;
	bool given = opts_get(options, "part");
	uint64_t n = 0;

	if (!opts_get_u64(options, "part", 0, MAX_PARTS, &n, error))
		return false;
	if (given && n >= u->parts->len)
		return err_set(error, EINVAL, "part=%" PRIu64 ": there are %u", n, u->parts->len);
	u->disk = given ? g_array_index(u->parts, struct part, n)
			: (struct part){HEAD_LEN, field(u, UI_SIZE)};
	node->length = u->disk.len;
	return true;
}

static const char *name_of(const char *const *names, size_t n, uint8_t value)
{
	return value < n ? names[value] : "unknown";
}

static co_fn bool uimage_open_over(struct block_node *node, struct opts *options, GError **error)
{
	struct uimage *u = node->state;
	unsigned codec;

	u->parts = g_array_new(FALSE, FALSE, sizeof(struct part));
	if (!read_head(node, error) || !verify_data(node, error) ||
	    (has_list(u) && !read_list(node, error)) || !choose_part(node, options, error))
		return false;
	codec = u->head[UI_CODEC];
	if (has_list(u) || codec == CODEC_NONE)
		return true;
	if (codec == CODEC_GZIP)
		return unpack(node, error);
	return node->flags & BLOCK_HEADER_ONLY ||
	       err_set(error, ENOTSUP,
		       "uimage: the data are compressed with method %u (%s), which is not "
		       "supported; driver=raw,offset=%d gives them as they are",
		       codec, name_of(codecs, G_N_ELEMENTS(codecs), u->head[UI_CODEC]), HEAD_LEN);
}

static co_fn bool uimage_open(struct block_node *node, struct opts *options, GError **error)
{
	return block_open_child(node, options, error) && uimage_open_over(node, options, error);
}

static co_fn void uimage_close(struct block_node *node)
{
	struct uimage *u = node->state;

	if (u->parts)
		g_array_unref(u->parts);
	g_free(u->unpacked);
}

static co_fn int uimage_map(struct block_node *node, uint64_t off, uint64_t len,
			    struct block_extent *out)
{
	struct uimage *u = node->state;

	*out = (struct block_extent){
		.place = PLACE_FILE, .child = node->file, .off = u->disk.off + off, .len = len};
	if (u->unpacked) {
		out->place = PLACE_DRIVER;
		out->compressed = true;
	}
	return 0;
}

static co_fn int uimage_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct uimage *u = node->state;

	iovs_put(iov, 0, u->unpacked + off, iov->len);
	return 0;
}

static json_t *name_json(const char *const *names, size_t n, uint8_t value)
{
	return value < n ? json_string(names[value])
			 : json_sprintf("unknown (%u)", (unsigned)value);
}

static json_t *uimage_info(const struct block_node *node)
{
	const struct uimage *u = node->state;
	g_autofree char *raw = g_strndup((const char *)u->head + UI_NAME, NAME_LEN);
	g_autofree char *name = g_utf8_make_valid(raw, -1);
	json_t *data = json_object(), *parts = json_array();
	time_t made = field(u, UI_TIME);
	char when[sizeof("2106-02-07T06:28:15Z")];
	struct tm tm;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&made, &tm));
	json_object_set_new(data, "image-name", json_string(name));
	json_object_set_new(data, "created", json_string(when));
	json_object_set_new(data, "os", name_json(systems, G_N_ELEMENTS(systems), u->head[UI_OS]));
	json_object_set_new(data, "architecture",
			    name_json(machines, G_N_ELEMENTS(machines), u->head[UI_ARCH]));
	json_object_set_new(data, "image-type",
			    name_json(types, G_N_ELEMENTS(types), u->head[UI_TYPE]));
	json_object_set_new(data, "compression",
			    name_json(codecs, G_N_ELEMENTS(codecs), u->head[UI_CODEC]));
	json_object_set_new(data, "data-size", json_integer(field(u, UI_SIZE)));
	json_object_set_new(data, "load-address", json_sprintf("%08" PRIx32, field(u, UI_LOAD)));
	json_object_set_new(data, "entry-point", json_sprintf("%08" PRIx32, field(u, UI_ENTRY)));
	json_object_set_new(data, "header-checksum",
			    json_sprintf("%08" PRIx32, field(u, UI_HEAD_CRC)));
	json_object_set_new(data, "data-checksum",
			    json_sprintf("%08" PRIx32, field(u, UI_DATA_CRC)));
	for (unsigned i = 0; i < u->parts->len; i++) {
		const struct part *p = &g_array_index(u->parts, struct part, i);

		json_array_append_new(parts, json_pack("{s:I, s:I}", "size", (json_int_t)p->len,
						       "offset", (json_int_t)p->off));
	}
	if (has_list(u))
		json_object_set(data, "parts", parts);
	json_decref(parts);
	return json_pack("{s:s, s:b, s:o}", "type", "uimage", "dirty", 0, "data", data);
}

const struct block_driver block_uimage = {
	.name = "uimage",
	.kind = BLOCK_FORMAT,
	.state_size = sizeof(struct uimage),
	.probe = uimage_probe,
	.open = uimage_open,
	.open_over = uimage_open_over,
	.close = uimage_close,
	.map = uimage_map,
	.preadv = uimage_preadv,
	.info = uimage_info,
};
