/*
 * The in-process initiator: see initiator.h. Replies are taken apart by named fields, as long as
 * they really are, since a drive may answer less than was asked for.
 */
#include "cli/initiator.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/field.h"
#include "scsi/sense.h"

enum { BLOCK = 2048, TRIES = 200, NS_PER_MS = 1000000 };

/* clang-format off */
enum {	/* operation codes */
	OP_TEST_UNIT_READY = 0x00, OP_FORMAT_UNIT = 0x04, OP_INQUIRY = 0x12,
	OP_READ_FORMAT_CAPACITIES = 0x23, OP_READ_CAPACITY = 0x25, OP_READ_10 = 0x28,
	OP_WRITE_10 = 0x2a, OP_SYNC_CACHE = 0x35, OP_GET_CONFIGURATION = 0x46,
	OP_READ_DISC_INFO = 0x51, OP_READ_TRACK_INFO = 0x52, OP_RESERVE_TRACK = 0x53,
	OP_MODE_SELECT_10 = 0x55, OP_MODE_SENSE_10 = 0x5a, OP_CLOSE = 0x5b, OP_SEND_CUE_SHEET = 0x5d,
};

enum {	/* of their CDBs */
	INQUIRY_ALLOC = BE16(3), ALLOC_10 = BE16(7),
	RW_LBA = BE32(2), RW_BLOCKS = BE16(7),
	TRACK_BY_NUMBER = BIT(1, 0), TRACK_NUMBER = BE32(2),
	RESERVE_BLOCKS = BE32(5),
	CONFIG_RT = BITS(1, 1, 0), CONFIG_START = BE16(2), CONFIG_ONE = 2,
	SELECT_PF = BIT(1, 4), SENSE_DBD = BIT(1, 3), SENSE_PAGE = BITS(2, 5, 0),
	CLOSE_FUNCTION = BITS(2, 2, 0), CLOSE_NUMBER = BE16(4),
	CUE_LEN = BE24(6),
	FORMAT_DATA = BIT(1, 4), FORMAT_CODE = BITS(1, 2, 0),
};

enum {	/* of the replies */
	INQUIRY_LEN = 36, INQUIRY_TYPE = BITS(0, 4, 0), TYPE_MMC = 5,
	CONFIG_LEN = 8, CONFIG_PROFILE = BE16(6), FEATURE_LEN = 4, FEATURE_CODE = BE16(8),
	FEATURE_CURRENT = BIT(10, 0),
	DISC_LEN = 34, DISC_ERASABLE = BIT(2, 4), DISC_SESSION_STATE = BITS(2, 3, 2),
	DISC_STATUS = BITS(2, 1, 0), DISC_SESSIONS = U8(4), DISC_FIRST = U8(5), DISC_LAST = U8(6),
	DISC_SESSIONS_HIGH = U8(9), DISC_FIRST_HIGH = U8(10), DISC_LAST_HIGH = U8(11),
	TRACK_LEN = 48, TRACK_RT = BIT(6, 7), TRACK_IS_BLANK = BIT(6, 6), TRACK_NWA_V = BIT(7, 0),
	TRACK_START = BE32(8), TRACK_NWA = BE32(12), TRACK_FREE = BE32(16),
	TRACK_PACKET_SIZE = BE32(20), TRACK_SIZE = BE32(24),
	TRACK_NO = U8(2), TRACK_NO_HIGH = U8(32), TRACK_SESSION = U8(3), TRACK_SESSION_HIGH = U8(33),
	CAPACITY_LEN = 8, CAPACITY_LBA = BE32(0),
	FORMATS_HEAD = 4, FORMATS_LIST = U8(3), FORMATS_MAX = 256, FORMAT_ENTRY = 8,
	FORMAT_BLOCKS = BE32(0), FORMAT_TYPE = BITS(4, 7, 2), FORMAT_PARAMETER = BE24(5),
	MODE_HEAD = 8, MODE_BLOCK_LEN = BE16(6), PAGE_WRITE = 5, PAGE_WRITE_LEN = 52,
};

