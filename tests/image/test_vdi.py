"""VDI images: ours are right for QEMU, theirs read the same here, and hostile ones are refused."""

import json
import struct

import pytest
from blocks import Format, broken, limits, random_operations
from conftest import MIB, content, image, info, peer, peer_io, run

pytestmark = pytest.mark.usefixtures("qemu")
VDI = Format("vdi")
OPTIONS = ["", "static=on"]
MAP, DATA, BLOCKS, ALLOCATED = 0x154, 0x158, 0x180, 0x184


@pytest.mark.parametrize("options", OPTIONS)
def test_ours(tmp_path, raw, options):
    path = tmp_path / "a.vdi"
    VDI.ours(path, raw, options)
    VDI.good(path)
    VDI.same(path, raw)
    theirs, ours = json.loads(peer("info", "--output=json", path)), info(path)
    for key in ("virtual-size", "format", "cluster-size"):
        assert theirs[key] == ours[key]
    assert ours["format-specific"]["data"]["image-type"] == ("static" if options else "dynamic")


@pytest.mark.parametrize("options", OPTIONS)
def test_theirs(tmp_path, raw, options):
    path, back = tmp_path / "a.vdi", tmp_path / "back.raw"
    VDI.theirs(path, raw, options)
    VDI.good(path)
    VDI.same(path, raw)
    image("convert", path, back)                     # by its content
    assert back.read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("size", ["0", "512", "1M", "1025K", "3T"])
def test_sizes(tmp_path, size):
    ours, theirs = tmp_path / "a.vdi", tmp_path / "b.vdi"
    image("create", "-f", "vdi", ours, size)
    peer("create", "-f", "vdi", theirs, size)
    assert info(ours)["virtual-size"] == info(theirs)["virtual-size"]
    VDI.good(ours)
    VDI.good(theirs)


def test_other_block_sizes(tmp_path, raw):
    """Only we know them."""
    for size in ("4k", "64k", "8M"):
        path = tmp_path / "a.vdi"
        VDI.ours(path, raw, f"cluster_size={size}")
        image("check", path)
        image("compare", "-F", "raw", path, raw)
    assert "power of two" in image("create", "-f", "vdi", "-o", "cluster_size=3k", tmp_path / "b", "1M", status=1)


@pytest.mark.parametrize("options", OPTIONS)
def test_random_operations(tmp_path, options, request):
    for seed in range(8 if request.config.getoption("--full") else 1):
        random_operations(VDI, tmp_path / f"ours-{seed}", options, seed)
        random_operations(VDI, tmp_path / f"theirs-{seed}", options, seed + 100, make=peer)


def test_map_is_the_same(tmp_path):
    path = tmp_path / "a.vdi"
    peer("create", "-f", "vdi", path, "6M")
    peer_io(path, "write -P 1 3M 1M", "write -P 2 0 1M", "write -P 3 4M 1M", fmt="vdi")
    wanted = [(p["start"], p["length"], p["offset"]) for p in json.loads(peer("map", "--output=json", path))
              if p["data"]]
    found = [(p["start"], p["length"], p["offset"]) for p in json.loads(image("map", "--output=json", path))
             if p["data"]]
    assert found == wanted and len(found) > 1


def test_discarded_blocks(tmp_path):
    """0xfffffffe in the map reads as zeros and is written to like what was never there."""
    path, model = tmp_path / "a.vdi", tmp_path / "model.raw"
    model.write_bytes(bytes(4 * MIB))
    image("create", "-f", "vdi", path, "4M")
    with open(path, "r+b") as file:
        file.seek(512 + 4)
        file.write(struct.pack("<I", 0xfffffffe))
    VDI.same(path, model)
    model.write_bytes(content(4 * MIB, 11))
    VDI.overwrite(path, model)
    VDI.good(path)
    VDI.same(path, model)


def test_zeroing_gives_space_back(tmp_path):
    path, model = tmp_path / "a.vdi", tmp_path / "model.raw"
    model.write_bytes(b"x" * 4 * MIB)
    VDI.ours(path, model)
    before = path.stat().st_blocks
    model.write_bytes(bytes(4 * MIB))
    VDI.overwrite(path, model)
    assert path.stat().st_blocks < before / 4
    VDI.good(path)
    VDI.same(path, model)


