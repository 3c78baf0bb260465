/* The devices that can hang behind the protocol. */
#include "attach/vhost_user/impl.h"
#include "virtio/virtio_blk.h"
#include "virtio/virtio_scsi.h"

static uint64_t scsi_features(const struct vhost_user *v)
{
	(void)v;
	return VIRTIO_SCSI_F_HOTPLUG | VIRTIO_SCSI_F_CHANGE;
}

static struct virtio_device *make_scsi(const struct vhost_user *v,
				       const struct virtio_device_options *o)
{
	return virtio_scsi_new(o, v->targets, v->n_targets);
}

static uint64_t blk_features(const struct vhost_user *v)
{
	return virtio_blk_features(v->disk.node, v->n_rings);
}

static struct virtio_device *make_blk(const struct vhost_user *v,
				      const struct virtio_device_options *o)
{
	return virtio_blk_new(o, v->disk.node, v->disk.serial);
}

const struct vu_kind vu_kind_scsi = {
	.name = "virtio-scsi",
	.ops = &virtio_scsi_ops,
	.other_queues = VIRTIO_SCSI_REQUESTQ,
	.default_queues = 8,
	.max_queues = VIRTIO_SCSI_QUEUES_MAX - VIRTIO_SCSI_REQUESTQ,
	.features = scsi_features,
	.make = make_scsi,
};

const struct vu_kind vu_kind_blk = {
	.name = "virtio-blk",
	.ops = &virtio_blk_ops,
	.default_queues = 4,
	.max_queues = VIRTIO_BLK_QUEUES_MAX,
	.features = blk_features,
	.make = make_blk,
};
