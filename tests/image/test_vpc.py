"""VHD images: ours are right for QEMU, theirs read the same here, parents are found, hostile ones are refused."""

import json
import struct

import pytest
from blocks import Format, broken, limits, random_operations
from conftest import MIB, content, image, info, peer, peer_io, run

pytestmark = pytest.mark.usefixtures("qemu")
VPC = Format("vpc", checked=False)
OPTIONS = ["", "subformat=fixed", "force_size=on", "subformat=fixed,force_size=on"]
BLOCK = 2 * MIB


def checksum(data, at):
    """One's complement of the sum of the bytes but those of the field itself."""
    return ~sum(data[:at] + data[at + 4:]) & 0xffffffff


def footer(size, kind, data_off=512, uuid=b"u" * 16, creator=b"win ", geometry=(100, 4, 17)):
    """A footer, as somebody else would write it."""
    out = bytearray(struct.pack(">8sIIQI4sI4sQQHBBI4x16s", b"conectix", 2, 0x10000, data_off, 0, creator, 0x60001,
                                b"Wi2k", size, size, *geometry, kind, uuid).ljust(512, b"\0"))
    struct.pack_into(">I", out, 64, checksum(out, 64))
    return bytes(out)


def header(entries, block=BLOCK, bat=1536, parent=b"\0" * 16, name="", locators=()):
    """A header of a dynamic or differencing disk; locators: (code, offset, length)."""
    out = bytearray(struct.pack(">8sQQIII4x16sI4x512s", b"cxsparse", (1 << 64) - 1, bat, 0x10000, entries, block,
                                parent, 0, name.encode("utf-16-be")).ljust(1024, b"\0"))
    for i, (code, off, length) in enumerate(locators):
        struct.pack_into(">4sIIIQ", out, 576 + 24 * i, code, 512, length, 0, off)
    struct.pack_into(">I", out, 36, checksum(out, 36))
    return bytes(out)


