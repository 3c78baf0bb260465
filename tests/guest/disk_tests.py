"""What Linux does with disks and drives on a controller, the same for IDE and AHCI.

test_ide.py and test_ahci.py take these tests in, name their BUS and the kernels, and add their own.
"""

import os
import random
import re
import time

import image as guest_image
import outboard
import pytest
from burning import BLANK, COMPLETE, blocks, check_burned, make_images
from outboard import Rig, burn_disc, create_disc

# What a driver says when a device did not do as it should; with no fault injected none may appear.
TROUBLE = re.compile(r"lost interrupt|HSM violation|nobody cared|limiting (?:SATA link )?speed|"
                     r"failed command|exception Emask|qc timeout|SRST failed|hard resetting|link is slow|I/O error|COMRESET failed",
                     re.IGNORECASE)
OLD, NEW = guest_image.SUITE, guest_image.NEW_SUITE
# By PIO each word is a message: as little as makes a CD's track (300 blocks with xorriso's padding).
SMALL = 256 << 10


def complaints(guest):
    """Lines of the kernel's log that tell of trouble with a device."""
    return [line for line in guest.kernel_log().splitlines() if TROUBLE.search(line)]


def disk(guest, number):
    """The block device of disk hN, found by its serial number."""
    return "/dev/" + guest.wait_for(
        f"cd /sys/class/block && grep -l 'h{number}' sd?/device/vpd_pg80").split("/")[0].strip()


def random_file(path, size, seed):
    """A file of random bytes."""
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


class Setup:
    """Two disks, a burned DVD and a blank CD on one bus, and a guest with one of the kernels."""

    def __init__(self, work, bus, kernel):
        self.bus, self.kernel = bus, kernel
        self.slow = bus == "ide-pio"
        self.size = (2 if self.slow else 16) << 20
        self.image = make_images(work, SMALL if self.slow else 8 << 20)
        self.disks = [random_file(work / f"h{n}.img", self.size, n) for n in range(2)]
        burned = create_disc(work / "burned.disc", "dvd+r")
        burn_disc(burned, self.image)
        self.rig = Rig(work, {"dvd": burned, "cd": "cd-r"}, bus=bus, hard=self.disks, kernel=kernel,
                       drives=[self.image], memory=512)


@pytest.fixture(name="setup", scope="module")
def fixture_setup(request, tmp_path_factory):
    """See Setup; the parameter is (bus, kernel)."""
    made = Setup(tmp_path_factory.mktemp("disks"), *request.param)
    with made.rig as rig:
        rig.guest.run("cp /dev/vda /tmp/a.iso; mkdir -p /mnt")
        rig.guest.load("crc32c_generic")
        if made.slow:       # a command ends within the kernel's 30 s also on a busy host
            rig.guest.run("for d in /sys/block/s[dr]?; do echo 64 > $d/queue/max_sectors_kb; done")
        yield made
        assert not complaints(rig.guest)


@pytest.mark.matrix("Linux binds, and finds disks and drives")
def test_driver_binds(setup):
    """The stock driver is on the function, every unit is there, interrupts come, none is unclaimed."""
    guest = setup.rig.guest
    driver = outboard.BUSES[setup.bus][2]
    assert guest.text("uname -r").startswith("6.1" if setup.kernel == OLD else "7.")
    modes = guest.text("for d in /sys/class/ata_device/dev*; do echo $(cat $d/class $d/xfer_mode); done")
    wanted = {"ide": "XFER_UDMA_2", "ide-pio": "XFER_PIO_4", "ahci": "XFER_UDMA_6"}[setup.bus]
    assert modes.count(f"ata {wanted}") == 2 and modes.count("atapi XFER_") == 2, modes
    assert guest.text(f"ls -d /sys/bus/pci/drivers/{driver}/0000:*")
    assert len(guest.text("ls -d /sys/class/block/sd?").split()) == 2
    assert not complaints(guest)
    count = f"grep {driver} /proc/interrupts"
    before = guest.text(count)
    guest.run(f"dd if={disk(guest, 0)} of=/dev/null bs=4k count=16 iflag=direct")
    assert guest.text(count) != before


