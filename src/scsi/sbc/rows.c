/*
 * The command table of the disk (SBC-3, SPC-4), readable beside the standards: opcode, name, CDB
 * length, what the engine enforces before the handler, fields. Fields are what a CDB may carry;
 * strict mode refuses anything else. The last member names the field of the allocation or
 * parameter list length.
 */
#include "scsi/sbc/sbc.h"

/* clang-format off */
enum {	/* the usual combinations */
	READS	= ROW_MEDIUM | ROW_SHARED | ROW_RESERVED_READ,
	WRITES	= ROW_MEDIUM | ROW_SHARED | ROW_WRITE,
	LOOKS	= ROW_BUSY_OK | ROW_DATA_IN,			/* at the disk, at any time */
	QUIET	= ROW_BUSY_OK | ROW_DATA_IN | ROW_UA_EXEMPT | ROW_RESERVED_ANY,
	RESERVES = ROW_RESERVED_ANY,		/* the handler knows who may */
};

#define RW10_FIELDS RW_PROTECT, RW_DPO, RW_FUA, RW_FUA_NV, RW10_LBA, RW10_GROUP, RW10_BLOCKS
#define RW12_FIELDS RW_PROTECT, RW_DPO, RW_FUA, RW_FUA_NV, RW12_LBA, RW12_GROUP, RW12_BLOCKS
#define RW16_FIELDS RW_PROTECT, RW_DPO, RW_FUA, RW_FUA_NV, RW16_LBA, RW16_GROUP, RW16_BLOCKS
#define V10_FIELDS RW_PROTECT, RW_DPO, RW_BYTCHK, RW10_LBA, RW10_GROUP, RW10_BLOCKS
#define V12_FIELDS RW_PROTECT, RW_DPO, RW_BYTCHK, RW12_LBA, RW12_GROUP, RW12_BLOCKS
#define V16_FIELDS RW_PROTECT, RW_DPO, RW_BYTCHK, RW16_LBA, RW16_GROUP, RW16_BLOCKS
#define PR_IN_FIELDS SCSI_ACTION, PR_IN_ALLOC
#define PR_OUT_FIELDS SCSI_ACTION, PR_SCOPE, PR_TYPE, PR_OUT_LEN
#define PR_IN_FLAGS (ROW_DATA_IN | RESERVES)
#define PR_OUT_FLAGS (ROW_DATA_OUT | RESERVES)

static const struct scsi_action persistent_in[] = {
	{ 0x00, { "PERSISTENT RESERVE IN: READ KEYS", sbc_read_keys, 10, PR_IN_FLAGS,
		  { PR_IN_FIELDS }, PR_IN_ALLOC } },
	{ 0x01, { "PERSISTENT RESERVE IN: READ RESERVATION", sbc_read_reservation, 10, PR_IN_FLAGS,
		  { PR_IN_FIELDS }, PR_IN_ALLOC } },
	{ 0x02, { "PERSISTENT RESERVE IN: REPORT CAPABILITIES", sbc_report_capabilities, 10,
		  PR_IN_FLAGS, { PR_IN_FIELDS }, PR_IN_ALLOC } },
	{ 0x03, { "PERSISTENT RESERVE IN: READ FULL STATUS", sbc_read_full_status, 10, PR_IN_FLAGS,
		  { PR_IN_FIELDS }, PR_IN_ALLOC } },
	{ 0 },
};

