"""Persistent bitmaps that QEMU made: seen, read, and never believed when they must not be."""

import random
import struct

from conftest import MIB, image, info, our_io, peer, peer_io


def dirty(path):
    """What each bitmap calls dirty: name to a set of numbers of 512-byte blocks."""
    found = {}
    for line in our_io("-r", path, "dirty").splitlines():
        name, off, length = line.rsplit(" ", 2)
        found.setdefault(name, set()).update(range(int(off) // 512, (int(off) + int(length)) // 512))
    return found


def test_dirty_parts(tmp_path):
    """As QEMU recorded them, for several granularities and cluster sizes."""
    rand = random.Random(3)
    for cluster, size in (("64k", 64), ("512", 8), ("4k", 40)):
        path, grains = tmp_path / f"{cluster}.qcow2", {"fine": 512, "middle": 65536, "coarse": 1 << 20}
        peer("create", "-f", "qcow2", "-o", f"cluster_size={cluster}", path, f"{size}M")
        for name, grain in grains.items():
            peer("bitmap", "--add", "-g", grain, path, name)
        peer("bitmap", "--add", "--disable", path, "off")
        wanted = {name: set() for name in grains}
        ops = []
        for _ in range(20):
            length = rand.choice((512, 4096, 100 * 1024, MIB))
            off = rand.randrange((size * MIB - length) // 512) * 512
            ops.append(f"write {off} {length}")
            for name, grain in grains.items():
                first, last = off // grain * grain, -(-(off + length) // grain) * grain
                wanted[name].update(range(first // 512, min(last, size * MIB) // 512))
        peer_io(path, *ops)
        assert dirty(path) == wanted
        assert [b["name"] for b in info(path)["format-specific"]["data"]["bitmaps"]] == [*grains, "off"]


def test_in_use_is_not_believed(tmp_path):
    path = tmp_path / "a.qcow2"
    peer("create", "-f", "qcow2", path, "1M")
    peer("bitmap", "--add", path, "x")
    data = bytearray(path.read_bytes())
    data[directory(data) + 15] |= 1
    path.write_bytes(data)
    assert info(path)["format-specific"]["data"]["bitmaps"][0]["flags"] == ["in-use", "auto"]
    assert "busy" in our_io("-r", path, "dirty", status=1)


def directory(data):
    """Where the directory of bitmaps is."""
    at = 112
    while data[at:at + 4] != b"\x23\x85\x28\x75":
        at += 8 + -(-int.from_bytes(data[at + 4:at + 8], "big") // 8) * 8
    return int.from_bytes(data[at + 24:at + 32], "big")


def test_directories_that_lie(tmp_path):
    path = tmp_path / "a.qcow2"
    peer("create", "-f", "qcow2", path, "1M")
    peer("bitmap", "--add", path, "x")
    good = path.read_bytes()
    at = directory(good)
    for off, kind, value in ((0, ">Q", 1 << 50), (0, ">Q", 513), (8, ">I", 0xffffffff), (12, ">I", 8), (16, ">B", 2),
                             (17, ">B", 8), (17, ">B", 64), (18, ">H", 0), (18, ">H", 0xffff), (20, ">I", 0xfffffff8)):
        data = bytearray(good)
        struct.pack_into(kind, data, at + off, value)
        path.write_bytes(data)
        text = image("info", path, status=1)
        assert "bitmap described at offset" in text
