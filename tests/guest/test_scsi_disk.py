"""Disks on virtio-scsi: Linux and sg3-utils with them, two guests that share one, kills."""

import json
import os
import random
import re
import subprocess
import time

import pytest
from channel import GuestError
from disk_tests import disk, random_file
from harness import Guest
from outboard import Outboard, Rig, binary, create_disc

SIZE = 320 << 20
ALARMS = ("I/O error", "Buffer I/O", "Sense Key", "timing out", "EXT4-fs error", "XFS (sd")


@pytest.fixture(name="rig", scope="module")
def fixture_rig(tmp_path_factory):
    """A guest of QEMU 7.2 with an empty disk of 512 byte blocks, one of 4096, and a drive."""
    work = tmp_path_factory.mktemp("scsi")
    paths = [work / "h0.img", work / "h1.img"]
    for path in paths:
        with open(path, "wb") as out:
            out.truncate(SIZE)
    hard = [f"{paths[0]},format=raw", f"{paths[1]},format=raw,block-size=4096,rotational=on"]
    rig = Rig(work, {}, hard=hard, memory=512)
    rig.paths = paths
    with rig:
        rig.guest.load("crc32c_generic")
        rig.guest.load("xfs")
        yield rig


def allocated(path):
    """Bytes of the host that a file takes."""
    return os.stat(path).st_blocks * 512


def content(path, at, length):
    """Bytes of a file, which may be large and mostly empty."""
    with open(path, "rb") as file:
        file.seek(at)
        return file.read(length)


def name_of(dev):
    """sda of /dev/sda."""
    return dev.rsplit("/", maxsplit=1)[1]


def attribute(guest, dev, what):
    """A file of the disk in /sys/block."""
    return guest.text(f"cat /sys/block/{name_of(dev)}/{what}")


def test_kernel_knows_the_disks(rig):
    """Size, blocks, cache, discards and kind, as the kernel asked for them."""
    guest = rig.guest
    for number, (block, rotational) in enumerate(((512, "0"), (4096, "1"))):
        dev = disk(guest, number)
        assert int(guest.text(f"blockdev --getsize64 {dev}")) == SIZE
        assert attribute(guest, dev, "queue/logical_block_size") == str(block)
        assert attribute(guest, dev, "queue/physical_block_size") == "4096"
        assert attribute(guest, dev, "queue/rotational") == rotational
        assert attribute(guest, dev, "queue/write_cache") == "write back"
        assert int(attribute(guest, dev, "queue/discard_max_bytes")) > 1 << 20
        assert int(attribute(guest, dev, "queue/write_zeroes_max_bytes")) > 1 << 20
        assert "unmap" in guest.text(f"cat /sys/block/{name_of(dev)}/device/scsi_disk/*/provisioning_mode")
    assert "supports DPO and FUA" in guest.kernel_log()


def test_sg3_utils_read_it(rig):
    """What the utilities make of INQUIRY, VPD pages, capacity, mode pages and the list of commands."""
    guest, dev = rig.guest, disk(rig.guest, 0)
    told = guest.text(f"sg_inq {dev}")
    assert "Vendor identification: OUTBOARD" in told and "Unit serial number: h0" in told, told
    assert "Supported VPD pages" in guest.text(f"sg_vpd {dev}")
    told = guest.text(f"sg_vpd -p di {dev}")
    assert "0x3" in told and "T10 vendor identification" in told, told
    told = guest.text(f"sg_vpd -p bl {dev}")
    assert re.search(r"Maximum compare and write length: 128 blocks", told), told
    assert re.search(r"Maximum unmap LBA count: 8388608", told), told
    told = guest.text(f"sg_vpd -p lbpv {dev}")
    assert "Unmap command supported (LBPU): 1" in told and "LBPRZ): 1" in told, told
    told = guest.text(f"sg_vpd -p bdc {disk(guest, 1)}")
    assert "Nominal rotation rate: 7200 rpm" in told, told
    told = guest.text(f"sg_readcap --16 {dev}")
    assert f"Number of logical blocks={SIZE // 512}" in told and "lbpme=1, lbprz=1" in told, told
    assert "Logical blocks per physical block exponent=3" in told, told
    told = guest.text(f"sg_modes -a {dev}")
    assert "Caching" in told and "Control" in told and "Mode data length" in told, told
    told = guest.text(f"sg_opcodes {dev}")
    for words in ("Unmap", "Write same(16)", "Compare and write", "Get LBA status",
                  "Persistent reserve out, preempt and abort", "Synchronize cache(10)"):
        assert words in told, (words, told)
    assert guest.text(f"sg_luns {dev}")