enum {	/* of page 05h */
	PAGE_CODE = BITS(0, 5, 0), PAGE_BUFE = BIT(2, 6), PAGE_LS_V = BIT(2, 5),
	PAGE_TEST = BIT(2, 4), PAGE_TYPE = BITS(2, 3, 0), PAGE_MULTI = BITS(3, 7, 6),
	PAGE_FP = BIT(3, 5), PAGE_TRACK_MODE = BITS(3, 3, 0), PAGE_BLOCK_TYPE = BITS(4, 3, 0),
};
/* clang-format on */

void initiator_init(struct initiator *i, struct drive *drive, const char *name)
{
	i->drive = drive;
	i->nexus = scsi_nexus_new(drive_lu(drive), name, NULL, NULL, false);
}

void initiator_fini(struct initiator *i)
{
	if (i->nexus)
		scsi_nexus_free(i->nexus);
	i->nexus = NULL;
}

struct request {
	const char *name;
	struct scsi_cmd cmd;
	struct iovec in, out;
};

static void request_init(struct request *r, struct initiator *i, const char *name, uint8_t op)
{
	memset(r, 0, sizeof(*r));
	r->name = name;
	r->cmd.nexus = i->nexus;
	r->cmd.cdb[0] = op;
}

static void request_in(struct request *r, void *buf, size_t len)
{
	r->cmd.in = iovs_one(&r->in, buf, len);
}

static void request_out(struct request *r, const void *buf, size_t len)
{
	r->cmd.out = iovs_one(&r->out, (void *)buf, len);
}

static enum sense sense_of(const struct scsi_cmd *c)
{
	enum { SENSE_KEY = BITS(2, 3, 0), SENSE_ASC = U8(12), SENSE_ASCQ = U8(13) };

	if (c->sense_len < SCSI_SENSE_LEN)
		return SENSE_GOOD;
	return (enum sense)SENSE(fld_get(c->sense, SENSE_KEY), fld_get(c->sense, SENSE_ASC),
				 fld_get(c->sense, SENSE_ASCQ));
}

/* "WRITE(10): WRITE ERROR (3/0C/00): No space left on device" */
static bool fail(struct initiator *i, const struct request *r, GError **error)
{
	enum sense s = sense_of(&r->cmd);
	struct disc *disc = drive_disc(i->drive);
	const struct disc_error *below = disc && sense_key(s) == 3 ? disc_last_error(disc) : NULL;
	const char *name = sense_name(s);

	if (r->cmd.status != SCSI_CHECK)
		return err_set(error, EIO, "%s: the drive answered status %02Xh", r->name,
			       r->cmd.status);
	return err_set(error, below && below->errnum ? below->errnum : EIO,
		       "%s: %s (%X/%02X/%02X)%s%s", r->name, name ? name : "refused", sense_key(s),
		       sense_asc(s), sense_ascq(s), below && below->errnum ? ": " : "",
		       below && below->errnum ? g_strerror(below->errnum) : "");
}

/* Sends it; a unit attention is noted and the command sent again, as every program does. */
static co_fn bool send_request(struct initiator *i, struct request *r, GError **error)
{
	for (unsigned tries = 0; tries < TRIES; tries++) {
		enum sense s;

		scsi_execute(&r->cmd);
		if (r->cmd.status == SCSI_GOOD)
			return true;
		s = sense_of(&r->cmd);
		if (r->cmd.status == SCSI_CHECK && sense_key(s) == 2 && sense_asc(s) == 4)
			co_sleep_ns(10 * NS_PER_MS);
		else if (r->cmd.status != SCSI_BUSY &&
			 !(r->cmd.status == SCSI_CHECK && sense_key(s) == 6))
			break;
		r->cmd.status = 0;
		r->cmd.sense_len = 0;
		r->cmd.in_done = r->cmd.out_done = 0;
	}
	return fail(i, r, error);
}