@pytest.mark.parametrize("options", OPTIONS)
def test_growing(tmp_path, raw, options):
    """Inside the room that the map has, and beyond it (QEMU leaves room for 128 blocks at most)."""
    for make in (VDI.ours, VDI.theirs):
        path, model = tmp_path / "a.vdi", tmp_path / "model.raw"
        model.write_bytes(raw.read_bytes())
        make(path, raw, options)
        for size in (7 * MIB, 300 * MIB, 2000 * MIB + 512):
            image("resize", "-f", "vdi", path, size)
            run("truncate", "-s", size, model)
            VDI.good(path)
            VDI.same(path, model)
            peer_io(path, f"write -P 7 {size - 70000 // 512 * 512} 512", fmt="vdi")
            peer_io(model, f"write -P 7 {size - 70000 // 512 * 512} 512", fmt="raw")
            VDI.good(path)
            VDI.same(path, model)
        assert "cannot be changed" in image("resize", "--shrink", path, "1M", status=1)
        path.unlink()


LIES = {
    "magic": (0x40, 0), "version": (0x44, 0x00010002), "undo": (0x4c, 3), "differencing": (0x4c, 4), "type": (0x4c, 9),
    "link": (0x1a8, 1), "parent": (0x1b8, 1), "sector": (0x168, 4096), "block 0": (0x178, 0), "block odd": (0x178, 0x100001),
    "block 2^31": (0x178, 1 << 31), "extra": (0x17c, 512), "2014-0144, blocks": (BLOCKS, 0x3fffffff),
    "2014-0144, more blocks": (BLOCKS, 0xffffffff), "blocks max+1": (BLOCKS, (64 << 20) + 1), "no blocks": (BLOCKS, 0),
    "size": (0x174, 1), "size 2^63": (0x174, 1 << 31), "map off": (MAP, 513), "map in header": (MAP, 0),
    "map behind": (MAP, 0xfffffe00), "data in map": (DATA, 512), "data odd": (DATA, 0x100001),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda n: n.replace(" ", "-"))
def test_headers_that_lie(tmp_path, lie):
    path = tmp_path / "a.vdi"
    image("create", "-f", "vdi", path, "5M")
    off, value = LIES[lie]
    bad = broken(path, (off, struct.pack("<I", value)))
    for command in (["info"], ["check"], ["map"], ["check", "-r", "all"], ["resize"]):
        text = image(*command, "-f", "vdi", bad, *(["6M"] if command == ["resize"] else []), status=1,
                     preexec_fn=limits)
        assert "vdi:" in text and "offset" in text


def test_maps_that_lie(tmp_path):
    path = tmp_path / "a.vdi"
    run("truncate", "-s", "5M", tmp_path / "z")
    peer_io(tmp_path / "z", "write -P 1 0 5M", fmt="raw")
    VDI.ours(path, tmp_path / "z")
    for value in (5, 6, 0x7fffffff, 0x80000000, 0xfffffffd):
        bad = broken(path, (512 + 8, struct.pack("<I", value)))
        assert "block 2 at offset 520" in image("map", bad, status=1)
        assert "block 2 at offset 520" in image("check", bad, status=1)
        peer("check", bad, status=2)
    twice = broken(path, (512 + 8, struct.pack("<I", 1)))
    image("map", twice)
    assert "at the same place" in image("check", twice, status=1)
    assert "check it" in image("resize", twice, "6M", status=1)
    assert "check it" in image("convert", "-n", "-f", "raw", "-O", "vdi", tmp_path / "z", twice, status=1)


def test_counts_that_lie(tmp_path):
    """Too low is an error (another program would overwrite blocks), too high a leak; both are repaired."""
    path, model = tmp_path / "a.vdi", tmp_path / "m.raw"
    model.write_bytes(b"m" * 3 * MIB)
    VDI.ours(path, model)
    for value, what in ((1, "errors"), (7, "leaked")):
        bad = broken(path, (ALLOCATED, struct.pack("<I", value)))
        assert what in image("check", bad, status=1)
        peer("check", bad, status=2)
        image("check", "-r", "all", bad)
        VDI.good(bad)
        VDI.same(bad, model)
        bad = broken(path, (ALLOCATED, struct.pack("<I", value)))
        model.write_bytes(b"n" * 3 * MIB)
        image("resize", bad, "4M")
        VDI.overwrite(bad, model)
        peer("compare", "-f", "vdi", "-F", "raw", bad, model)
        model.write_bytes(b"m" * 3 * MIB)


def test_short_files(tmp_path):
    path = tmp_path / "a.vdi"
    image("create", "-f", "vdi", path, "5M")
    whole = path.read_bytes()
    for length in (0, 1, 0x44, 511, 512, 515, 531):
        path.write_bytes(whole[:length])
        assert "vdi:" in image("map", "-f", "vdi", path, status=1)
    path.write_bytes(whole[:532])                    # the map ends here
    image("map", path)
