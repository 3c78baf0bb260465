/* A vfio-user client for tests: blocking, byte by byte, right and wrong on request. */
#pragma once

#include "attach/vfio_user/proto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLIENT_DATA_MAX = 1 << 21, CLIENT_FDS = 32 };

/* Whose data lies four bytes early in DMA messages: QEMU 10. */
enum client_layout { CLIENT_SPEC, CLIENT_OLD };

struct vfu_client {
	int fd;
	uint16_t next_id;
	/* Answers DMA messages out of here while it waits for a reply (vfu_client_serve_dma()). */
	uint8_t *ram;
	uint64_t ram_iova, ram_len;
	enum client_layout layout;
	int dma_error;         /* errno to refuse DMA with */
	bool hold_dma;         /* do not answer, only count */
	unsigned dma_messages; /* seen, probes included */
	uint16_t held_id[16], held_command[16];
	/* the message received last */
	uint16_t id, command;
	uint32_t flags, error;
	size_t len;
	int fds[CLIENT_FDS];
	unsigned n_fds;
	uint8_t payload[CLIENT_DATA_MAX];
};

/* Aborts the test program when it cannot connect. */
struct vfu_client *client_connect(const char *path);
/* Connects and agrees on the version as QEMU does. */
struct vfu_client *client_open(const char *path);
void client_close(struct vfu_client *c);

void client_send_raw(struct vfu_client *c, const void *data, size_t len, const int *fds,
		     unsigned n_fds);
/* Sends a command; its id. */
uint16_t client_send(struct vfu_client *c, unsigned command, uint32_t flags, const void *payload,
		     size_t len, const int *fds, unsigned n_fds);
/* The next message to payload and so on; false: the stream has ended. Takes 20 s at most. */
bool client_receive(struct vfu_client *c);
/* Nothing comes within so many milliseconds. */
bool client_is_silent(struct vfu_client *c, int ms);
/* Answers the DMA command received last. */
void client_answer_dma(struct vfu_client *c);
/* Receives until the reply to id, answering DMA commands; 0 or the errno it refuses with. */
int client_reply(struct vfu_client *c, uint16_t id);
/* Sends and receives: 0, or the errno of the refusal. */
int client_call(struct vfu_client *c, unsigned command, const void *payload, size_t len,
		const int *fds, unsigned n_fds);

int client_version(struct vfu_client *c, unsigned major, unsigned minor, const char *json);
int client_map(struct vfu_client *c, uint64_t iova, uint64_t size, uint32_t flags, int fd,
	       uint64_t off);
int client_unmap(struct vfu_client *c, uint64_t iova, uint64_t size, uint32_t flags);
int client_set_irqs(struct vfu_client *c, uint32_t flags, uint32_t index, uint32_t start,
		    uint32_t count, const int *fds, unsigned n_fds);
int client_access(struct vfu_client *c, bool write, unsigned region, uint64_t off, void *data,
		  uint32_t len);
uint32_t client_read32(struct vfu_client *c, unsigned region, uint64_t off);
void client_write32(struct vfu_client *c, unsigned region, uint64_t off, uint32_t value);
void client_post32(struct vfu_client *c, unsigned region, uint64_t off, uint32_t value);
uint16_t client_send_read(struct vfu_client *c, unsigned region, uint64_t off, uint32_t len);
