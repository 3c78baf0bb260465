"""U-Boot's own AHCI driver on our controller: it reads uImages from disks, verifies and runs them."""

import contextlib
import random
import shutil
import subprocess
from pathlib import Path

import firmware
import outboard
import pytest

ROM = Path("/usr/lib/u-boot/qemu-x86/u-boot.rom")
AT, COPY_AT, SECTOR = 0x2000000, 0x4000, 512      # in memory; on the disk, a sector
PAYLOAD = random.Random("uboot").randbytes((3 << 20) + 700)
SCRIPT = "setenv word load\necho the script is ${word}ed\n"

pytestmark = pytest.mark.skipif(not (ROM.exists() and shutil.which("mkimage")),
                                reason="needs u-boot-qemu and u-boot-tools")


def make_disk(work, fmt, kind, data):
    """(a disk of format fmt that begins with a uImage of data, that uImage)."""
    source, packed, raw, disk = (Path(work) / name for name in ("source", "uImage", "padded", f"disk.{fmt}"))
    source.write_bytes(data)
    subprocess.run(["mkimage", "-A", "x86", "-O", "linux", "-T", kind, "-C", "none", "-n", "from Outboard",
                    "-d", str(source), str(packed)], check=True, stdout=subprocess.PIPE)
    raw.write_bytes(packed.read_bytes().ljust(16 << 20, b"\0"))
    outboard.run("image", "convert", "-f", "raw", "-O", fmt, raw, disk)
    return disk, packed


@contextlib.contextmanager
def uboot(work, disk, fmt):
    """The console of a machine with the disk, at U-Boot's prompt."""
    daemon = outboard.Outboard(work, [], bus="ahci", disks=[f"{disk},format={fmt}"])
    daemon.start()
    try:
        # A PC of the old kind has no AHCI of its own, which U-Boot would take instead.
        with firmware.Machine(work, [*daemon.guest_options()["args"], "-bios", str(ROM)],
                              machine="pc") as machine:
            machine.serial.expect("Hit any key to stop autoboot")
            machine.serial.sock.sendall(b" ")
            machine.serial.expect("=> ")
            yield machine.serial
    finally:
        daemon.close()


def command(serial, line):
    """What it prints up to the next prompt."""
    serial.send(line)
    return serial.expect(r"(?s)(.*)=> ")[1]


def read(serial, path):
    """The file that lies at the disk's beginning, into memory."""
    sectors = -(-path.stat().st_size // SECTOR)
    assert "OUTBOARD DISK" in command(serial, "scsi scan")
    assert f"{sectors} blocks read: OK" in command(serial, f"scsi read {AT:x} 0 {sectors:x}")
    return sectors


@pytest.mark.matrix("reads a uImage, verifies it, writes it elsewhere", consumer="U-Boot")
@pytest.mark.parametrize("fmt", ["raw", "vmdk", "qcow2"])
def test_uboot_reads_and_writes(guest_dir, fmt):
    """Its checksum is right there, and so is what it has written, here."""
    disk, packed = make_disk(guest_dir, fmt, "kernel", PAYLOAD)
    with uboot(guest_dir, disk, fmt) as serial:
        sectors = read(serial, packed)
        said = command(serial, f"iminfo {AT:x}")
        assert "Legacy image found" in said and "Verifying Checksum ... OK" in said
        assert "Image Name:   from Outboard" in said and f"Data Size:    {len(PAYLOAD)} Bytes" in said
        assert f"{sectors} blocks written: OK" in command(serial, f"scsi write {AT:x} {COPY_AT:x} {sectors:x}")
    if fmt != "raw":
        outboard.run("image", "check", "-f", fmt, disk)
    outboard.run("image", "convert", "-f", fmt, disk, Path(guest_dir) / "after")
    after = (Path(guest_dir) / "after").read_bytes()
    for at in (0, COPY_AT * SECTOR):
        assert after[at:at + packed.stat().st_size] == packed.read_bytes()


@pytest.mark.matrix("runs a script that it reads as a uImage", consumer="U-Boot")
def test_uboot_runs_a_script(guest_dir):
    """The commands of a uImage of type script."""
    disk, packed = make_disk(guest_dir, "vmdk", "script", SCRIPT.encode())
    with uboot(guest_dir, disk, "vmdk") as serial:
        read(serial, packed)
        assert "the script is loaded" in command(serial, f"source {AT:x}")
