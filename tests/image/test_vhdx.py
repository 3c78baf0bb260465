"""VHDX images: ours are right for QEMU, theirs read the same here, logs are replayed, hostile ones are refused."""

import json
import struct
import uuid

import pytest
from blocks import Format, broken, limits, random_operations
from conftest import MIB, content, image, info, peer, peer_io, run

pytestmark = pytest.mark.usefixtures("qemu")
VHDX = Format("vhdx")
OPTIONS = ["", "subformat=fixed", "block_size=1M", "block_size=256M", "block_size=2M,log_size=3M",
           "block_state_zero=on,block_size=1M", "block_state_zero=off,subformat=fixed"]
HEADERS, REGIONS, LOG, METADATA, BAT = 0x10000, 0x30000, MIB, 2 * MIB, 3 * MIB     # as we lay them out
ITEMS = METADATA + 0x10000
PARAMETERS, SIZE, LOGICAL, PHYSICAL = ITEMS, ITEMS + 8, ITEMS + 32, ITEMS + 36
SECTOR = 4096


def crc32c_table():
    """Reflected polynomial 82F63B78."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(data):
    """Of bytes."""
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def sealed(data, off, length):
    """Puts the checksum of a structure at off right."""
    data[off + 4:off + 8] = bytes(4)
    data[off + 4:off + 8] = struct.pack("<I", crc32c(data[off:off + length]))


def log_entry(guid, number, tail, changes, flushed, last):
    """An entry of the log, as somebody else would write it. changes: (offset, 4096 bytes or a length of zeros)."""
    descriptors = sectors = b""
    for off, what in changes:
        if isinstance(what, int):
            descriptors += struct.pack("<4sIQQQ", b"zero", 0, what, off, number)
            continue
        descriptors += struct.pack("<4s4s8sQQ", b"desc", what[4092:], what[:8], off, number)
        sectors += struct.pack("<4sI4084sI", b"data", number >> 32, what[8:4092], number & 0xffffffff)
    head = -(-(64 + len(descriptors)) // SECTOR) * SECTOR
    out = bytearray(struct.pack("<4sIIIQII16sQQ", b"loge", 0, head + len(sectors), tail, number, len(changes), 0, guid,
                                flushed, last) + descriptors)
    out = bytearray(out.ljust(head, b"\0") + sectors)
    sealed(out, 0, len(out))
    return bytes(out)


def with_log(path, guid, entries, log_off=LOG):
    """Marks the log of an image as in use and puts entries (position, bytes) there."""
    data = bytearray(path.read_bytes())
    for slot in (0, 1):
        off = HEADERS + slot * 0x10000
        data[off + 48:off + 64] = guid
        sealed(data, off, SECTOR)
    for pos, entry in entries:
        for i in range(0, len(entry), SECTOR):
            at = log_off + (pos + i) % MIB
            data[at:at + SECTOR] = entry[i:i + SECTOR]
    path.write_bytes(data)


@pytest.mark.parametrize("options", OPTIONS + ["logical_sector_size=4096", "logical_sector_size=4096,subformat=fixed"])
def test_ours(tmp_path, raw, options):
    path = tmp_path / "a.vhdx"
    if "4096" in options:                            # QEMU cannot
        raw = tmp_path / "whole.raw"
        raw.write_bytes(content(5 * MIB, 1))
        VHDX.ours(path, raw, options)
        image("check", path)
        image("compare", "-F", "raw", path, raw)
        assert info(path)["format-specific"]["data"]["logical-sector-size"] == 4096
        return
    VHDX.ours(path, raw, options)
    VHDX.good(path)
    VHDX.same(path, raw)
    theirs, ours = json.loads(peer("info", "--output=json", path)), info(path)
    for key in ("virtual-size", "format", "cluster-size"):
        assert theirs[key] == ours[key]


@pytest.mark.parametrize("options", OPTIONS)
def test_theirs(tmp_path, raw, options):
    path, back = tmp_path / "a.vhdx", tmp_path / "back.raw"
    VHDX.theirs(path, raw, options)
    VHDX.good(path)
    VHDX.same(path, raw)
    image("convert", path, back)
    assert back.read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("size", ["0", "512", "1M", "1025M", "200G", "40T", "64T"])
def test_sizes(tmp_path, size):
    """The block size that a size leads to is QEMU's."""
    ours, theirs = tmp_path / "a.vhdx", tmp_path / "b.vhdx"
    image("create", "-f", "vhdx", ours, size)
    image("check", ours)
    if size == "0":
        return                                       # QEMU refuses such
    VHDX.good(ours)
    peer("create", "-f", "vhdx", "-o", "block_state_zero=off", theirs, size)
    for key in ("virtual-size", "cluster-size"):
        assert info(ours)[key] == info(theirs)[key]
    VHDX.good(theirs)