/* As send_request() for a reply of which at least need bytes must come. */
static co_fn bool ask(struct initiator *i, struct request *r, void *buf, size_t len, size_t need,
		      GError **error)
{
	memset(buf, 0, len);
	request_in(r, buf, len);
	if (!send_request(i, r, error))
		return false;
	if (r->cmd.in_done < need) {
		return err_set(error, EPROTO,
			       "%s: the drive answered %zu bytes, at least %zu are needed", r->name,
			       r->cmd.in_done, need);
	}
	return true;
}

co_fn bool ini_wait_ready(struct initiator *i, GError **error)
{
	uint8_t reply[INQUIRY_LEN];
	struct request r;

	request_init(&r, i, "INQUIRY", OP_INQUIRY);
	fld_put(r.cmd.cdb, INQUIRY_ALLOC, sizeof(reply));
	if (!ask(i, &r, reply, sizeof(reply), sizeof(reply), error))
		return false;
	if (fld_get(reply, INQUIRY_TYPE) != TYPE_MMC)
		return err_set(error, ENOTSUP, "INQUIRY: that is no optical drive");
	request_init(&r, i, "TEST UNIT READY", OP_TEST_UNIT_READY);
	return send_request(i, &r, error);
}

co_fn bool ini_profile(struct initiator *i, uint16_t *profile, GError **error)
{
	uint8_t reply[CONFIG_LEN];
	struct request r;

	request_init(&r, i, "GET CONFIGURATION", OP_GET_CONFIGURATION);
	fld_put(r.cmd.cdb, ALLOC_10, sizeof(reply));
	if (!ask(i, &r, reply, sizeof(reply), sizeof(reply), error))
		return false;
	*profile = (uint16_t)fld_get(reply, CONFIG_PROFILE);
	return true;
}

co_fn bool ini_feature(struct initiator *i, uint16_t feature, bool *current, GError **error)
{
	uint8_t reply[CONFIG_LEN + FEATURE_LEN];
	struct request r;

	request_init(&r, i, "GET CONFIGURATION", OP_GET_CONFIGURATION);
	fld_put(r.cmd.cdb, CONFIG_RT, CONFIG_ONE);
	fld_put(r.cmd.cdb, CONFIG_START, feature);
	fld_put(r.cmd.cdb, ALLOC_10, sizeof(reply));
	if (!ask(i, &r, reply, sizeof(reply), CONFIG_LEN, error))
		return false;
	*current = r.cmd.in_done == sizeof(reply) && fld_get(reply, FEATURE_CODE) == feature &&
		   fld_get(reply, FEATURE_CURRENT);
	return true;
}

co_fn bool ini_read_disc(struct initiator *i, struct ini_disc *out, GError **error)
{
	uint8_t reply[DISC_LEN];
	struct request r;

	request_init(&r, i, "READ DISC INFORMATION", OP_READ_DISC_INFO);
	fld_put(r.cmd.cdb, ALLOC_10, sizeof(reply));
	if (!ask(i, &r, reply, sizeof(reply), fld_byte(DISC_LAST_HIGH) + 1, error))
		return false;
	out->status = (uint8_t)fld_get(reply, DISC_STATUS);
	out->session_state = (uint8_t)fld_get(reply, DISC_SESSION_STATE);
	out->erasable = fld_get(reply, DISC_ERASABLE);
	out->sessions = fld_get(reply, DISC_SESSIONS) | fld_get(reply, DISC_SESSIONS_HIGH) << 8;
	out->first_track = fld_get(reply, DISC_FIRST) | fld_get(reply, DISC_FIRST_HIGH) << 8;
	out->last_track = fld_get(reply, DISC_LAST) | fld_get(reply, DISC_LAST_HIGH) << 8;
	return true;
}

