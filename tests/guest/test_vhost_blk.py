"""Disks behind vhost-user-blk under Linux: file systems, discard, a new size, kills of the daemon."""

import re
import subprocess

import outboard
import pytest
from harness import Guest
from vhost_disk import DiskRig

SIZE = 320 << 20      # xfs asks for more than 300 MB
GROWN = 448 << 20
TROUBLE = re.compile(r"I/O error|blk_update_request|Buffer I/O|EXT4-fs error|XFS .*(?:error|corrupt)",
                     re.IGNORECASE)
MAKE = {"ext4": "mkfs.ext4 -q -F", "xfs": "mkfs.xfs -q -f"}
FSCK = {"ext4": "fsck.ext4 -f -n", "xfs": "xfs_repair -n"}


def make_disk(path, form):
    """A disk of zeros; what --disk takes for it."""
    if form == "raw":
        with open(path, "wb") as file:
            file.truncate(SIZE)
    else:
        subprocess.run([outboard.binary(), "image", "create", "-f", form, path, str(SIZE)],
                       check=True, stdout=subprocess.DEVNULL)
    return f"file={path},format={form}"


def complaints(guest):
    """Lines of the kernel's log that tell of trouble."""
    return [line for line in guest.kernel_log().splitlines() if TROUBLE.search(line)]


@pytest.fixture(name="rig", scope="module", params=["7.2", "11.1"])
def fixture_rig(request, tmp_path_factory):
    """Disk 0 is raw, disk 1 is qcow2; two processors, so that both queues are used."""
    work = tmp_path_factory.mktemp("blk")
    disks = [make_disk(work / f"h.{form}", form) for form in ("raw", "qcow2")]
    with DiskRig(work, disks, request.param, cpus=2, memory=512) as rig:
        rig.guest.load("crc32c_generic")
        rig.guest.load("xfs")
        yield rig
        assert not complaints(rig.guest)


def file_blocks(rig, number):
    """512-byte blocks that the disk's file takes on the host."""
    path = rig.daemon.disks[number].split(",")[0].removeprefix("file=")
    return int(subprocess.check_output(["stat", "-c", "%b", path]))


def fill(guest, dev, kind, count=150):
    """A file system with files whose sums are kept in /tmp/sums; it stays mounted."""
    guest.run(f"{MAKE[kind]} {dev} && mount -t {kind} {dev} /mnt", timeout=300)
    guest.run(f"for n in $(seq {count}); do dd if=/dev/urandom of=/mnt/file-$n bs=100k count=1 "
              "2>/dev/null; done && cd /mnt && sha256sum file-* > /tmp/sums && sync", timeout=300)


def check(guest, dev, kind):
    """Unmounts it; it is clean, and every file is as it was."""
    guest.run(f"umount /mnt && {FSCK[kind]} {dev} && echo 3 > /proc/sys/vm/drop_caches",
              timeout=300)
    guest.run(f"mount -t {kind} -o ro {dev} /mnt && cd /mnt && sha256sum -c /tmp/sums > /dev/null; "
              "code=$?; cd /; umount /mnt; exit $code", timeout=300)


def test_features(rig):
    """What the driver took: a write cache, two queues, discard and zeroes, page-sized blocks."""
    name = rig.disk(0).removeprefix("/dev/")
    queue = f"/sys/block/{name}/queue"
    told = rig.guest.text(f"cd {queue} && cat write_cache discard_max_bytes write_zeroes_max_bytes "
                          f"physical_block_size; ls -d ../mq/* | wc -l").split("\n")
    assert told[0] == "write back"
    assert int(told[1]) > 0 and int(told[2]) > 0
    assert told[3:] == ["4096", "2"]


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("number", [0, 1], ids=["raw", "qcow2"])
def test_file_system(rig, number, kind):
    """Made, filled, found clean, read back; then trimmed: the raw file on the host gets smaller, and
    what is written next to the qcow2 one takes the place of what was trimmed."""
    guest, dev = rig.guest, rig.disk(number)
    fill(guest, dev, kind)
    check(guest, dev, kind)
    before = file_blocks(rig, number)
    guest.run(f"mount -t {kind} {dev} /mnt && rm /mnt/file-* && sync && fstrim /mnt && "
              "echo flush | dd of=/mnt/flush conv=fsync", timeout=300)
    if number == 0:
        assert file_blocks(rig, number) < before - (10 << 20) // 512
    guest.run("dd if=/dev/urandom of=/mnt/again bs=1M count=14 conv=fsync && umount /mnt && "
              f"{FSCK[kind]} {dev}", timeout=300)
    assert file_blocks(rig, number) < before + (4 << 20) // 512


