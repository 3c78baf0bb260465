/*
 * Disks and optical drives for devices of the tree: what a controller puts on its ports.
 *
 * They belong to the daemon, which gives device_new() a way to find them by the names that the user
 * gave them. Plug-ins have none of this: the SDK ends at the PCI function.
 */
#pragma once

#include "base/co.h"
#include "outboard.h"

struct block_node;
struct scsi_lu;
struct device;

struct device_unit {
	const char *id; /* the user's name for it */
	/* One of the two, borrowed until the device was freed or the unit unplugged. */
	struct block_node *disk;
	struct scsi_lu *drive;
	/* Of a disk; NULL: the controller's own. */
	const char *model, *serial, *firmware;
	bool rotational;
};

struct device_units {
	/* False: there is no such unit; *error names those that there are. */
	bool (*find)(void *opaque, const char *id, struct device_unit *out, GError **error);
	/* The n-th of all, in the user's order; false behind the last. */
	bool (*nth)(void *opaque, unsigned n, struct device_unit *out);
	void *opaque;
};

/* For open(): those that device_new() was given; NULL: none. */
const struct device_units *device_units(struct ob_dev *dev);
/* The loop of a device of the tree, for coroutines. */
struct loop *device_loop(struct ob_dev *dev);

/*
 * What a device with units does beyond the SDK; it says so in open(). All but quiesce() is called
 * on the loop, also from coroutines.
 */
struct device_unit_ops {
	/* Before close(): commands end, units are let go. Nothing may be in flight when it returns.
	 */
	co_fn void (*quiesce)(struct ob_dev *dev);
	/*
	 * Places whose unit comes and goes while the machine runs, from 0; all of these or none.
	 * plug() copies the struct, its texts and objects are borrowed. False: *error, e.g. the
	 * slot is taken. unplug(): when it returned nobody uses the unit any more; false: *error.
	 */
	unsigned (*slots)(struct ob_dev *dev);
	co_fn bool (*plug)(struct ob_dev *dev, unsigned slot, const struct device_unit *unit,
			   GError **error);
	co_fn bool (*unplug)(struct ob_dev *dev, unsigned slot, GError **error);
	/* The id of what is there, or NULL. */
	const char *(*unit)(struct ob_dev *dev, unsigned slot);
};
void device_set_unit_ops(struct ob_dev *dev, const struct device_unit_ops *ops);
/* NULL: it has none. */
const struct device_unit_ops *device_unit_ops(struct device *d);
/* The dev to call them with. */
struct ob_dev *device_ob(struct device *d);