@pytest.mark.matrix("hdparm and smartctl")
def test_hdparm_and_smartctl(setup):
    """Identity, power mode, write cache, SMART with a self-test, as the stock tools read them."""
    guest = setup.rig.guest
    dev = disk(guest, 0)
    told = guest.text(f"hdparm -I {dev}")
    assert re.search(r"Serial Number:\s+h0", told), told
    assert f"LBA48  user addressable sectors: {setup.size // 512:>11}" in told or \
        str(setup.size // 512) in told, told
    assert "active/idle" in guest.text(f"hdparm -C {dev}")
    for on in (0, 1):
        assert re.search(rf"write-caching\s*=\s*{on}", guest.text(f"hdparm -W{on} {dev}"))
        assert re.search(rf"write-caching\s*=\s*{on}", guest.text(f"hdparm -W {dev}"))
    health = guest.text(f"smartctl -i -H -A -c {dev}")
    assert "PASSED" in health and "h0" in health, health
    guest.run(f"smartctl -t short {dev}")
    guest.wait_for(f"smartctl -l selftest {dev} | grep 'Completed without error'")
    sector = guest.text(f"hdparm --read-sector 7 {dev}").split("succeeded", 1)[1]
    words = re.findall(r"\b[0-9a-f]{4}\b", sector)
    want = setup.disks[0].read_bytes()[7 * 512:8 * 512]
    assert bytes.fromhex("".join(words)) == want


@pytest.mark.matrix("disk read by dd")
def test_disk_reads_as_the_file(setup):
    """The whole disk, by requests of several sizes past the page cache."""
    guest = setup.rig.guest
    guest.put(setup.disks[1], "/tmp/disk")
    for size in ("64k",) if setup.slow else ("60k", "1M"):
        guest.run(f"dd if={disk(guest, 1)} bs={size} iflag=direct | cmp - /tmp/disk", timeout=300)
    guest.run(f"dd if={disk(guest, 1)} bs=4k count=128 iflag=direct | cmp -n {128 * 4096} - /tmp/disk")
    guest.run(f"dd if={disk(guest, 1)} bs=512 skip=3 count=9 iflag=direct | "
              "cmp -n 4608 - /tmp/disk 0 1536")
    guest.run("rm /tmp/disk")


@pytest.mark.matrix("disk with ext4: written, checked, read back")
def test_ext4(setup):
    """A file system is made, filled, found clean by fsck, and reads back; the file on the host has it."""
    guest, dev = setup.rig.guest, disk(setup.rig.guest, 0)
    guest.run(f"mkfs.ext4 -q -F {'-O ^has_journal' if setup.slow else ''} {dev}", timeout=300)
    guest.run(f"mount -t ext4 {dev} /mnt && cp /tmp/a.iso /mnt/ && "
              "for n in $(seq 200); do echo text $n > /mnt/file-$n; done && umount /mnt", timeout=300)
    guest.run(f"fsck.ext4 -f -n {dev} && echo 3 > /proc/sys/vm/drop_caches", timeout=300)
    guest.run(f"mount -t ext4 -o ro {dev} /mnt && cmp /tmp/a.iso /mnt/a.iso && "
              "test \"$(cat /mnt/file-137)\" = 'text 137'; code=$?; umount /mnt; exit $code",
              timeout=300)
    assert setup.disks[0].read_bytes()[1080:1082] == b"\x53\xef", "no super block in the file"


@pytest.mark.matrix("disk written by direct I/O; trimmed, but by PIO")
def test_direct_writes_and_trim(setup):
    """Writes of odd lengths and places are in the file; discarded sectors read as zeroes."""
    guest, dev = setup.rig.guest, disk(setup.rig.guest, 1)
    want = bytearray(setup.disks[1].read_bytes())
    dice = random.Random(5)
    data = dice.randbytes(300 * 512)
    guest.put(data, "/tmp/data")
    for _ in range(8):
        at, count = dice.randrange(1000), dice.randrange(1, 300)
        guest.run(f"dd if=/tmp/data of={dev} bs=512 count={count} seek={at} oflag=direct "
                  f"{'' if count % 8 else 'conv=fsync'}")
        want[at * 512:(at + count) * 512] = data[:count * 512]
    guest.run("sync")
    got = setup.disks[1].read_bytes()
    assert got[:2048 * 512] == want[:2048 * 512]
    if setup.slow:      # the command has only a form by DMA
        return
    guest.run(f"blkdiscard -o {2048 * 512} -l {1024 * 512} {dev} && sync")
    guest.run(f"dd if={dev} bs=512 skip=2048 count=1024 iflag=direct | cmp -n {1024 * 512} - /dev/zero")


@pytest.mark.matrix("packets: odd lengths in, parameters out")
def test_packets_of_odd_lengths(setup):
    """INQUIRY and MODE SENSE cut anywhere, a sector and a byte, a mode page out."""
    drive = setup.rig["dvd"]
    full = drive.need("12 00 00 00 24 00", 36)
    for length in (1, 3, 5, 7, 35, 36):
        reply = drive.command(f"12 00 00 00 {length:02x} 00", length, raw=True)
        assert (reply.code, reply.data) == ("good", full[:length]), length
    page = drive.command("5a 08 2a 00 00 00 00 01 00 00", 256, raw=True).data
    for length in (9, 11, 25):
        reply = drive.command(f"5a 08 2a 00 00 00 00 00 {length:02x} 00", length, raw=True)
        assert (reply.code, reply.data) == ("good", page[:length]), length
    first = setup.image.read_bytes()[:4096]
    assert drive.read(0, 2).data == first
    reply = drive.command("28 00 00 00 00 00 00 00 01 00", 2049, raw=True)
    assert reply.code == "good" and reply.data[:2048] == first[:2048]
    page = setup.rig["cd"].mode_page(5)
    parameters = bytearray(page[:2 + page[1]])
    parameters[0] &= 0x3f
    assert setup.rig["cd"].mode_select(bytes(parameters)) == "good"
    assert setup.rig["cd"].mode_page(5) == page
    assert drive.code("ff 00 00 00 00 00 00 00 00 00") == "5/20/00"
    assert drive.code("00 00 00 00 00 00") == "good"


@pytest.mark.matrix("all units busy at once")
def test_all_units_at_once(setup):
    """Both disks and the drive are read while the other disk is written."""
    guest, rig = setup.rig.guest, setup.rig
    count = 4 if setup.slow else 128
    jobs = [guest.start_command(f"dd if={disk(guest, n)} of=/dev/null bs=64k count={count} "
                                "iflag=direct") for n in (0, 1)]
    jobs.append(guest.start_command(f"dd if=/dev/zero of={disk(guest, 0)} bs=64k seek=8 "
                                    f"count={count // 2} oflag=direct"))
    rig["dvd"].compare("/tmp/a.iso")
    for job in jobs:
        job.wait(300)
    assert not complaints(guest)


@pytest.mark.matrix("disc changed under a reader")
def test_disc_changes_while_the_guest_reads(setup, tmp_path):
    """It is taken away by force and another comes: the reader fails, the next one has the new data."""
    rig, guest, drive = setup.rig, setup.rig.guest, setup.rig["dvd"]
    other_image = random_file(tmp_path / "other.iso", SMALL * 3, 77)
    other = create_disc(tmp_path / "other.disc", "dvd+r")
    burn_disc(other, other_image)
    job = guest.start_command(f"while sgio {drive.sg} in 32768 28 00 00 00 00 00 00 00 10 00 2>&1 "
                              ">/dev/null | grep status=00; do :; done")
    job.wait_output("status=00")
    rig.daemon.ctl("eject", "d0", "--force")
    job.wait(check=False)
    rig.daemon.ctl("insert", "d0", other)
    drive.ready()
    guest.put(other_image, "/tmp/other.iso")
    guest.wait_for(f"test $(blockdev --getsize64 {drive.dev}) -ge {SMALL * 3}")
    drive.compare("/tmp/other.iso")
    rig.daemon.ctl("eject", "d0", "--force")
    rig.daemon.ctl("insert", "d0", drive.disc)
    drive.ready()
    drive.compare("/tmp/a.iso")


def test_cdrdao_burns(setup):
    """Disc at once by cdrdao's own driver: MODE SELECT, SEND CUE SHEET, WRITE, all data going out."""
    drive, guest = setup.rig["cd"], setup.rig.guest
    assert drive.state() == BLANK
    guest.put('CD_ROM\nTRACK MODE1\nDATAFILE "/tmp/a.iso"\n', "/tmp/a.toc")
    guest.run(f"cdrdao write -n --driver generic-mmc --device {drive.dev} /tmp/a.toc", timeout=300)
    check_burned(drive, setup.image, COMPLETE, blocks(setup.image))


# what follows has a guest of its own

def faulty(path, **rule):
    """The option of a disk that fails by a rule of the block driver "fault"."""
    words = ",".join(f"{name.replace('_', '-')}={value}" for name, value in rule.items())
    return f"driver=fault,{words},file.driver=file,file.filename={path}"


def check_medium_error(work, bus):
    """Sectors that cannot be read: an error for those, the next command is answered as before."""
    path = random_file(work / "disk.img", 8 << 20, 9)
    bad = 1 << 20
    rule = faulty(path, op="read", error="eio", **{"from": bad, "to": bad + 4096})
    with Rig(work, {}, bus=bus, hard=[rule]) as rig:
        guest, dev = rig.guest, disk(rig.guest, 0)
        guest.put(path, "/tmp/disk")
        for _ in range(2):
            code, _, err = guest.run(f"dd if={dev} of=/dev/null bs=4k skip={bad // 4096} count=1 "
                                     "iflag=direct", check=False)
            assert code == 1 and b"Input/output error" in err
            guest.run(f"dd if={dev} bs=4k count={bad // 4096} iflag=direct | "
                      f"cmp -n {bad} - /tmp/disk")
        assert "UNC" in guest.kernel_log()
        after = bad + 4096
        guest.run(f"dd if={dev} bs=4k skip={after // 4096} count=64 iflag=direct | "
                  f"cmp -n {64 * 4096} - /tmp/disk 0 {after}")
        guest.run(f"dd if=/tmp/disk of={dev} bs=64k seek=32 count=4 oflag=direct")
        guest.poweroff()


def check_timeout(work, bus):
    """A read that takes longer than the kernel waits: it resets the device and the read succeeds."""
    path = random_file(work / "disk.img", 8 << 20, 9)
    late = 1 << 20
    rule = faulty(path, op="read", times=1, error="none", delay_ms=9000,
                  **{"from": late, "to": late + 4096})
    with Rig(work, {}, bus=bus, hard=[rule]) as rig:
        guest, dev = rig.guest, disk(rig.guest, 0)
        guest.put(path, "/tmp/disk")
        guest.run(f"echo 3 > /sys/block/{os.path.basename(dev)}/device/timeout")
        guest.run(f"dd if={dev} bs=4k skip={late // 4096} count=1 iflag=direct | "
                  f"cmp -n 4096 - /tmp/disk 0 {late}", timeout=120)
        assert "timeout" in guest.kernel_log()
        guest.run(f"dd if={dev} bs=64k iflag=direct | cmp - /tmp/disk")
        guest.poweroff()


def check_end_under_traffic(work, bus):
    """The daemon is told to end while the guest reads: QEMU and the guest live on."""
    path = random_file(work / "disk.img", 8 << 20, 9)
    with Rig(work, {"cd": "cd-r"}, bus=bus, hard=[path], cpus=2) as rig:
        guest, dev = rig.guest, disk(rig.guest, 0)
        job = guest.start_command(f"while dd if={dev} of=/dev/null bs=64k iflag=direct 2>/dev/null; "
                                  "do echo round; done")
        job.wait_output("round")
        rig.daemon.stop()
        guest.channel.trouble = lambda: None
        end = time.monotonic() + 10     # how long the guest is watched afterwards
        while time.monotonic() < end:
            assert guest.text("echo alive") == "alive"
            time.sleep(0.5)
        assert guest.process.running()


__all__ = [name for name in dir() if name.startswith(("test_", "fixture_"))]