def test_sg_commands(rig):
    """Unmap, write same, verify, compare and write, by the utilities; the file shows what they did."""
    guest, dev, path = rig.guest, disk(rig.guest, 0), rig.paths[0]
    data = random.Random(3).randbytes(2 << 20)
    guest.put(data, "/tmp/data")
    guest.run(f"dd if=/tmp/data of={dev} bs=64k seek=16 oflag=direct && sg_sync {dev}")
    assert content(path, 1 << 20, 2 << 20) == data
    before = allocated(path)
    guest.run(f"sg_unmap --lba=2048 --num=2048 --force {dev}")
    assert content(path, 1 << 20, 1 << 20) == bytes(1 << 20)
    assert allocated(path) <= before - (1 << 20)
    told = guest.text(f"sg_get_lba_status --lba=2048 {dev}")
    assert "deallocated" in told, told
    told = guest.text(f"sg_get_lba_status --lba=4096 {dev}")
    assert "mapped" in told, told
    guest.put(b"\x5a" * 512, "/tmp/block")
    guest.run(f"sg_write_same --16 --lba=2056 --num=100 --in=/tmp/block {dev}")
    got = content(path, 1 << 20, 1 << 20)
    assert got == bytes(8 * 512) + b"\x5a" * 51200 + bytes((1 << 20) - 108 * 512)
    guest.run(f"sg_write_same --16 --unmap --ndob --lba=2056 --num=100 {dev}")
    assert content(path, 1 << 20, 1 << 20) == bytes(1 << 20)
    guest.run(f"sg_verify --lba=0 --count=4096 {dev}")
    guest.run(f"head -c 4096 /tmp/data > /tmp/eight && "
              f"dd if=/tmp/eight of={dev} bs=4k oflag=direct && "
              f"sg_verify --lba=0 --count=8 --ndo=4096 --ebytchk=1 --in=/tmp/eight {dev}")
    code, _, err = guest.run(f"sg_verify --lba=8 --count=8 --ndo=4096 --ebytchk=1 --in=/tmp/eight {dev}",
                             check=False)
    assert code == 14, err      # a miscompare
    guest.run("cat /tmp/eight /tmp/block /tmp/block /tmp/block /tmp/block /tmp/block /tmp/block "
              "/tmp/block /tmp/block > /tmp/both")
    guest.run(f"sg_compare_and_write --lba=0 --num=8 --in=/tmp/both {dev}")
    assert content(path, 0, 4096) == b"\x5a" * 4096
    code, _, err = guest.run(f"sg_compare_and_write --lba=0 --num=8 --in=/tmp/both {dev}",
                             check=False)
    assert code == 14, err


def test_cache_is_switched_off(rig):
    """By MODE SELECT from the kernel; writes are good all the same."""
    guest, dev = rig.guest, disk(rig.guest, 0)
    place = f"$(ls -d /sys/block/{name_of(dev)}/device/scsi_disk/*)/cache_type"
    guest.run(f"echo 'write through' > {place}")
    assert attribute(guest, dev, "queue/write_cache") == "write through"
    assert re.search(r"WCE\s*0|00\s+08 0a 10 00|08 0a 00", guest.text(f"sg_modes -p 8 -H {dev}"))
    guest.run(f"dd if=/dev/urandom of=/tmp/data bs=64k count=4 && "
              f"dd if=/tmp/data of={dev} bs=64k oflag=direct")
    assert content(rig.paths[0], 0, 256 << 10) == guest.get("/tmp/data")
    guest.run(f"echo 'write back' > {place}")
    assert attribute(guest, dev, "queue/write_cache") == "write back"


@pytest.mark.parametrize("number, make, check", [
    (0, "mkfs.ext4 -q -F", "fsck.ext4 -f -n"), (1, "mkfs.xfs -q -f", "xfs_repair -n")])
def test_file_systems(rig, number, make, check):
    """Made, filled, trimmed (which the host's file shows), found clean, read back."""
    guest, dev, path = rig.guest, disk(rig.guest, number), rig.paths[number]
    kind = make.split()[0].split(".")[1]
    guest.run(f"dd if=/dev/urandom of=/tmp/big bs=1M count=24 && {make} {dev}", timeout=300)
    guest.run(f"mount -t {kind} {dev} /mnt && cp /tmp/big /mnt/one && cp /tmp/big /mnt/two && sync",
              timeout=300)
    full = allocated(path)
    assert full >= 48 << 20
    guest.run("rm /mnt/two && sync && fstrim /mnt", timeout=300)
    assert allocated(path) <= full - (20 << 20)
    guest.run(f"umount /mnt && {check} {dev} && echo 3 > /proc/sys/vm/drop_caches", timeout=300)
    guest.run(f"mount -t {kind} -o ro {dev} /mnt && cmp /tmp/big /mnt/one; code=$?; "
              "umount /mnt; exit $code", timeout=300)