def test_what_cannot_be_made(tmp_path):
    path = tmp_path / "a"
    for options, word in (("block_size=3M", "power of two"), ("block_size=512k", "power of two"),
                          ("block_size=512M", "power of two"), ("log_size=1000", "multiple"),
                          ("logical_sector_size=1024", "512 or 4096"), ("subformat=odd", "dynamic")):
        assert word in image("create", "-f", "vhdx", "-o", options, path, "1M", status=1)
    assert "64 TiB" in image("create", "-f", "vhdx", path, "65T", status=1)


@pytest.mark.parametrize("options", ["", "block_size=1M", "subformat=fixed,block_size=1M"])
def test_random_operations(tmp_path, options, request):
    for seed in range(8 if request.config.getoption("--full") else 1):
        random_operations(VHDX, tmp_path / f"ours-{seed}", options, seed)
        random_operations(VHDX, tmp_path / f"theirs-{seed}", options, seed + 100, make=peer)


def test_beyond_the_first_chunk(tmp_path):
    """Entries of bitmap blocks stand between those of blocks, 4096 blocks of 1 MiB apart."""
    path, model = tmp_path / "a.vhdx", tmp_path / "m.raw"
    spots = [(n + 1, at) for n, at in enumerate((0, 4094 * MIB, 4095 * MIB, 4096 * MIB, 8191 * MIB, 8192 * MIB, 8999 * MIB))]
    writes = [f"write -P {fill} {at} 1M" for fill, at in spots]
    reads = [f"read -P {fill} {at} 1M" for fill, at in spots]
    run("truncate", "-s", "9000M", model)
    peer_io(model, *writes, fmt="raw")
    VHDX.ours(path, model, "block_size=1M")
    VHDX.good(path)
    assert "failed" not in peer_io(path, *reads, fmt="vhdx")
    path.unlink()
    peer("create", "-f", "vhdx", "-o", "block_size=1M", path, "9000M")
    peer_io(path, *writes, fmt="vhdx")
    VHDX.good(path)
    image("compare", "-F", "raw", path, model)       # QEMU would read all of it


@pytest.mark.parametrize("options", ["block_size=1M", "subformat=fixed,block_size=1M", "block_size=32M"])
def test_growing(tmp_path, raw, options):
    """In the room of the BAT, and beyond it: 1 MiB of BAT is for 128 GiB in blocks of 1 MiB."""
    sizes = [7 * MIB, 40 * MIB + 512] + ([] if "fixed" in options else [200 << 30, 300 << 30])
    for make in (VHDX.ours, VHDX.theirs):
        path, model = tmp_path / "a.vhdx", tmp_path / "model.raw"
        model.write_bytes(raw.read_bytes())
        make(path, raw, options)
        for size in sizes:
            image("resize", "-f", "vhdx", path, size)
            run("truncate", "-s", size, model)
            VHDX.good(path)
            assert info(path)["virtual-size"] == size
            for target, fmt in ((path, "vhdx"), (model, "raw")):
                peer_io(target, f"write -P 7 {size - 70144} 512", fmt=fmt)
            VHDX.good(path)
            image("compare", "-F", "raw", path, model)
            if size < MIB * 1000:                    # QEMU reads all of it
                VHDX.same(path, model)
            else:
                assert "failed" not in peer_io(path, f"read -P 7 {size - 70144} 512", f"read -P 0 {8 * MIB} 1M", fmt="vhdx")
        assert "cannot be changed" in image("resize", "--shrink", path, "1M", status=1)
        path.unlink()


def guids(path):
    """FileWrite, DataWrite and log GUID of the current header."""
    data = path.read_bytes()[HEADERS:HEADERS + 0x20000]
    head = max((data[:SECTOR], data[0x10000:0x10000 + SECTOR]), key=lambda h: int.from_bytes(h[8:16], "little"))
    return head[16:32], head[32:48], head[48:64]


def test_guids_change_with_data(tmp_path, raw):
    path = tmp_path / "a.vhdx"
    VHDX.ours(path, raw)
    first = guids(path)
    image("map", path)
    image("check", path)
    assert guids(path) == first and first[2] == bytes(16)
    VHDX.overwrite(path, raw)
    second = guids(path)
    assert second[0] != first[0] and second[1] != first[1] and second[2] == bytes(16)