def test_cache_mode(rig):
    """The guest switches the write cache off and on."""
    name = rig.disk(0).removeprefix("/dev/")
    for mode in ("write through", "write back"):
        rig.guest.run(f"echo '{mode}' > /sys/block/{name}/cache_type")
        assert rig.guest.text(f"cat /sys/block/{name}/cache_type") == mode
        rig.guest.run(f"dd if=/dev/urandom of={rig.disk(0)} bs=64k count=4 oflag=direct")


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("number", [0, 1], ids=["raw", "qcow2"])
def test_killed_in_mid_write(rig, number, kind):
    """Kills of the daemon under a writer: it never notices, the file system is clean and whole."""
    guest, dev = rig.guest, rig.disk(number)
    guest.run(f"{MAKE[kind]} {dev} && mount -t {kind} {dev} /mnt", timeout=300)
    job = guest.start_command(
        "cd /mnt && n=0; while [ ! -e /tmp/enough ]; do n=$((n + 1)); "
        "dd if=/dev/urandom of=file-$((n % 40)) bs=64k count=20 conv=fsync 2>/dev/null || exit 1; "
        "echo round $n; done; sha256sum file-* > /tmp/sums && sync")
    for rounds in (5, 15, 25):
        job.wait_output(f"round {rounds}\n")
        rig.restart()
    job.wait_output("round 35\n")
    guest.run("touch /tmp/enough")
    job.wait(120)
    guest.run("rm /tmp/enough")
    check(guest, dev, kind)
    assert not complaints(guest)


@pytest.mark.parametrize("number", [0, 1], ids=["raw", "qcow2"])
def test_grows(rig, number):
    """A new size is seen by the guest, whose data goes there; less is refused."""
    guest, dev = rig.guest, rig.disk(number)
    rig.daemon.ctl("resize-disk", f"h{number}", str(GROWN))
    guest.wait_for(f"test $(blockdev --getsize64 {dev}) = {GROWN}")
    guest.run("dd if=/dev/urandom of=/tmp/end bs=64k count=16 2>/dev/null && "
              f"dd if=/tmp/end of={dev} bs=64k seek={(GROWN >> 16) - 16} oflag=direct && "
              f"dd if={dev} bs=64k skip={(GROWN >> 16) - 16} iflag=direct | cmp - /tmp/end")
    done = rig.daemon.ctl("resize-disk", f"h{number}", str(SIZE), check=False)
    assert done.returncode == 1 and "not less" in done.stderr


@pytest.mark.parametrize("qemu", ["7.2", "11.1"])
def test_run(tmp_path, qemu):
    """`outboard run --bus virtio-blk`: the VMM gets all it needs, and the disk holds what is written."""
    disk = make_disk(tmp_path / "disk.raw", "raw")
    wrapper = [outboard.binary(), "run", "--bus", "virtio-blk", "--disk", f"{disk},id=sys", "--"]
    with Guest(tmp_path, qemu=qemu, wrapper=wrapper) as guest:
        assert guest.text("cat /sys/block/vda/serial") == "sys"
        guest.run("echo marked | dd of=/dev/vda bs=512 seek=9 conv=sync,fsync")
        guest.poweroff()
    with open(tmp_path / "disk.raw", "rb") as file:
        file.seek(9 * 512)
        assert file.read(6) == b"marked"
