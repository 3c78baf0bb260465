"""AHCI: disks come and go, and discs change, while the guest reads."""

import os
import subprocess
from pathlib import Path

import outboard
import pytest

SIZE = 8 << 20


@pytest.fixture(name="hot", scope="module")
def fixture_hot(tmp_path_factory, image):
    """A guest with a disk and two drives on one controller; the image is in one of them."""
    work = tmp_path_factory.mktemp("hot")
    disk = work / "first.img"
    disk.write_bytes(os.urandom(SIZE))
    with outboard.Rig(work, {"full": image, "empty": None}, bus="ahci", hard=[disk]) as rig:
        yield rig


def _host_sum(path):
    return subprocess.run(["sha256sum", str(path)], stdout=subprocess.PIPE, text=True, check=True).stdout[:64]


def _guest_sum(guest):
    """Of the only disk there, past the page cache."""
    name = guest.text("basename /sys/class/block/sd?")
    guest.run(f"test -b /dev/{name} || mknod /dev/{name} b $(tr : ' ' < /sys/class/block/{name}/dev)")
    return guest.text(f"dd if=/dev/{name} bs=1M iflag=direct 2>/dev/null | sha256sum")[:64]


def test_a_disk_is_exchanged_under_reads(hot):
    """Pulled while it is read: the guest lets it go; another one in its place is found and read."""
    guest, daemon = hot.guest, hot.daemon
    assert _guest_sum(guest) == _host_sum(daemon.disks[0])
    other = Path(hot.work) / "second.img"
    other.write_bytes(os.urandom(SIZE))
    assert daemon.ctl("add-disk", f"{other},id=other,serial=other").stdout.strip() == "other"
    reader = guest.start_command("while dd if=/dev/sda of=/dev/null bs=64k iflag=direct; do :; done")
    guest.wait_for("test $(awk '{print $1}' /sys/class/block/sda/stat) -gt 200")
    daemon.ctl("unplug", "c0", "0")
    reader.wait(check=False)
    guest.wait_for("! ls /sys/class/block/sd?", 120)
    daemon.ctl("remove-disk", "h0")
    daemon.ctl("plug", "c0", "0", "other")
    guest.wait_for("ls /sys/class/block/sd?", 120)
    assert _guest_sum(guest) == _host_sum(other)
    status = daemon.ctl("status").stdout
    assert "slot 0: other" in status and "disk other" in status and "h0" not in status
    assert "nobody cared" not in guest.kernel_log()


def test_what_cannot_be_plugged(hot):
    """Each refusal names what is wrong and changes nothing."""
    ctl = hot.daemon.ctl
    for words, says in ((("plug", "c0", "0", "d0"), "unplug it first"), (("plug", "c0", "9", "d0"), "slots 0 to"),
                        (("plug", "c0", "1", "none"), "unplug it first"), (("unplug", "c0", "77"), "slots 0 to"),
                        (("plug", "x", "0", "d0"), "no device 'x'"), (("remove-disk", "other"), "hangs on")):
        done = ctl(*words, check=False)
        assert done.returncode == 1 and says in done.stderr, done.stderr


def test_a_disc_is_exchanged_under_reads(hot, image):
    """Ejected by force while it is read, another put in: the guest sees the change and the new disc."""
    guest, drive = hot.guest, hot["full"]
    assert drive.capacity() == image.stat().st_size // 2048
    reader = guest.start_command(f"while dd if={drive.dev} of=/dev/null bs=64k iflag=direct; do :; done")
    guest.wait_for(f"test $(awk '{{print $1}}' /sys/class/block/{Path(drive.dev).name}/stat) -gt 50")
    hot.daemon.ctl("eject", "d0", "--force")
    reader.wait(check=False)
    other = Path(hot.work) / "other.iso"
    other.write_bytes(os.urandom(2 << 20))
    hot.daemon.ctl("insert", "d0", other)
    drive.ready()
    assert drive.capacity() == (2 << 20) // 2048
    guest.run(f"dd if={drive.dev} of=/tmp/new bs=64k iflag=direct")
    assert guest.text("sha256sum /tmp/new")[:64] == _host_sum(other)
    assert "lost interrupt" not in guest.kernel_log()