def test_disk_and_drive_come_and_go(rig, tmp_path):
    """Plugged in and out by ctl while the guest runs."""
    guest, ctl = rig.guest, rig.daemon.ctl
    path = random_file(tmp_path / "other.img", 4 << 20, 7)
    assert ctl("add-disk", f"{path},format=raw,id=other,serial=h7").stdout.strip() == "other"
    ctl("plug", "scsi0", "5", "other")
    guest.wait_for("grep -l h7 /sys/class/block/sd?/device/vpd_pg80", 60)
    dev = disk(guest, 7)
    guest.put(path, "/tmp/other")
    guest.run(f"dd if={dev} bs=64k iflag=direct | cmp - /tmp/other")
    status = ctl("status").stdout
    assert "slot 5: other" in status and "slot 0: h0" in status, status
    for words, says in ((("plug", "scsi0", "5", "other"), "unplug it first"),
                        (("plug", "scsi0", "6", "other"), "is in slot 5"),
                        (("plug", "scsi0", "255", "h0"), "slots 0 to 254"),
                        (("remove-disk", "other"), "is attached at"),
                        (("unplug", "scsi0", "9"), "is nothing")):
        done = ctl(*words, check=False)
        assert done.returncode == 1 and says in done.stderr, done.stderr
    reader = guest.start_command(f"while dd if={dev} of=/dev/null bs=64k iflag=direct; do :; done")
    guest.wait_for(f"test $(awk '{{print $1}}' /sys/block/{name_of(dev)}/stat) -gt 100")
    ctl("unplug", "scsi0", "5")
    reader.wait(check=False)
    guest.wait_for(f"! test -e /sys/block/{name_of(dev)}", 60)
    ctl("remove-disk", "other")


def test_disk_grows(rig):
    """The guest is told, and asks for the capacity anew."""
    guest, dev = rig.guest, disk(rig.guest, 0)
    rig.daemon.ctl("resize-disk", "h0", str(SIZE + (64 << 20)))
    guest.wait_for(f"test $(blockdev --getsize64 {dev}) = {SIZE + (64 << 20)}", 60)
    done = rig.daemon.ctl("resize-disk", "h0", str(SIZE), check=False)
    assert done.returncode == 1 and "not less than" in done.stderr
    guest.run(f"dd if=/tmp/data of={dev} bs=64k count=4 seek={SIZE >> 16} oflag=direct")


def test_no_complaints(rig):
    """After all of that the kernel has nothing to say but of what was provoked."""
    log = [line for line in rig.guest.kernel_log().splitlines()
           if any(word in line for word in ALARMS[4:])]
    assert not [line for line in log if "Mounting" not in line and "Ending" not in line
                and "Unmounting" not in line], log


# ---- two guests with one disk

class Shared(Outboard):
    """A daemon whose socket takes two front ends."""

    def arguments(self):
        """The command line behind the program's name."""
        for word in super().arguments():
            word = str(word)
            yield f"{word},clients=2" if word.startswith("vhost-user,") else word


def persist(guest, words, check=True):
    """sg_persist on the only disk: (status, output)."""
    code, out, err = guest.run(f"sg_persist {words} /dev/sda", check=False)
    if check and code:
        raise GuestError(f"sg_persist {words}: {code}\n{out.decode()}{err.decode()}")
    return code, out.decode()


def write_block(guest, check=True):
    """Whether a direct write works."""
    code, _, _ = guest.run("dd if=/tmp/block of=/dev/sda bs=4k count=1 oflag=direct", check=False)
    assert not check or code == 0
    return code == 0


CONFLICT = 24           # sg3-utils' exit status for RESERVATION CONFLICT