def differencing(path, size, parent, name="", locators=(), blocks=None):
    """A child; blocks: number -> {sector in the block: byte that fills it}. locators: (code, text)."""
    entries, where, texts = -(-size // BLOCK), [], b""
    for code, text in locators:
        data = text.encode("utf-16-le")
        where.append((code, 1536 + 512 * (len(where) + 8), len(data)))
        texts += data.ljust(512, b"\0")
    bat_off, body, bat = 1536, b"", [0xffffffff] * entries
    start = 1536 + 512 * 16
    for number, sectors in (blocks or {}).items():
        bitmap, data = bytearray(512), bytearray(BLOCK)
        for sector, fill in sectors.items():
            bitmap[sector // 8] |= 0x80 >> sector % 8
            data[sector * 512:sector * 512 + 512] = bytes([fill]) * 512
        bat[number] = (start + len(body)) // 512
        body += bytes(bitmap) + bytes(data)
    foot = footer(size, 4, uuid=b"c" * 16)
    table = struct.pack(f">{entries}I", *bat).ljust(512 * 8, b"\xff")
    path.write_bytes(foot + header(entries, bat=bat_off, parent=parent, name=name, locators=where) + table +
                     texts.ljust(512 * 8, b"\0") + body + foot)
    return path


@pytest.mark.parametrize("options", OPTIONS)
def test_ours(tmp_path, raw, options):
    path = tmp_path / "a.vhd"
    VPC.ours(path, raw, options)
    VPC.good(path)
    VPC.same(path, raw)
    theirs, ours = json.loads(peer("info", "-f", "vpc", "--output=json", path)), info("-f", "vpc", path)
    for key in ("virtual-size", "format"):
        assert theirs[key] == ours[key]
    assert theirs.get("cluster-size") == ours.get("cluster-size")
    assert ours["virtual-size"] == raw.stat().st_size or "force" not in options


@pytest.mark.parametrize("options", OPTIONS)
def test_theirs(tmp_path, raw, options):
    path, back = tmp_path / "a.vhd", tmp_path / "back.raw"
    VPC.theirs(path, raw, options)
    VPC.good(path)
    VPC.same(path, raw)
    image("convert", "-f", "vhd", path, back)
    assert back.read_bytes().rstrip(b"\0") == raw.read_bytes().rstrip(b"\0")
    if "fixed" not in options:
        assert info(path)["format"] == "vpc"         # by its content


# Not a fixed one of size 0: QEMU takes its footer, at offset 0 then, for a dynamic disk's.
@pytest.mark.parametrize("size, options", [
    (size, options) for size in ("0", "512", "1M", "16M", "1G", "130G", "2040G") for options in OPTIONS[:3]
    if size != "0" or "fixed" not in options])
def test_sizes(tmp_path, size, options):
    """The geometry that a size becomes."""
    ours, theirs = tmp_path / "a.vhd", tmp_path / "b.vhd"
    args = ["-o", options] if options else []
    image("create", "-f", "vpc", *args, ours, size)
    peer("create", "-f", "vpc", *args, theirs, size)
    wanted = info("-f", "vpc", theirs)["virtual-size"]
    assert info("-f", "vpc", ours)["virtual-size"] == wanted
    for path in (ours, theirs):
        assert json.loads(peer("info", "-f", "vpc", "--output=json", path))["virtual-size"] == wanted
    assert ours.read_bytes()[:64][40:60] == theirs.read_bytes()[:64][40:60] if "fixed" not in options else True


def test_too_large(tmp_path):
    assert "2040 GiB" in image("create", "-f", "vpc", tmp_path / "a.vhd", "2041G", status=1)


@pytest.mark.parametrize("creator", [b"vpc ", b"qemu", b"qem2", b"win ", b"d2v ", b"tap\0", b"CTXS", b"wa\0\0", b"xxxx"])
def test_size_by_creator(tmp_path, creator):
    """Size or geometry: as QEMU decides; and as the user says."""
    path = tmp_path / "a.vhd"
    path.write_bytes(bytes(4 * MIB) + footer(4 * MIB, 2, (1 << 64) - 1, creator=creator))
    ours = info("-f", "vpc", path)["virtual-size"]
    if creator == b"wa\0\0":                          # QEMU 7.2 does not know it yet
        assert ours == 4 * MIB
    else:
        assert ours == json.loads(peer("info", "-f", "vpc", "--output=json", path))["virtual-size"]
    for calc, size in (("chs", 100 * 4 * 17 * 512), ("current_size", 4 * MIB), ("auto", ours)):
        options = f"driver=vpc,file.filename={path},force_size_calc={calc}"
        assert json.loads(image("info", "--output=json", "--image-opts", options))["virtual-size"] == size


@pytest.mark.parametrize("options", OPTIONS[2:])
def test_random_operations(tmp_path, options, request):
    for seed in range(8 if request.config.getoption("--full") else 1):
        path, _ = random_operations(VPC, tmp_path / f"ours-{seed}", options, seed)
        assert path.read_bytes()[-512:-504] == b"conectix"
        random_operations(VPC, tmp_path / f"theirs-{seed}", options, seed + 100, make=peer)


def test_footers(tmp_path):
    """After every growth the file ends with the footer that is also at its beginning, and nothing is between."""
    path, model = tmp_path / "a.vhd", tmp_path / "m.raw"
    image("create", "-f", "vpc", "-o", "force_size=on", path, "20M")
    for n in range(1, 5):
        model.write_bytes((b"%d" % n) * 3 * n * MIB)
        VPC.overwrite(path, model)
        data = path.read_bytes()
        assert data[:512] == data[-512:] and data[:8] == b"conectix"
        VPC.good(path)
        run("truncate", "-s", "20M", model)
        VPC.same(path, model)


def test_lost_footer(tmp_path):
    """A crash may cut the end off: the copy serves, and the next writer puts a footer there."""
    path, model = tmp_path / "a.vhd", tmp_path / "m.raw"
    model.write_bytes(content(5 * MIB, 3))
    VPC.ours(path, model, "force_size=on")
    whole = path.read_bytes()
    for data in (whole[:-512], whole[:-512] + bytes(512), whole + bytes(7 * MIB)):
        path.write_bytes(data)
        VPC.same(path, model)
        assert "the footer at the end" in image("check", path, status=1)
        image("check", "-r", "leaks", path)
        VPC.good(path)
        path.write_bytes(data)
        VPC.overwrite(path, model)
        VPC.good(path)
        assert path.read_bytes()[-512:] == whole[-512:]
        VPC.same(path, model)


def test_fixed_does_not_grow(tmp_path, raw):
    """Its footer would have to move and the file to grow in one step."""
    path = tmp_path / "a.vhd"
    VPC.ours(path, raw, "subformat=fixed")
    before = path.read_bytes()
    assert "cannot be changed" in image("resize", "-f", "vpc", path, "9M", status=1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("options", ["", "force_size=on"])
def test_growing(tmp_path, raw, options):
    for make in (VPC.ours, VPC.theirs):
        path, model = tmp_path / "a.vhd", tmp_path / "model.raw"
        model.write_bytes(raw.read_bytes())
        make(path, raw, options)
        for size in (7 * MIB, 300 * MIB + 512):
            image("resize", "-f", "vpc", path, size)
            run("truncate", "-s", size, model)
            VPC.good(path)
            assert info("-f", "vpc", path)["virtual-size"] == size
            VPC.same(path, model)
            for target, fmt in ((path, "vpc"), (model, "raw")):
                peer_io(target, f"write -P 7 {size - 70144} 512", fmt=fmt)
            VPC.good(path)
            VPC.same(path, model)
        assert "cannot be changed" in image("resize", "--shrink", "-f", "vpc", path, "1M", status=1)
        path.unlink()


def family(folder, size=6 * MIB, **more):
    """A parent with content, a child over it with some sectors of its own, and what the child shows."""
    base, model = folder / "base.vhd", folder / "model.raw"
    model.write_bytes(content(size, 21))
    image("convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", model, base)
    parent = base.read_bytes()[68:84]
    blocks = {1: {0: 1, 1: 2, 5: 3, 4095: 4, 100: 5}}
    child = differencing(folder / "child.vhd", size, parent, blocks=blocks,
                         **{"name": "base.vhd", "locators": [(b"W2ru", ".\\base.vhd")], **more})
    data = bytearray(model.read_bytes())
    for sector, fill in blocks[1].items():
        data[BLOCK + sector * 512:BLOCK + sector * 512 + 512] = bytes([fill]) * 512
    model.write_bytes(data)
    return child, model


@pytest.mark.parametrize("more", [
    {}, {"name": ""}, {"locators": []}, {"locators": [(b"W2ku", "C:\\vms\\base.vhd")], "name": ""},
    {"locators": [(b"W2ku", "C:\\vms\\other.vhd"), (b"W2ru", "base.vhd")]}, {"locators": [], "name": "C:\\vm\\base.vhd"}])
def test_parents(tmp_path, more):
    child, model = family(tmp_path, **more)
    image("check", child)
    image("compare", "-F", "raw", child, model)
    assert info(child)["backing-filename"] == "base.vhd"
    assert info(child)["format-specific"]["data"]["subformat"] == "differencing"
    depths = {p["depth"] for p in json.loads(image("map", "--output=json", child))}
    assert depths == {0, 1}


def test_writing_to_a_child(tmp_path):
    """Parts of blocks that are here and not here, whole ones, zeros over what the parent has; the parent stays."""
    child, model = family(tmp_path)
    base = (tmp_path / "base.vhd").read_bytes()
    for seed in (1, 2):
        data = bytearray(model.read_bytes())
        data[BLOCK - 700:BLOCK + 3000] = content(3700, seed)
        data[5 * MIB + 1:5 * MIB + 5] = b"abcd"
        data[4 * MIB:4 * MIB + 70000] = bytes(70000)
        model.write_bytes(data)
        VPC.overwrite(child, model)
        image("check", child)
        image("compare", "-F", "raw", child, model)
    assert (tmp_path / "base.vhd").read_bytes() == base


def test_child_without_its_parent(tmp_path):
    """It can be looked at; what a block would need from below cannot be made up."""
    child, model = family(tmp_path)
    alone = json.dumps({"driver": "vpc", "file": {"filename": str(child)}, "backing": None})
    image("map", f"json:{alone}")
    before = child.read_bytes()
    model.write_bytes(b"n" * 6 * MIB)
    assert "writing" in image("convert", "-n", "-f", "raw", "-O", "vpc", model, f"json:{alone}", status=1)
    where = struct.unpack(">3I", before[1536:1548])
    assert child.read_bytes()[1536:1548] == before[1536:1548]
    assert where[0] == where[2] == 0xffffffff


def test_parents_that_may_not_be(tmp_path):
    (tmp_path / "x/x").mkdir(parents=True)
    for name in ("..\\base.vhd", "x\\..\\..\\base.vhd", "nbd:unix:x"):
        child, model = family(tmp_path, locators=[(b"W2ru", name)], name="")
        moved = tmp_path / "x" / "child.vhd"
        child.rename(moved)
        text = image("map", moved, status=1)
        assert "base.vhd" in text or "names none" in text
        if ":" not in name:
            image("compare", "--allow-references", "-F", "raw", moved, model)
    child, model = family(tmp_path, name="", locators=[(b"W2ru", "\\\\host\\share\\base.vhd")])
    assert "backing.file.filename=" in image("map", child, status=1)
    image("compare", "--image-opts", f"driver=vpc,file.filename={child},backing.driver=vpc,"
          f"backing.file.filename={tmp_path}/base.vhd", f"driver=raw,file.filename={model}")


def test_wrong_parent(tmp_path):
    child, _ = family(tmp_path)
    image("create", "-f", "vpc", "-o", "force_size=on", tmp_path / "base.vhd", "6M")
    assert "UUID" in image("map", child, status=1)
    child.write_bytes(differencing(tmp_path / "loop.vhd", 6 * MIB, b"c" * 16, name="loop.vhd").read_bytes())
    assert "itself above it" in image("map", tmp_path / "loop.vhd", status=1)


def test_fixed_is_not_what_its_guest_says(tmp_path):
    """A guest writes a dynamic disk's footer to its first sector: the footer at the end still counts."""
    path, model = tmp_path / "a.vhd", tmp_path / "m.raw"
    model.write_bytes(differencing(tmp_path / "d", 4 * MIB, bytes(16), name="passwd").read_bytes().ljust(MIB, b"\0"))
    VPC.ours(path, model, "subformat=fixed,force_size=on")
    image("compare", "-f", "vpc", "-F", "raw", path, model)


def lie(path, where, off, data):
    """A copy in which footer and copy, or the header, have other bytes and a right checksum."""
    whole = bytearray(path.read_bytes())
    parts = [(0, 512, 64), (len(whole) - 512, 512, 64)] if where == "footer" else [(512, 1024, 36)]
    for start, length, field in parts:
        whole[start + off:start + off + len(data)] = data
        struct.pack_into(">I", whole, start + field, checksum(bytes(whole[start:start + length]), field))
    copy = path.with_name("broken-" + path.name)
    copy.write_bytes(whole)
    return copy


LIES = {
    "version": ("footer", 12, ">I", 0x20000), "type 0": ("footer", 60, ">I", 0), "type 5": ("footer", 60, ">I", 5),
    "2014-0144, size": ("footer", 48, ">Q", 1 << 62), "size 2^63": ("footer", 48, ">Q", (1 << 63) + 512),
    "size max+1": ("footer", 48, ">Q", 0xff000001 * 512), "more than the table": ("footer", 48, ">Q", 7 * MIB),
    "header off 0": ("footer", 16, ">Q", 0), "header off 1": ("footer", 16, ">Q", 513), "header off": ("footer", 16, ">Q", 1 << 40),
    "header at -1": ("footer", 16, ">Q", (1 << 64) - 512), "header cookie": ("header", 0, ">I", 0),
    "header version": ("header", 24, ">I", 0), "block 0": ("header", 32, ">I", 0), "block 1": ("header", 32, ">I", 1),
    "block odd": ("header", 32, ">I", 0x200001), "block 2^31": ("header", 32, ">I", 1 << 31),
    "too few entries": ("header", 28, ">I", 1), "BAT 0": ("header", 16, ">Q", 0), "BAT odd": ("header", 16, ">Q", 1537),
    "BAT on the header": ("header", 16, ">Q", 512), "BAT behind": ("header", 16, ">Q", 1 << 40),
    "BAT at -1": ("header", 16, ">Q", (1 << 64) - 512),
}


@pytest.mark.parametrize("name", LIES, ids=lambda n: n.replace(" ", "-"))
def test_headers_that_lie(tmp_path, name):
    path = tmp_path / "a.vhd"
    image("create", "-f", "vpc", "-o", "force_size=on", path, "5M")
    where, off, kind, value = LIES[name]
    bad = lie(path, where, off, struct.pack(kind, value))
    for command in (["info"], ["check"], ["map"], ["check", "-r", "all"], ["resize"]):
        text = image(*command, "-f", "vpc", bad, *(["6M"] if command == ["resize"] else []), status=1,
                     preexec_fn=limits)
        assert "vpc:" in text and "offset" in text


def test_many_entries_cost_nothing(tmp_path):
    """2014-0144: more entries than the disk has blocks are not read."""
    path = tmp_path / "a.vhd"
    image("create", "-f", "vpc", "-o", "force_size=on", path, "5M")
    for n in (4, 0x3fffffff, 0x40000000, 0x7fffffff, 0xffffffff):
        image("map", lie(path, "header", 28, struct.pack(">I", n)), preexec_fn=limits)


def test_tables_that_lie(tmp_path):
    path, model = tmp_path / "a.vhd", tmp_path / "m.raw"
    model.write_bytes(b"m" * 5 * MIB)
    VPC.ours(path, model, "force_size=on")
    first = struct.unpack(">I", path.read_bytes()[1536:1540])[0]
    for value in (0, 1, 3, 0x7fffffff, 0x80000000, 0xfffffffe):
        bad = broken(path, (1536 + 4, struct.pack(">I", value)))
        assert "block 1 at offset 1540" in image("map", bad, status=1)
        assert "block 1 at offset 1540" in image("check", bad, status=1)
    for value in (first, first + 1, first + 4096):
        bad = broken(path, (1536 + 4, struct.pack(">I", value)))
        assert "at the same place" in image("check", bad, status=1)
        assert "check it" in image("resize", bad, "6M", status=1)
        image("map", bad)


def test_footers_that_lie(tmp_path):
    path = tmp_path / "a.vhd"
    image("create", "-f", "vpc", path, "5M")
    size = path.stat().st_size
    both = broken(path, (48, b"\1"), (size - 512 + 48, b"\1"))
    assert "checksum at offset" in image("map", both, status=1)
    image("map", broken(path, (48, b"\1")))          # the one at the end is right
    path.write_bytes(footer(MIB, 2, (1 << 64) - 1) + bytes(1000))
    assert "fixed disk" in image("map", path, status=1)
    path.write_bytes(bytes(MIB - 512) + footer(MIB, 2, (1 << 64) - 1))
    assert "before the footer" in image("map", "-f", "vpc", path, status=1)
    for length in (0, 1, 511):
        path.write_bytes(bytes(length))
        assert "vpc:" in image("map", "-f", "vpc", path, status=1)


def test_locators_that_lie(tmp_path):
    child, _ = family(tmp_path)
    for field, kind, value in ((8, ">I", 2049), (8, ">I", 0xffffffff), (16, ">Q", 1 << 62), (16, ">Q", (1 << 64) - 1)):
        bad = lie(child, "header", 576 + field, struct.pack(kind, value))
        assert "locator at offset" in image("map", bad, status=1, preexec_fn=limits)
