/*
 * Devices that are programs (docs/device-protocol.md): "exec:COMMAND", "tcp:HOST:PORT",
 * "unix:PATH", "./FILE.py" in place of a class's name.
 */
#pragma once

#include "base/co.h"
#include "base/opts.h"
#include "device/remote_peer.h"

struct ob_class;
struct remote;

/*
 * Starts the program, or connects, and has it describe its device. Options but "driver", "id",
 * "class" and "timeout" are passed to it. NULL: *error.
 */
co_fn struct remote *remote_new(struct loop *loop, struct opts *opts, GError **error);
/* Made from the description; valid until remote_free(). Its instance is that of the remote. */
const struct ob_class *remote_class(const struct remote *r);
/* Ends the program. The device, if there was one, is freed already. NULL is fine. */
co_fn void remote_free(struct remote *r);