def test_one_guest_fences_the_other(tmp_path):
    """Registered both, reserved, preempted: who is fenced cannot write, nor after a restart."""
    path = tmp_path / "shared.img"
    with open(path, "wb") as out:
        out.truncate(16 << 20)
    daemon = Shared(tmp_path, [], disks=[f"{path},format=raw"])
    guests = []
    try:
        daemon.start()
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            guests.append(Guest(tmp_path / name, qemu="11.1", sockets=[daemon.socket], memory=320))
            guests[-1].start().put(name.encode() * 4096, "/tmp/block")
            guests[-1].channel.trouble = daemon.trouble
        one, two = guests
        assert write_block(one) and write_block(two)
        persist(one, "--out --register --param-sark=0xa1")
        persist(two, "--out --register --param-sark=0xb2")
        persist(one, "--out --reserve --param-rk=0xa1 --prout-type=5")
        told = persist(two, "--in --read-keys")[1]
        assert "0xa1" in told and "0xb2" in told, told
        told = persist(two, "--in --read-reservation")[1]
        assert "Key=0xa1" in told and "Write Exclusive, registrants only" in told, told
        assert "2 registered" in daemon.ctl("status").stdout
        assert persist(two, "--out --reserve --param-rk=0xb2 --prout-type=5", False)[0] == CONFLICT
        assert write_block(two)
        told = persist(one, "--in --read-full-status")[1]
        assert "Reservation holder" in told, told
        # the second takes over and fences the first
        persist(two, "--out --preempt-abort --param-rk=0xb2 --param-sark=0xa1 --prout-type=5")
        assert not write_block(one, False)
        one.run("dd if=/dev/sda of=/dev/null bs=4k count=1 iflag=direct")   # which reads still
        assert persist(one, "--out --release --param-rk=0xa1 --prout-type=5", False)[0] == CONFLICT
        assert write_block(two)
        assert content(path, 0, 4096) == b"b" * 4096
        # it stays so when the daemon is killed and both come back, in whatever order
        daemon.crash()
        daemon.start()
        assert write_block(two)
        assert not write_block(one, False)
        assert "Key=0xb2" in persist(one, "--in --read-reservation")[1]
        persist(two, "--out --clear --param-rk=0xb2")
        one.wait_for("dd if=/tmp/block of=/dev/sda bs=4k count=1 oflag=direct")
        assert content(path, 0, 4096) == b"a" * 4096
    finally:
        for guest in guests:
            guest.close()
        daemon.close()


# ---- kills

def test_file_system_survives_kills(tmp_path):
    """The daemon is killed in mid-write and started again: no error in the guest, fsck finds nothing."""
    path = tmp_path / "h0.img"
    with open(path, "wb") as out:
        out.truncate(SIZE)
    with Rig(tmp_path, {}, qemu="11.1", hard=[f"{path},format=raw"], memory=512) as rig:
        guest, dev = rig.guest, disk(rig.guest, 0)
        guest.load("crc32c_generic")
        guest.run(f"mkfs.ext4 -q -F {dev} && mount -t ext4 {dev} /mnt && dmesg -c > /dev/null",
                  timeout=300)
        guest.run("dd if=/dev/urandom of=/tmp/big bs=1M count=16")
        job = guest.start_command("for n in 1 2 3 4 5 6; do cp /tmp/big /mnt/$n && sync || exit 1; "
                                  "done")
        kills = 0
        for goal in (20 << 20, 60 << 20):
            end = time.monotonic() + 240
            while job.running() and allocated(path) < goal:
                assert time.monotonic() < end, job.report()
                time.sleep(0.005)
            if job.running():
                rig.daemon.crash()
                rig.daemon.start()
                kills += 1
        job.wait(300)
        assert kills == 2, "it was written before the daemon could be killed twice"
        guest.run("for n in 1 2 3 4 5 6; do cmp /tmp/big /mnt/$n || exit 1; done", timeout=300)
        guest.run(f"umount /mnt && fsck.ext4 -f -n {dev}", timeout=300)
        log = guest.kernel_log()
        assert not [line for line in log.splitlines() if any(word in line for word in ALARMS)], log
        guest.poweroff()


def test_run_shows_disks(tmp_path):
    """outboard run --bus virtio-scsi: disks before drives on one controller."""
    path = random_file(tmp_path / "disk.img", 1 << 20, 1)
    disc = create_disc(tmp_path / "cd.disc", "cd-r")
    done = subprocess.run([*_run_words(), "--disk", f"{path},serial=h0,format=raw", "--disc", str(disc),
                           "--print", "--json", "--", "qemu-system-x86_64", "-m", "256"],
                          stdout=subprocess.PIPE, text=True, check=True)
    argv = json.loads(done.stdout)["argv"]
    assert sum("vhost-user-scsi-pci" in word for word in argv) == 1
    with Guest(tmp_path, wrapper=[*_run_words(), "--disk", f"{path},serial=h0,format=raw",
                                  "--disc", disc, "--"]) as guest:
        dev = disk(guest, 0)
        guest.put(path, "/tmp/disk")
        guest.run(f"cmp {dev} /tmp/disk && test -b /dev/sr0")
        assert "0:0:0:0" in guest.text(f"readlink /sys/block/{name_of(dev)}/device")
        guest.poweroff()


def _run_words():
    return [str(binary()), "run", "--bus", "virtio-scsi"]
