/*
 * vfio-user server: shows one PCI function to the VMM that connects to a unix socket.
 *
 * One socket is one device; a daemon with several devices has several of these. One client has the
 * function at a time: a second one is told EBUSY. When a client goes, what belongs to the protocol
 * (windows, eventfds, requests) goes with it and the function keeps its state for the next.
 *
 * A connection always ends in the way that QEMU survives: our side is shut down, what the client
 * still sends is read, then the socket is closed. So the owner of this must give vfio_user_free()
 * the time it takes (half a second, two at most) before the process ends.
 *
 * vfio_user_new() and vfio_user_free() are called on the loop.
 */
#pragma once

#include "pci/function.h"

struct vfio_user;

struct vfio_user_options {
	const char *path; /* of the socket; a leftover is replaced, one in use is an error */
	struct pci_function *function; /* borrowed; outlives the attachment, on the same loop */
};

struct vfio_user *vfio_user_new(struct loop *loop, const struct vfio_user_options *o,
				GError **error);
/* Ends connections as told above, removes the socket. NULL is fine. */
co_fn void vfio_user_free(struct vfio_user *v);
/* Throws the present client out, in the same orderly way, without waiting for it. */
co_fn void vfio_user_disconnect(struct vfio_user *v);

struct vfio_user_stats {
	unsigned clients; /* connected now; one at most has the function */
	uint64_t messages, accesses, interrupts, dma_messages;
	uint64_t refused;         /* commands answered with an error */
	uint64_t protocol_errors; /* clients thrown out */
};
void vfio_user_get_stats(const struct vfio_user *v, struct vfio_user_stats *out);
