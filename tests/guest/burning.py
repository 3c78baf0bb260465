"""What the burning tests share: images made on the host, trees in the guest, checks after a burn."""

import os
import random
import subprocess
from pathlib import Path

import outboard

BLANK, APPENDABLE, OPEN, COMPLETE = 0x00, 0x01, 0x05, 0x0e   # byte 2 of READ DISC INFORMATION


def make_tree(path, seed, total, files=12):
    """Fill a directory with files of random bytes, `total` bytes in all, some in a folder."""
    dice = random.Random(seed)
    (path / "folder").mkdir(parents=True)
    for n in range(files):
        where = path / "folder" if n % 3 == 0 else path
        (where / f"file-{seed}-{n}.bin").write_bytes(dice.randbytes(total // files + n))
    return path


def make_iso(path, tree, label):
    """An ISO 9660 image of a directory, by the host's xorriso."""
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", label, "-o", str(path),
                    str(tree)], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return path


def make_images(work, size):
    """The image ONE that tests burn (a.iso)."""
    return make_iso(work / "a.iso", make_tree(work / "a", "one", size), "ONE")


def prepare_guest(guest):
    """Put the image (the guest's first virtio disk) and three small trees into its memory."""
    guest.run("cp /dev/vda /tmp/a.iso && mkdir -p /tmp/dirA /tmp/dirB /tmp/dirC/deep /mnt")
    for name, size in (("dirA/one", 1500001), ("dirB/two", 700003), ("dirC/deep/three", 5)):
        guest.put(os.urandom(size), f"/tmp/{name}.bin")


def blocks(path):
    """Length of an image in blocks of 2048 bytes."""
    return Path(path).stat().st_size // 2048


def check_burned(drive, image, state, capacity=None):
    """The disc reads back as the image: in the guest past the page cache, and from its file."""
    assert drive.state() == state
    drive.reload()
    assert drive.state() == state, "a reload changed the disc"
    if capacity is not None:
        assert drive.capacity() == capacity
    drive.compare("/tmp/a.iso")
    outboard.verify_disc(drive.disc, image)
    if not drive.name.startswith("cd"):
        with open(drive.disc, "rb") as file, open(image, "rb") as wanted:
            while want := wanted.read(1 << 20):
                assert file.read(len(want)) == want, "the disc file does not begin with the image"


def check_trees(drive, *trees):
    """The disc mounts, by the kernel's own choice of session, and holds these trees."""
    drive.reload()
    drive.guest.run(f"mount -t iso9660 -o ro {drive.dev} /mnt")
    try:
        for tree, at in trees:
            drive.guest.run(f"diff -r {tree} /mnt{at}")
    finally:
        drive.guest.run("umount /mnt")


def msinfo(drive, tool):
    """(first block of the last session, next writable block) as a burning program tells them."""
    out = drive.guest.text(f"{tool} dev={drive.dev} -msinfo 2>/dev/null")
    first, following = out.splitlines()[-1].split(",")
    return int(first), int(following)


def snapshot(drive):
    """All that a drive tells about its disc and that must survive a power cycle."""
    info = drive.disc_info()
    tracks = []
    for number in range(1, info[6] + 1):
        reply = drive.command(f"52 01 00 00 00 {number:02x} 00 00 30 00", 48)
        tracks.append((reply.code, reply.data))
    toc = drive.command("43 00 00 00 00 00 00 04 00 00", 1024)
    return {"profile": drive.profile(), "info": info, "tracks": tracks, "toc": (toc.code, toc.data),
            "capacity": drive.capacity()}
