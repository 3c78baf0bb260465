"""A daemon whose disks a guest sees as virtio disks of their own, and the guest."""

import outboard
from harness import Guest


class DiskDaemon(outboard.Outboard):
    """`outboard serve` with a vhost-user-blk socket for each disk; disk n is called hN."""

    QUEUES = 2

    def __init__(self, work, disks, loop=None):
        super().__init__(work, [], loop, bus="blk", disks=disks)

    def arguments(self):
        """The command line behind the program's name."""
        yield "serve"
        for n, disk in enumerate(self.disks):
            yield from ("--disk", f"{disk},id=h{n},serial=h{n}",
                        "--attach", f"vhost-user-blk,socket={self.sockets()[n]},disk=h{n},"
                        f"queues={self.QUEUES}")
        yield from ("--control", self.control)

    def sockets(self):
        """Of the disks."""
        return [self.work / f"h{n}.sock" for n in range(len(self.disks))]

    def controllers(self):
        """There are none."""
        return []

    def qemu_words(self, version):
        """The arguments by which a QEMU has the disks, and comes back to them."""
        again = "reconnect-ms=200" if version == "11.1" else "reconnect=1"
        for n, path in enumerate(self.sockets()):
            yield from ("-chardev", f"socket,id=h{n},path={path},{again}",
                        "-device", f"vhost-user-blk-pci,id=h{n},chardev=h{n},"
                        f"num-queues={self.QUEUES}")


class DiskRig:
    """The daemon with its disks (texts of --disk, without id) and a guest with them."""

    def __init__(self, work, disks, qemu, loop=None, **guest):
        self.daemon = DiskDaemon(work, disks, loop)
        self.guest = Guest(work, qemu=qemu, args=list(self.daemon.qemu_words(qemu)), **guest)

    def disk(self, number):
        """The block device of disk hN."""
        return "/dev/" + self.guest.wait_for(
            f"cd /sys/class/block && grep -lx 'h{number}' vd?/serial").split("/")[0].strip()

    def restart(self):
        """kill -9 of the daemon, and the same again."""
        self.daemon.crash()
        self.daemon.start()

    def __enter__(self):
        try:
            self.daemon.start()
            self.guest.start()
        except BaseException:
            self.close()
            raise
        self.guest.channel.trouble = self.daemon.trouble
        return self

    def close(self):
        """End both."""
        self.guest.close()
        self.daemon.close()

    def __exit__(self, *unused):
        self.close()