co_fn bool ini_read_track(struct initiator *i, unsigned number, struct ini_track *out,
			  GError **error)
{
	uint8_t reply[TRACK_LEN];
	struct request r;

	request_init(&r, i, "READ TRACK INFORMATION", OP_READ_TRACK_INFO);
	fld_put(r.cmd.cdb, TRACK_BY_NUMBER, 1);
	fld_put(r.cmd.cdb, TRACK_NUMBER, number);
	fld_put(r.cmd.cdb, ALLOC_10, sizeof(reply));
	if (!ask(i, &r, reply, sizeof(reply), fld_byte(TRACK_SIZE) + 4, error))
		return false;
	out->number = fld_get(reply, TRACK_NO) | fld_get(reply, TRACK_NO_HIGH) << 8;
	out->session = fld_get(reply, TRACK_SESSION) | fld_get(reply, TRACK_SESSION_HIGH) << 8;
	out->blank = fld_get(reply, TRACK_IS_BLANK);
	out->reserved = fld_get(reply, TRACK_RT);
	out->nwa_valid = fld_get(reply, TRACK_NWA_V);
	out->start = (int32_t)fld_get(reply, TRACK_START);
	out->nwa = (int32_t)fld_get(reply, TRACK_NWA);
	out->free_blocks = fld_get(reply, TRACK_FREE);
	out->size = fld_get(reply, TRACK_SIZE);
	out->packet_size = fld_get(reply, TRACK_PACKET_SIZE);
	return true;
}

co_fn bool ini_read_capacity(struct initiator *i, uint32_t *blocks, GError **error)
{
	uint8_t reply[CAPACITY_LEN];
	struct request r;

	request_init(&r, i, "READ CAPACITY", OP_READ_CAPACITY);
	if (!ask(i, &r, reply, sizeof(reply), sizeof(reply), error))
		return false;
	*blocks = fld_get(reply, CAPACITY_LBA);
	if (*blocks) /* nothing readable is told as 0, too */
		++*blocks;
	return true;
}

co_fn bool ini_format_capacity(struct initiator *i, uint8_t type, uint32_t *blocks, GError **error)
{
	uint8_t reply[FORMATS_MAX];
	struct request r;
	size_t end;

	request_init(&r, i, "READ FORMAT CAPACITIES", OP_READ_FORMAT_CAPACITIES);
	fld_put(r.cmd.cdb, ALLOC_10, sizeof(reply));
	if (!ask(i, &r, reply, sizeof(reply), FORMATS_HEAD, error))
		return false;
	*blocks = 0;
	end = MIN(r.cmd.in_done, FORMATS_HEAD + (size_t)fld_get(reply, FORMATS_LIST));
	/* The first entry is the current capacity, in which these bits mean something else. */
	for (size_t at = FORMATS_HEAD + FORMAT_ENTRY; at + FORMAT_ENTRY <= end;
	     at += FORMAT_ENTRY) {
		if (fld_get(reply + at, FORMAT_TYPE) == type)
			*blocks = fld_get(reply + at, FORMAT_BLOCKS);
	}
	return true;
}

co_fn bool ini_format(struct initiator *i, uint8_t type, uint32_t blocks, uint32_t parameter,
		      GError **error)
{
	uint8_t list[FORMATS_HEAD + FORMAT_ENTRY] = {[3] = FORMAT_ENTRY};
	struct request r;

	fld_put(list + FORMATS_HEAD, FORMAT_BLOCKS, blocks);
	fld_put(list + FORMATS_HEAD, FORMAT_TYPE, type);
	fld_put(list + FORMATS_HEAD, FORMAT_PARAMETER, parameter);
	request_init(&r, i, "FORMAT UNIT", OP_FORMAT_UNIT);
	fld_put(r.cmd.cdb, FORMAT_DATA, 1);
	fld_put(r.cmd.cdb, FORMAT_CODE, 1);
	request_out(&r, list, sizeof(list));
	return send_request(i, &r, error);
}