def failing(path, start, end):
    """The image over a file that takes no writes to [start, end)."""
    return "json:" + json.dumps({"driver": "vhdx", "file": {
        "driver": "fault", "op": "write", "from": start, "to": end, "error": "eio",
        "file": {"driver": "file", "filename": str(path)}}})


def test_our_log_is_replayed(tmp_path, raw):
    """The BAT cannot be written in its place: what the log says QEMU replays as well as we do, also read-only."""
    path, again = tmp_path / "a.vhdx", tmp_path / "b.vhdx"
    image("create", "-f", "vhdx", "-o", "block_size=1M", path, raw.stat().st_size)
    image("convert", "-n", "-f", "raw", "-O", "vhdx", raw, failing(path, BAT, BAT + MIB), status=1)
    assert guids(path)[2] != bytes(16)
    peer("compare", "-f", "vhdx", "-F", "raw", path, raw, status=2)
    before = path.read_bytes()
    image("compare", "-F", "raw", path, raw)         # in memory
    assert info(path)["format-specific"]["data"]["log-dirty"]
    assert path.read_bytes() == before
    again.write_bytes(before)
    peer("check", "-r", "all", again)
    VHDX.same(again, raw)
    image("check", "-r", "all", path)
    assert guids(path)[2] == bytes(16)
    VHDX.good(path)
    VHDX.same(path, raw)


def logged(tmp_path):
    """An image of two blocks whose table is only in the log yet: (path, raw with its content, sectors)."""
    path, model = tmp_path / "a.vhdx", tmp_path / "m.raw"
    model.write_bytes(content(2 * MIB, 31))
    VHDX.ours(path, model, "block_size=1M")
    data = bytearray(path.read_bytes())
    table = bytes(data[BAT:BAT + SECTOR])
    data[BAT:BAT + SECTOR] = bytes(SECTOR)
    path.write_bytes(data)
    return path, model, table


GUID = b"0123456789abcdef"