static const struct scsi_action persistent_out[] = {
	{ RESERVE_REGISTER, { "PERSISTENT RESERVE OUT: REGISTER", sbc_persistent_out, 10,
		  PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ RESERVE_RESERVE, { "PERSISTENT RESERVE OUT: RESERVE", sbc_persistent_out, 10,
		  PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ RESERVE_RELEASE, { "PERSISTENT RESERVE OUT: RELEASE", sbc_persistent_out, 10,
		  PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ RESERVE_CLEAR, { "PERSISTENT RESERVE OUT: CLEAR", sbc_persistent_out, 10,
		  PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ RESERVE_PREEMPT, { "PERSISTENT RESERVE OUT: PREEMPT", sbc_persistent_out, 10,
		  PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ RESERVE_PREEMPT_ABORT, { "PERSISTENT RESERVE OUT: PREEMPT AND ABORT",
		  sbc_persistent_out, 10, PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ RESERVE_REGISTER_IGNORE, { "PERSISTENT RESERVE OUT: REGISTER AND IGNORE EXISTING KEY",
		  sbc_persistent_out, 10, PR_OUT_FLAGS, { PR_OUT_FIELDS }, PR_OUT_LEN } },
	{ 0 },
};

static const struct scsi_action service_in[] = {
	{ 0x10, { "READ CAPACITY(16)", sbc_read_capacity16, 16, LOOKS | ROW_MEDIUM | ROW_RESERVED_ANY,
		  { SCSI_ACTION, RCAP16_LBA, RCAP16_ALLOC, RCAP16_PMI }, RCAP16_ALLOC } },
	{ 0x12, { "GET LBA STATUS", sbc_get_lba_status, 16, READS | ROW_DATA_IN,
		  { SCSI_ACTION, LBAS_LBA, LBAS_ALLOC, LBAS_TYPE }, LBAS_ALLOC } },
	{ 0 },
};

static const struct scsi_action maintenance_in[] = {
	{ 0x0c, { "REPORT SUPPORTED OPERATION CODES", scsi_report_opcodes, 12,
		  LOOKS | ROW_RESERVED_READ,
		  { SCSI_ACTION, RSOC_RCTD, RSOC_OPTIONS, RSOC_OPCODE, RSOC_ACTION, RSOC_ALLOC },
		  RSOC_ALLOC } },
	{ 0 },
};

const struct scsi_row sbc_rows[256] = {
	[0x00] = { "TEST UNIT READY", sbc_test_unit_ready, 6,
		   ROW_MEDIUM | ROW_BUSY_OK | ROW_RESERVED_ANY, { 0 } },
	[0x03] = { "REQUEST SENSE", scsi_request_sense, 6, QUIET | ROW_KEEP_SENSE,
		   { RSENSE_DESC, RSENSE_ALLOC }, RSENSE_ALLOC },
	[0x08] = { "READ(6)", sbc_read6, 6, READS | ROW_DATA_IN,
		   { RW6_LBA_HIGH, RW6_LBA, RW6_BLOCKS } },
	[0x0a] = { "WRITE(6)", sbc_write6, 6, WRITES | ROW_DATA_OUT,
		   { RW6_LBA_HIGH, RW6_LBA, RW6_BLOCKS } },
	[0x12] = { "INQUIRY", sbc_inquiry, 6, QUIET, { INQ_EVPD, INQ_PAGE, INQ_ALLOC }, INQ_ALLOC },
	[0x15] = { "MODE SELECT(6)", sbc_mode_select6, 6, ROW_DATA_OUT,
		   { MSEL_PF, MSEL_SP, MSEL6_LEN }, MSEL6_LEN },
	[0x16] = { "RESERVE(6)", sbc_reserve, 6, RESERVES,
		   { RSV_THIRD_PARTY, RSV_EXTENT, RSV_ID, RSV6_LEN } },
	[0x17] = { "RELEASE(6)", sbc_release, 6, RESERVES,
		   { RSV_THIRD_PARTY, RSV_EXTENT, RSV_ID } },
	[0x1a] = { "MODE SENSE(6)", sbc_mode_sense6, 6, LOOKS | ROW_RESERVED_READ,
		   { MSENSE_DBD, MSENSE_PC, MSENSE_PAGE, MSENSE_SUBPAGE, MSENSE6_ALLOC },
		   MSENSE6_ALLOC },
	[0x1b] = { "START STOP UNIT", sbc_start_stop, 6, ROW_RESERVED_ANY,
		   { SSU_IMMED, SSU_MODIFIER, SSU_POWER, SSU_NO_FLUSH, SSU_LOEJ, SSU_START } },
	[0x25] = { "READ CAPACITY(10)", sbc_read_capacity10, 10,
		   LOOKS | ROW_MEDIUM | ROW_RESERVED_ANY, { RCAP_LBA, RCAP_PMI } },
	[0x28] = { "READ(10)", sbc_read10, 10, READS | ROW_DATA_IN, { RW10_FIELDS } },
	[0x2a] = { "WRITE(10)", sbc_write10, 10, WRITES | ROW_DATA_OUT, { RW10_FIELDS } },
	[0x2e] = { "WRITE AND VERIFY(10)", sbc_write_verify10, 10, WRITES | ROW_DATA_OUT,
		   { V10_FIELDS } },
	[0x2f] = { "VERIFY(10)", sbc_verify10, 10, READS | ROW_DATA_OUT, { V10_FIELDS } },
	[0x35] = { "SYNCHRONIZE CACHE(10)", sbc_sync_cache10, 10, ROW_MEDIUM | ROW_SHARED,
		   { SYNC_IMMED, SYNC_NV, RW10_LBA, RW10_GROUP, RW10_BLOCKS } },
	[0x41] = { "WRITE SAME(10)", sbc_write_same10, 10, WRITES | ROW_DATA_OUT,
		   { RW_PROTECT, WS_ANCHOR, WS_UNMAP, RW10_LBA, RW10_GROUP, RW10_BLOCKS } },
	[0x42] = { "UNMAP", sbc_unmap, 10, WRITES | ROW_DATA_OUT,
		   { UNMAP_ANCHOR, RW10_GROUP, UNMAP_LEN }, UNMAP_LEN },
	[0x55] = { "MODE SELECT(10)", sbc_mode_select10, 10, ROW_DATA_OUT,
		   { MSEL_PF, MSEL_SP, MSEL10_LEN }, MSEL10_LEN },
	[0x56] = { "RESERVE(10)", sbc_reserve, 10, RESERVES,
		   { RSV_THIRD_PARTY, RSV10_LONG, RSV_EXTENT, RSV_ID, RSV10_THIRD, RSV10_LEN } },
	[0x57] = { "RELEASE(10)", sbc_release, 10, RESERVES,
		   { RSV_THIRD_PARTY, RSV10_LONG, RSV_EXTENT, RSV_ID, RSV10_THIRD, RSV10_LEN } },
	[0x5a] = { "MODE SENSE(10)", sbc_mode_sense10, 10, LOOKS | ROW_RESERVED_READ,
		   { MSENSE_LLBAA, MSENSE_DBD, MSENSE_PC, MSENSE_PAGE, MSENSE_SUBPAGE,
		   MSENSE10_ALLOC }, MSENSE10_ALLOC },
	[0x5e] = { "PERSISTENT RESERVE IN", scsi_bad_action, 10, PR_IN_FLAGS,
		   { PR_IN_FIELDS }, PR_IN_ALLOC, persistent_in },
	[0x5f] = { "PERSISTENT RESERVE OUT", scsi_bad_action, 10, PR_OUT_FLAGS,
		   { PR_OUT_FIELDS }, PR_OUT_LEN, persistent_out },
	[0x88] = { "READ(16)", sbc_read16, 16, READS | ROW_DATA_IN, { RW16_FIELDS } },
	/* alone: nothing comes between the comparison and the write */
	[0x89] = { "COMPARE AND WRITE", sbc_compare_and_write, 16,
		   ROW_MEDIUM | ROW_WRITE | ROW_DATA_OUT,
		   { RW_PROTECT, RW_DPO, RW_FUA, RW_FUA_NV, RW16_LBA, CAW_BLOCKS, RW16_GROUP } },
	[0x8a] = { "WRITE(16)", sbc_write16, 16, WRITES | ROW_DATA_OUT, { RW16_FIELDS } },
	[0x8e] = { "WRITE AND VERIFY(16)", sbc_write_verify16, 16, WRITES | ROW_DATA_OUT,
		   { V16_FIELDS } },
	[0x8f] = { "VERIFY(16)", sbc_verify16, 16, READS | ROW_DATA_OUT, { V16_FIELDS } },
	[0x91] = { "SYNCHRONIZE CACHE(16)", sbc_sync_cache16, 16, ROW_MEDIUM | ROW_SHARED,
		   { SYNC_IMMED, SYNC_NV, RW16_LBA, RW16_GROUP, RW16_BLOCKS } },
	[0x93] = { "WRITE SAME(16)", sbc_write_same16, 16, WRITES | ROW_DATA_OUT,
		   { RW_PROTECT, WS_ANCHOR, WS_UNMAP, WS_NDOB, RW16_LBA, RW16_GROUP, RW16_BLOCKS } },
	[0x9e] = { "SERVICE ACTION IN(16)", scsi_bad_action, 16, ROW_DATA_IN | ROW_RESERVED_ANY,
		   { SCSI_ACTION, RCAP16_ALLOC }, RCAP16_ALLOC, service_in },
	[0xa0] = { "REPORT LUNS", scsi_report_luns, 12, QUIET,
		   { RLUNS_SELECT, RLUNS_ALLOC }, RLUNS_ALLOC },
	[0xa3] = { "MAINTENANCE IN", scsi_bad_action, 12, ROW_DATA_IN | ROW_RESERVED_ANY,
		   { SCSI_ACTION, RSOC_ALLOC }, RSOC_ALLOC, maintenance_in },
	[0xa8] = { "READ(12)", sbc_read12, 12, READS | ROW_DATA_IN, { RW12_FIELDS } },
	[0xaa] = { "WRITE(12)", sbc_write12, 12, WRITES | ROW_DATA_OUT, { RW12_FIELDS } },
	[0xae] = { "WRITE AND VERIFY(12)", sbc_write_verify12, 12, WRITES | ROW_DATA_OUT,
		   { V12_FIELDS } },
	[0xaf] = { "VERIFY(12)", sbc_verify12, 12, READS | ROW_DATA_OUT, { V12_FIELDS } },
};
/* clang-format on */