co_fn bool ini_set_write_mode(struct initiator *i, enum ini_write_type type, bool multi,
			      GError **error)
{
	uint8_t buf[MODE_HEAD + 64];
	struct request r;
	uint8_t *page;
	size_t at;

	request_init(&r, i, "MODE SENSE(10)", OP_MODE_SENSE_10);
	fld_put(r.cmd.cdb, SENSE_DBD, 1);
	fld_put(r.cmd.cdb, SENSE_PAGE, PAGE_WRITE);
	fld_put(r.cmd.cdb, ALLOC_10, sizeof(buf));
	if (!ask(i, &r, buf, sizeof(buf), MODE_HEAD + PAGE_WRITE_LEN, error))
		return false;
	at = MODE_HEAD + fld_get(buf, MODE_BLOCK_LEN);
	if (at + PAGE_WRITE_LEN > r.cmd.in_done || fld_get(buf + at, PAGE_CODE) != PAGE_WRITE)
		return err_set(error, EPROTO,
			       "MODE SENSE(10): the drive has no write parameters page");
	page = buf + at - MODE_HEAD; /* a header without block descriptors goes before it */
	memset(page, 0, MODE_HEAD);
	page += MODE_HEAD;
	fld_put(page, PAGE_BUFE, 1);
	fld_put(page, PAGE_LS_V, type == WRITE_INCREMENTAL);
	fld_put(page, PAGE_TEST, 0);
	fld_put(page, PAGE_TYPE, type);
	fld_put(page, PAGE_MULTI, multi ? 3 : 0);
	fld_put(page, PAGE_TRACK_MODE, type == WRITE_INCREMENTAL ? 5 : 4);
	fld_put(page, PAGE_BLOCK_TYPE, 8);
	page[0] = PAGE_WRITE; /* without the PS bit, which is reserved in a select */
	request_init(&r, i, "MODE SELECT(10)", OP_MODE_SELECT_10);
	fld_put(r.cmd.cdb, SELECT_PF, 1);
	fld_put(r.cmd.cdb, ALLOC_10, MODE_HEAD + PAGE_WRITE_LEN);
	request_out(&r, page - MODE_HEAD, MODE_HEAD + PAGE_WRITE_LEN);
	return send_request(i, &r, error);
}

co_fn bool ini_reserve(struct initiator *i, uint32_t blocks, GError **error)
{
	struct request r;

	request_init(&r, i, "RESERVE TRACK", OP_RESERVE_TRACK);
	fld_put(r.cmd.cdb, RESERVE_BLOCKS, blocks);
	return send_request(i, &r, error);
}

co_fn bool ini_send_cue_sheet(struct initiator *i, const uint8_t *cue, size_t len, GError **error)
{
	struct request r;

	request_init(&r, i, "SEND CUE SHEET", OP_SEND_CUE_SHEET);
	fld_put(r.cmd.cdb, CUE_LEN, (uint32_t)len);
	request_out(&r, cue, len);
	return send_request(i, &r, error);
}

co_fn bool ini_write(struct initiator *i, int32_t lba, uint32_t blocks, const void *data,
		     GError **error)
{
	struct request r;

	request_init(&r, i, "WRITE(10)", OP_WRITE_10);
	fld_put(r.cmd.cdb, RW_LBA, (uint32_t)lba);
	fld_put(r.cmd.cdb, RW_BLOCKS, blocks);
	request_out(&r, data, (size_t)blocks * BLOCK);
	if (send_request(i, &r, error))
		return true;
	return err_prefix(error, "block %d", lba);
}

co_fn bool ini_read(struct initiator *i, int32_t lba, uint32_t blocks, void *data, GError **error)
{
	size_t len = (size_t)blocks * BLOCK;
	struct request r;

	request_init(&r, i, "READ(10)", OP_READ_10);
	fld_put(r.cmd.cdb, RW_LBA, (uint32_t)lba);
	fld_put(r.cmd.cdb, RW_BLOCKS, blocks);
	if (ask(i, &r, data, len, len, error))
		return true;
	return err_prefix(error, "block %d", lba);
}

co_fn bool ini_sync(struct initiator *i, GError **error)
{
	struct request r;

	request_init(&r, i, "SYNCHRONIZE CACHE", OP_SYNC_CACHE);
	return send_request(i, &r, error);
}

co_fn bool ini_close(struct initiator *i, enum ini_close function, unsigned track, GError **error)
{
	struct request r;

	request_init(&r, i, function == CLOSE_TRACK ? "CLOSE TRACK" : "CLOSE SESSION", OP_CLOSE);
	fld_put(r.cmd.cdb, CLOSE_FUNCTION, function);
	fld_put(r.cmd.cdb, CLOSE_NUMBER, track);
	return send_request(i, &r, error);
}