@pytest.mark.parametrize("case", ["one", "several", "wrapped", "old ones", "torn", "zero", "tail inside", "longer"])
def test_logs_of_others(tmp_path, case):
    """Sequences as the specification allows them, in a log of 1 MiB; QEMU agrees where it can."""
    path, model, table = logged(tmp_path)
    length, half = path.stat().st_size, bytes(8) + table[8:16] + bytes(SECTOR - 16)
    junk, peer_too = b"\xee" * SECTOR, True

    def entry(number, tail, *changes, last=length):
        return log_entry(GUID, number, tail, changes, length, last)

    entries = {
        "one": [(0, entry(9, 0, (BAT, table)))],
        "several": [(0x2000, entry(9, 0x2000, (BAT, half))), (0x4000, entry(10, 0x2000, (BAT, table)))],
        "wrapped": [(MIB - 0x2000, entry(9, MIB - 0x2000, (BAT, half))), (0, entry(10, MIB - 0x2000, (BAT, table)))],
        "old ones": [(0, entry(9, 0, (BAT, junk))), (0x2000, entry(10, 0, (BAT, junk))),
                     (0x8000, entry(20, 0x8000, (BAT, table)))],
        "torn": [(0, entry(9, 0, (BAT, table))), (0x2000, entry(10, 0, (BAT, junk))[:-100] + b"x" * 100)],
        "zero": [(0, entry(9, 0, (BAT, junk), (BAT, SECTOR), (BAT, table)))],
        "tail inside": [(0, entry(9, 0, (BAT, junk))), (0x2000, entry(10, 0x2000, (BAT, table)))],
        "longer": [(0, entry(9, 0, (BAT, table), last=length + MIB // 2))],
    }[case]
    with_log(path, GUID, entries)
    image("compare", "-F", "raw", path, model)
    copy = tmp_path / "copy.vhdx"
    copy.write_bytes(path.read_bytes())
    image("check", "-r", "all", path)
    VHDX.good(path)
    VHDX.same(path, model)
    assert path.stat().st_size == length + (MIB // 2 if case == "longer" else 0)
    if case == "tail inside":
        peer_too = False                             # it wants the tail to be the first of the run
    if peer_too:
        peer("check", "-r", "all", copy)
        VHDX.same(copy, model)


def test_logs_that_lie(tmp_path):
    path, _, table = logged(tmp_path)
    length = path.stat().st_size
    good = log_entry(GUID, 9, 0, [(BAT, table)], length, length)
    whole = path.read_bytes()

    def said(changes=((BAT, bytes(SECTOR)),), flushed=length, last=length):
        path.write_bytes(whole)
        with_log(path, GUID, [(0, log_entry(GUID, 9, 0, list(changes), flushed, last))])
        return image("map", path, status=1, preexec_fn=limits)

    assert "of a file of" in said(flushed=length + 1)
    assert "of a file of" in said(flushed=1 << 62)
    assert "behind the end" in said([(length, table)])
    assert "behind the end" in said([(BAT, 1 << 49)])
    assert "log at offset" in said(last=1 << 62)
    for off, kind, value in ((0, "<I", 0), (8, "<I", 0), (8, "<I", 0xfffff000), (8, "<I", 100), (12, "<I", MIB),
                             (16, "<Q", 0), (24, "<I", 0xffffffff), (24, "<I", 127), (32, "<Q", 0),
                             (64 + 16, "<Q", 1), (64 + 24, "<Q", 8), (SECTOR, "<I", 0), (SECTOR + 4, "<I", 1)):
        path.write_bytes(whole)
        entry = bytearray(good)
        struct.pack_into(kind, entry, off, value)
        sealed(entry, 0, len(entry))
        with_log(path, GUID, [(0, bytes(entry))])
        image("map", path, preexec_fn=limits)        # no entry is valid: there is nothing to replay
        assert info(path)["format-specific"]["data"]["log-dirty"]


def test_a_full_log_of_entries_costs_little(tmp_path):
    """2014-0148: no chain of claimed lengths makes us go through the log again and again."""
    path, _, table = logged(tmp_path)
    length = path.stat().st_size
    one = log_entry(GUID, 9, 0, [(BAT, table)], length, length)
    fake = bytearray(one[:SECTOR])
    struct.pack_into("<I", fake, 8, MIB)
    with_log(path, GUID, [(n * SECTOR, bytes(fake)) for n in range(256)])
    image("map", path, preexec_fn=limits)
    with_log(path, GUID, [(n * 2 * SECTOR, log_entry(GUID, n + 1, 0, [(BAT, table)], length, length))
                          for n in range(128)])
    image("map", path, preexec_fn=limits)


def lie(path, off, kind, value, seal=()):
    """A copy with a field changed, and the checksums of what it is in put right."""
    data = bytearray(path.read_bytes())
    struct.pack_into(kind, data, off, value)
    for start, length in seal:
        sealed(data, start, length)
    copy = path.with_name("broken-" + path.name)
    copy.write_bytes(data)
    return copy


HEAD2, HEAD, REGI = [(HEADERS + 0x10000, SECTOR)], HEADERS + 0x10000, [(REGIONS, 0x10000)]
LIES = {
    "version": (HEAD + 66, "<H", 2, HEAD2), "log version": (HEAD + 64, "<H", 1, HEAD2),
    "2014-0148, log length 0": (HEAD + 68, "<I", 0, HEAD2), "log length odd": (HEAD + 68, "<I", MIB + 1, HEAD2),
    "2014-0144, log length": (HEAD + 68, "<I", 0xfff00000, HEAD2), "log at 0": (HEAD + 72, "<Q", 0, HEAD2),
    "log odd": (HEAD + 72, "<Q", MIB + 1, HEAD2), "log far": (HEAD + 72, "<Q", 1 << 60, HEAD2),
    "log on the BAT": (HEAD + 72, "<Q", BAT, HEAD2), "no vhdxfile": (0, "<I", 0, []),
    "regions": (REGIONS + 8, "<I", 2048, REGI), "regions 2^32-1": (REGIONS + 8, "<I", 0xffffffff, REGI),
    "no regions": (REGIONS + 8, "<I", 0, REGI), "one region": (REGIONS + 8, "<I", 1, REGI),
    "unknown region": (REGIONS + 16, "<I", 0, REGI), "BAT at 0": (REGIONS + 32, "<Q", 0, REGI),
    "BAT odd": (REGIONS + 32, "<Q", BAT + 1, REGI), "BAT far": (REGIONS + 32, "<Q", 1 << 63, REGI),
    "BAT behind the end": (REGIONS + 32, "<Q", 1 << 40, REGI), "BAT on metadata": (REGIONS + 32, "<Q", METADATA, REGI),
    "BAT length 0": (REGIONS + 40, "<I", 0, REGI), "BAT length odd": (REGIONS + 40, "<I", 100, REGI),
    "metadata": (METADATA, "<I", 0, []), "items": (METADATA + 10, "<H", 2048, []), "no items": (METADATA + 10, "<H", 0, []),
    "unknown item": (METADATA + 32, "<I", 0, []), "item off": (METADATA + 32 + 16, "<I", 100, []),
    "item far": (METADATA + 32 + 16, "<I", 0xffffffff, []), "item length": (METADATA + 32 + 20, "<I", 0xffffffff, []),
    "item short": (METADATA + 32 + 20, "<I", 4, []), "2014-0148, block 0": (PARAMETERS, "<I", 0, []),
    "block odd": (PARAMETERS, "<I", MIB + 1, []), "block 512M": (PARAMETERS, "<I", 512 * MIB, []),
    "block 2^31": (PARAMETERS, "<I", 1 << 31, []), "2014-0148, sector 0": (LOGICAL, "<I", 0, []),
    "sector 1": (LOGICAL, "<I", 1, []), "sector 2^31": (LOGICAL, "<I", 1 << 31, []), "physical": (PHYSICAL, "<I", 0, []),
    "2014-0144, size": (SIZE, "<Q", 1 << 62, []), "size max+1": (SIZE, "<Q", (64 << 40) + 512, []),
    "size odd": (SIZE, "<Q", 1000, []), "size for a longer BAT": (SIZE, "<Q", 1 << 45, []),
    "a parent and no locator": (PARAMETERS + 4, "<I", 2, []),
}


@pytest.mark.parametrize("name", LIES, ids=lambda n: n.replace(" ", "-"))
def test_headers_that_lie(tmp_path, name):
    path = tmp_path / "a.vhdx"
    image("create", "-f", "vhdx", path, "5M")
    bad = lie(path, *LIES[name])
    for command in (["info"], ["check"], ["map"], ["check", "-r", "all"], ["resize"]):
        text = image(*command, "-f", "vhdx", bad, *(["6M"] if command == ["resize"] else []), status=1,
                     preexec_fn=limits)
        assert "vhdx:" in text and "offset" in text


def test_copies_serve(tmp_path):
    """One bad header or region table of two does no harm; two do."""
    path = tmp_path / "a.vhdx"
    image("create", "-f", "vhdx", path, "5M")
    for pair in ((HEADERS, HEADERS + 0x10000), (REGIONS, REGIONS + 0x10000)):
        for at in pair:
            image("map", broken(path, (at + 100, b"\1")))
        bad = broken(path, *((at + 100, b"\1") for at in pair))
        assert "neither of the" in image("map", bad, status=1)
    for length in (0, 1, 0x10000, 0x11000, 0x30000, 0x40000, MIB, METADATA, METADATA + 100):
        bad = broken(path)
        run("truncate", "-s", length, bad)
        assert "vhdx:" in image("map", "-f", "vhdx", bad, status=1)


def test_tables_that_lie(tmp_path):
    path, model = tmp_path / "a.vhdx", tmp_path / "m.raw"
    model.write_bytes(b"m" * 5 * MIB)
    VHDX.ours(path, model, "block_size=1M")
    first = struct.unpack("<Q", path.read_bytes()[BAT:BAT + 8])[0]
    for value in (6, MIB | 6, METADATA | 6, BAT | 6, (1 << 40) | 6, 0xfffffffffff00006, 4, 5, first | 7):
        bad = broken(path, (BAT + 8, struct.pack("<Q", value)))
        assert f"block 1 at offset {BAT + 8}" in image("map", bad, status=1)
        assert f"block 1 at offset {BAT + 8}" in image("check", bad, status=1)
    bad = broken(path, (BAT + 8, struct.pack("<Q", first)))
    assert "at the same place" in image("check", bad, status=1)
    assert "check it" in image("resize", bad, "6M", status=1)
    image("map", bad)
    for state in (0, 1, 2, 3):                       # all of these read as zeros
        bad = broken(path, (BAT + 8, struct.pack("<Q", first + MIB - 6 + state)))
        data = bytearray(model.read_bytes())
        data[MIB:2 * MIB] = bytes(MIB)
        zeroed = tmp_path / "zeroed.raw"
        zeroed.write_bytes(data)
        image("compare", "-F", "raw", bad, zeroed)


def locator(pairs):
    """A parent locator item."""
    head, body, start = b"", b"", 20 + 12 * len(pairs)
    for key, value in pairs:
        key, value = key.encode("utf-16-le"), value.encode("utf-16-le")
        head += struct.pack("<IIHH", start + len(body), start + len(body) + len(key), len(key), len(value))
        body += key + value
    kind = uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913").bytes_le
    return kind + struct.pack("<HH", 0, len(pairs)) + head + body


def family(folder, pairs=None, linkage=None, logical=512):
    """A parent, a child over it with parts of its own, and what the child shows."""
    base, child, model = folder / "base.vhdx", folder / "child.vhdx", folder / "model.raw"
    model.write_bytes(content(4 * MIB, 41))
    options = f"block_size=1M,logical_sector_size={logical}"
    VHDX.ours(base, model, options)
    if linkage is None:
        linkage = "{" + str(uuid.UUID(bytes_le=guids(base)[1])) + "}"
    image("create", "-f", "vhdx", "-o", options, child, "4M")
    data, show = bytearray(child.read_bytes()), bytearray(model.read_bytes())
    item = locator([("parent_linkage", linkage)] + (pairs or [("relative_path", ".\\base.vhdx")]))
    struct.pack_into("<I", data, PARAMETERS + 4, 2)
    struct.pack_into("<H", data, METADATA + 10, 6)
    data[METADATA + 32 + 5 * 32:METADATA + 32 + 6 * 32] = (
        uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C").bytes_le + struct.pack("<IIII", 0x20000, len(item), 4, 0))
    data[METADATA + 0x20000:METADATA + 0x20000 + len(item)] = item
    where = len(data)
    data += bytes(3 * MIB)                           # block 1 in part, block 2 as a whole, and the bitmap
    for sector in (0, 1, 5, 100, MIB // logical - 1):
        bit = MIB // logical + sector
        data[where + 2 * MIB + bit // 8] |= 1 << bit % 8
        piece = bytes([sector % 251 + 1]) * logical
        data[where + sector * logical:where + (sector + 1) * logical] = piece
        show[MIB + sector * logical:MIB + (sector + 1) * logical] = piece
    data[where + MIB:where + 2 * MIB] = show[2 * MIB:3 * MIB] = content(MIB, 43)
    show[3 * MIB:] = bytes(MIB)                      # block 3 is zeros, whatever is below
    struct.pack_into("<QQQ", data, BAT + 8, where | 7, where + MIB | 6, 2)
    chunk = (1 << 23) * logical // MIB
    struct.pack_into("<Q", data, BAT + chunk * 8, where + 2 * MIB | 6)
    child.write_bytes(data)
    model.write_bytes(show)
    return child, model


@pytest.mark.parametrize("logical", [512, 4096])
@pytest.mark.parametrize("pairs", [None, [("absolute_win32_path", "C:\\vm\\base.vhdx")],
                                   [("volume_path", "\\\\?\\Volume{1}\\base.vhdx")]])
def test_parents(tmp_path, pairs, logical):
    child, model = family(tmp_path, pairs, logical=logical)
    image("compare", "-F", "raw", child, model)
    image("check", child)
    assert info(child)["backing-filename"] == "base.vhdx"
    assert "only be read" in image("resize", child, "8M", status=1)


def test_wrong_parents(tmp_path):
    child, _ = family(tmp_path, linkage="{" + str(uuid.UUID(int=1)) + "}")
    assert "DataWriteGuid" in image("map", child, status=1)
    child, model = family(tmp_path)
    VHDX.overwrite(tmp_path / "base.vhdx", model)    # the parent changes: the child shows nonsense
    assert "DataWriteGuid" in image("map", child, status=1)
    for name in ("..\\base.vhdx", "x\\..\\..\\base.vhdx", "nbd:unix:x"):
        child, _ = family(tmp_path, [("relative_path", name)])
        image("map", child, status=1)
    child, _ = family(tmp_path, [("relative_path", "")])
    assert "backing.file.filename=" in image("map", child, status=1)


def test_locators_that_lie(tmp_path):
    child, _ = family(tmp_path)
    at = METADATA + 0x20000
    for off, kind, value in ((18, "<H", 0xffff), (20 + 12, "<I", 0xffffffff), (20 + 16, "<I", 0xfffffff0),
                             (20 + 22, "<H", 0xffff), (20 + 20, "<H", 0xffff)):
        bad = lie(child, at + off, kind, value)
        text = image("map", bad, status=0 if value == 0xffff and off == 18 else 1, preexec_fn=limits)
        assert "vhdx:" in text or off == 18
