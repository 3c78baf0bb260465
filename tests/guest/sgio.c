/*
 * sgio DEVICE none|in|out LENGTH CDB...: one SCSI command, exactly as given.
 *
 * Data comes from standard input and goes to standard output, as much as was transferred. The last
 * line on standard error is `status=xx host=xx resid=n sense=xx..` in hexadecimal (resid decimal).
 * Exit status 0 whenever the kernel carried the command, whatever the device said of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	MAX_DATA = 1 << 20,
	TIMEOUT_MS = 120000,
};

static int direction(const char *word)
{
	if (strcmp(word, "in") == 0)
		return SG_DXFER_FROM_DEV;
	if (strcmp(word, "out") == 0)
		return SG_DXFER_TO_DEV;
	return SG_DXFER_NONE;
}

static size_t read_input(unsigned char *data, size_t len)
{
	size_t have = 0;
	ssize_t got;

	while (have < len && (got = read(0, data + have, len - have)) > 0)
		have += got;
	return have;
}

int main(int argc, char **argv)
{
	unsigned char cdb[32] = {0}, sense[96] = {0};
	unsigned char *data = calloc(1, MAX_DATA);
	sg_io_hdr_t io = {
		.interface_id = 'S', .cmdp = cdb, .sbp = sense, .mx_sb_len = sizeof(sense)};
	size_t len = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;
	int fd;

	if (argc < 5 || argc - 4 > (int)sizeof(cdb) || len > MAX_DATA || !data) {
		fprintf(stderr, "usage: sgio DEVICE none|in|out LENGTH CDB...\n");
		return 2;
	}
	for (int i = 4; i < argc; i++)
		cdb[i - 4] = (unsigned char)strtoul(argv[i], NULL, 16);
	io.cmd_len = argc - 4;
	io.dxfer_direction = direction(argv[2]);
	io.dxfer_len = len;
	io.dxferp = len > 0 ? data : NULL;
	io.timeout = TIMEOUT_MS;
	if (io.dxfer_direction == SG_DXFER_TO_DEV && read_input(data, len) != len) {
		fprintf(stderr, "sgio: less than %zu bytes of data on standard input\n", len);
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, SG_IO, &io) != 0) {
		fprintf(stderr, "sgio: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	if (io.dxfer_direction == SG_DXFER_FROM_DEV && io.resid >= 0 && (size_t)io.resid <= len)
		fwrite(data, 1, len - io.resid, stdout);
	fprintf(stderr, "status=%02x host=%02x resid=%d sense=", io.status, io.host_status,
		io.resid);
	for (int i = 0; i < io.sb_len_wr; i++)
		fprintf(stderr, "%02x", sense[i]);
	fprintf(stderr, "\n");
	return 0;
}
