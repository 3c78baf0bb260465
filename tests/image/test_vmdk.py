"""VMDK disks against QEMU's tools, both ways; hostile ones."""

import json
import random
import resource
import shutil
import struct
import subprocess
import zlib

import pytest
from conftest import MIB, content, image, info, peer, peer_io, run

pytestmark = pytest.mark.usefixtures("qemu")
SUBFORMATS = ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"]
OPTIONS = ["", "adapter_type=lsilogic,hwversion=7", "compat6,adapter_type=legacyESX"]
SPARSE_ONLY = ["zeroed_grain=on", "zeroed_grain=on,adapter_type=buslogic"]
MATRIX = [(s, o) for s in SUBFORMATS for o in OPTIONS + (SPARSE_ONLY if s in (
    "monolithicSparse", "twoGbMaxExtentSparse") else [])]
GIB = 1 << 30


def word(subformat, options):
    """What -o takes."""
    return f"subformat={subformat}" + (f",{options}" if options else "")


def good(path):
    """No errors for QEMU and for us."""
    peer("check", "-f", "vmdk", path)
    image("check", "-f", "vmdk", path)


def same(path, raw):
    """QEMU and we read in path what is in raw."""
    peer("compare", "-f", "vmdk", "-F", "raw", path, raw)
    image("compare", "-f", "vmdk", "-F", "raw", path, raw)


@pytest.mark.parametrize("subformat,options", MATRIX)
def test_ours(tmp_path, raw, subformat, options):
    path = tmp_path / "a.vmdk"
    image("convert", "-f", "raw", "-O", "vmdk", "-o", word(subformat, options), raw, path)
    good(path)
    same(path, raw)
    theirs, ours = json.loads(peer("info", "--output=json", path)), info(path)
    for key in ("virtual-size", "format", "dirty-flag"):
        assert theirs[key] == ours[key]
    theirs, ours = theirs["format-specific"], ours["format-specific"]
    assert theirs["type"] == ours["type"]
    for key in ("cid", "parent-cid", "create-type"):
        assert theirs["data"][key] == ours["data"][key]
    for their, our in zip(theirs["data"]["extents"], ours["data"]["extents"], strict=True):
        for key in ("virtual-size", "filename", "compressed"):
            assert their.get(key) == our.get(key)
        assert their["format"] in ("", our["format"])
        if "cluster-size" in our:   # that of extents in other files is not looked up
            assert their["cluster-size"] == our["cluster-size"]


@pytest.mark.parametrize("subformat,options", MATRIX)
def test_theirs(tmp_path, raw, subformat, options):
    path, back = tmp_path / "a.vmdk", tmp_path / "back.raw"
    peer("convert", "-f", "raw", "-O", "vmdk", "-o", word(subformat, options), raw, path)
    image("check", path)
    image("compare", "-f", "vmdk", "-F", "raw", path, raw)
    image("convert", path, back)
    assert back.read_bytes() == raw.read_bytes()
    assert peer("info", path).split("create type: ")[1].split()[0] == subformat


@pytest.mark.parametrize("subformat", [s for s in SUBFORMATS if s != "streamOptimized"])
def test_descriptors_say_the_same(tmp_path, subformat):
    """Byte by byte, but for the content id: they go by what is written there."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, tool in ((ours, image), (theirs, peer)):
        folder.mkdir()
        tool("create", "-f", "vmdk", "-o", word(subformat, "adapter_type=lsilogic"), folder / "a.vmdk", "5G")
    assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in theirs.iterdir())
    texts = []
    for folder in (ours, theirs):
        data = (folder / "a.vmdk").read_bytes()
        text = data[512:11 * 512] if data.startswith(b"KDMV") else data
        texts.append([line for line in text.rstrip(b"\0").decode().splitlines() if line and not line.startswith("CID=")])
    assert texts[0] == texts[1]
    for path in ours.iterdir():
        other = theirs / path.name
        assert path.stat().st_size == other.stat().st_size or path.name == "a.vmdk" and subformat != "monolithicSparse"
        if subformat.endswith("Sparse") and path.read_bytes().startswith(b"KDMV"):
            mine, yours = path.read_bytes(), other.read_bytes()
            assert mine[:512] == yours[:512] and mine[21 * 512:] == yours[21 * 512:]


@pytest.mark.parametrize("subformat", ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_several_extents(tmp_path, subformat):
    """Writes over the border of extents, theirs and ours, in each other's images."""
    for tool, folder in ((image, tmp_path / "ours"), (peer, tmp_path / "theirs")):
        folder.mkdir()
        path, copy = folder / "a.vmdk", folder / "copy.vmdk"
        tool("create", "-f", "vmdk", "-o", word(subformat, ""), path, "5G")
        peer_io(path, f"write -P 1 {2 * GIB - 70000} 140000", f"write -P 2 {4 * GIB - 512} 1024",
                f"write -P 3 {5 * GIB - 4096} 4096", "write -P 4 0 1M", fmt="vmdk")
        good(path)
        image("convert", "-O", "vmdk", "-o", word(subformat, ""), path, copy)
        good(copy)
        peer("compare", path, copy)
        image("compare", path, copy)
        peer_io(copy, f"read -P 1 {2 * GIB - 70000} 140000", f"read -P 2 {4 * GIB - 512} 1024",
                f"read -P 3 {5 * GIB - 4096} 4096", f"read -P 0 {3 * GIB} 1M", fmt="vmdk")


@pytest.mark.parametrize("subformat, options", [
    ("monolithicSparse", ""), ("monolithicSparse", "zeroed_grain=on"), ("monolithicFlat", ""),
    ("twoGbMaxExtentSparse", ""), ("twoGbMaxExtentSparse", "zeroed_grain=on")])
def test_random_operations(tmp_path, request, subformat, options):
    """They and we write to an image in turn; a plain copy says what must be in it."""
    for seed in range(6 if request.config.getoption("--full") else 2):
        rand, folder = random.Random(seed), tmp_path / str(seed)
        folder.mkdir()
        path, model = folder / "a.vmdk", folder / "model.raw"
        size = 3 * MIB + 512 * rand.randrange(100)
        (image if seed % 2 else peer)("create", "-f", "vmdk", "-o", word(subformat, options), path, str(size))
        model.write_bytes(bytes(size))
        for turn in range(6):
            ops = []
            for _ in range(10):
                off, n = rand.randrange(size // 512) * 512, rand.choice((512, 5120, 70144, 300032))
                n = min(n, size - off)
                ops.append(rand.choice((f"write -P {rand.randrange(1, 255)} {off} {n}", f"write -z {off} {n}", "flush")))
            peer_io(model, *ops, fmt="raw")
            before = info(path)["format-specific"]["data"]["cid"]
            if turn % 2:
                image("convert", "-n", "-f", "raw", "-O", "vmdk", model, path)
                assert info(path)["format-specific"]["data"]["cid"] != before
            else:
                peer_io(path, *ops, fmt="vmdk")
            good(path)
            same(path, model)


def test_sparse_image_gives_space_back(tmp_path, raw):
    """Zeros written over data take away entries, and then the room."""
    for options in ("", "zeroed_grain=on"):
        path, zeros = tmp_path / "a.vmdk", tmp_path / "zeros.raw"
        zeros.write_bytes(bytes(raw.stat().st_size))
        image("convert", "-f", "raw", "-O", "vmdk", *(["-o", options] if options else []), raw, path)
        before = path.stat().st_blocks
        image("convert", "-n", "-f", "raw", "-O", "vmdk", zeros, path)
        good(path)
        same(path, zeros)
        assert path.stat().st_blocks < before / 10


def test_streams_are_written_once(tmp_path, raw):
    path = tmp_path / "a.vmdk"
    image("convert", "-O", "vmdk", "-f", "raw", "-o", "subformat=streamOptimized", raw, path)
    data = path.read_bytes()
    assert len(data) < raw.stat().st_size / 2
    assert data[56:64] == b"\xff" * 8 and data[-1024:-1020] == b"KDMV" and not any(data[-512:])
    text = image("convert", "-n", "-f", "raw", "-O", "vmdk", raw, path, status=1)
    assert "written once" in text
    assert path.read_bytes() == data
    lba = grains = 0
    at = 128 * 512                      # grains come in order, each with its marker
    while struct.unpack_from("<I", data, at + 8)[0]:
        value, size = struct.unpack_from("<QI", data, at)
        assert value >= lba and len(zlib.decompress(data[at + 12:at + 12 + size])) == 65536
        lba, at, grains = value + 128, at + -(-(12 + size) // 512) * 512, grains + 1
    assert grains == int(image("check", path).split("/")[0].split("\n")[-1])
    for cut in (512, 1024, 4096, len(data) // 2):
        path.write_bytes(data[:-cut])
        assert "footer" in image("convert", path, tmp_path / "out", status=1)


@pytest.mark.parametrize("tool", [image, peer], ids=["ours", "theirs"])
@pytest.mark.parametrize("options", ["", "zeroed_grain=on"])
def test_backing(tmp_path, raw, tool, options):
    base, top, model = tmp_path / "base.vmdk", tmp_path / "top.vmdk", tmp_path / "model.raw"
    image("convert", "-f", "raw", "-O", "vmdk", raw, base)
    tool("create", "-f", "vmdk", *(["-o", options] if options else []), "-b", "base.vmdk", "-F", "vmdk", top)
    said = info(top)
    assert said["backing-filename"] == "base.vmdk" and said["backing-filename-format"] == "vmdk"
    assert said["format-specific"]["data"]["parent-cid"] == info(base)["format-specific"]["data"]["cid"]
    same(top, raw)
    model.write_bytes(raw.read_bytes())
    writes = ["write -P 9 1000k 100k", "write -P 8 0 512", "write -z 2M 200k", "write -z 3M 1k"]
    peer_io(top, *writes, fmt="vmdk")
    peer_io(model, *writes, fmt="raw")
    good(top)
    same(top, model)
    model.write_bytes(content(raw.stat().st_size, 77))
    image("convert", "-n", "-f", "raw", "-O", "vmdk", model, top)
    good(top)
    same(top, model)
    same(base, raw)
    pieces = {(p["depth"], p["data"]) for p in json.loads(image("map", "--output=json", top))}
    assert (0, True) in pieces
    # Whoever writes to the base takes the ground from under what stands on it.
    for writer in (lambda: peer_io(base, "write -P 1 0 512", fmt="vmdk"),
                   lambda: image("convert", "-n", "-f", "raw", "-O", "vmdk", model, base)):
        kept = base.read_bytes()
        writer()
        assert "changed since" in image("map", top, status=1)
        image("info", top)
        image("check", top)
        base.write_bytes(kept)
        image("map", top)


def test_what_cannot_be_made(tmp_path, raw):
    path = tmp_path / "a.vmdk"
    image("create", "-f", "vmdk", tmp_path / "b.vmdk", "1M")
    image("create", "-f", "qcow2", tmp_path / "b.qcow2", "1M")
    for words, says in ((["-o", "subformat=vmfs"], "subformat"), (["-o", "adapter_type=scsi"], "adapter_type"),
                        (["-o", "compat6,hwversion=5"], "exclude"), (["-o", "hwversion=x"], "hwversion"),
                        (["-o", "subformat=monolithicFlat,zeroed_grain=on"], "zeroed grains"),
                        (["-o", "subformat=monolithicFlat", "-b", "b.vmdk", "-F", "vmdk"], "no backing file"),
                        (["-b", "b.qcow2", "-F", "qcow2"], "must be vmdk"), (["-b", "none", "-F", "vmdk"], "none"),
                        (["-o", "colour=red"], "colour")):
        assert says in image("create", "-f", "vmdk", *words, path, "1M", status=1)
        assert not list(tmp_path.glob("a*"))
    assert "one sector" in image("create", "-f", "vmdk", path, "0", status=1)
    image("convert", "-f", "raw", "-O", "vmdk", raw, path)
    assert "Operation not supported" in image("resize", path, "10M", status=1)
    assert "Operation not supported" in image("convert", "-c", "-O", "vmdk", "-f", "raw", raw, path, status=1)


def test_flat_grows(tmp_path, raw):
    path, model = tmp_path / "a.vmdk", tmp_path / "model.raw"
    model.write_bytes(raw.read_bytes())
    image("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw, path)
    for size in (6 * MIB, 999 * MIB):
        image("resize", path, size)
        run("truncate", "-s", size, model)
        same(path, model)
        good(path)
    text = path.read_text()
    assert f"RW {999 * 2048} FLAT" in text and f'cylinders = "{999 * 2048 // 1008}"' in text
    assert "--shrink" in image("resize", path, "1M", status=1)
    image("resize", "--shrink", path, "1M", status=1)


def limits():
    """Of memory and time."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))


def descriptor(path, *lines, kind="monolithicFlat", parent=None):
    """A text that names files."""
    text = f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID={"1" if parent else "ffffffff"}\n'
    text += f'createType="{kind}"\n' + (f'parentFileNameHint="{parent}"\n' if parent else "")
    path.write_text(text + "\n".join(lines) + "\n")
    return path


NAMES = ["/etc/passwd", "../outside", "link", 'json:{}', "nbd://127.0.0.1/x", "/dev/zero", "fifo", "sub",
         "file:../outside", "x" * 1000, "none"]


@pytest.mark.parametrize("name,kind", [(n, k) for k in ("FLAT", "parent") for n in NAMES] + [
    (n, k) for k in ("SPARSE", "VMFS") for n in ("/etc/passwd", "../outside", "link")])
def test_what_an_extent_may_not_be(tmp_path, name, kind):
    """2022-47951 and its kin: a text that would have us read a file of the host."""
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(bytes(512))
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "sub").mkdir()
    shutil.copy("/bin/true", folder / "flat")
    run("mkfifo", folder / "fifo")
    if kind == "parent":
        path = descriptor(folder / "a.vmdk", 'RW 1 FLAT "flat" 0', parent=name)
    else:
        path = descriptor(folder / "a.vmdk", f'RW 1 {kind} "{name}"')
    info(path)                          # seen, not followed
    for command in (["map", path], ["convert", path, tmp_path / "out"]):
        text = image(*command, status=1, preexec_fn=limits)
        assert name.removeprefix("file:")[:20] in text
    assert not (tmp_path / "out").exists()


def test_what_an_extent_may_be(tmp_path):
    data = content(8192, 5)
    (tmp_path / "flat").write_bytes(data)
    descriptor(tmp_path / "a.vmdk", 'RW 4 FLAT "flat" 8', "RW 2 ZERO", 'RDONLY 8 FLAT "flat" 0')
    image("convert", tmp_path / "a.vmdk", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data[4096:6144] + bytes(1024) + data[:4096]
    assert "read-only" in image("convert", "-n", "-O", "vmdk", "-f", "raw", tmp_path / "out", tmp_path / "a.vmdk", status=1)
    descriptor(tmp_path / "b.vmdk", 'RW 16 FLAT "elsewhere" 0')
    image("map", tmp_path / "b.vmdk", status=1)
    image("compare", "--image-opts", f"driver=vmdk,file.filename={tmp_path}/b.vmdk,extents.0.filename={tmp_path}/flat",
          f"driver=raw,file.filename={tmp_path}/flat")
    image("info", "--image-opts", f"driver=vmdk,file.filename={tmp_path}/b.vmdk,extents.0.filename={tmp_path}/flat")


LINES = {
    "of itself": ('RW 1 FLAT "a.vmdk" 0', "itself"),
    "longer than its file": ('RW 17 FLAT "flat" 0', "8192"),
    "beyond its file": ('RW 1 FLAT "flat" 16', "8192"),
    "far beyond": ('RW 1 FLAT "flat" 9007199254740992', "flat"),
    "of no sectors": ('RW 0 FLAT "flat" 0', "sectors"),
    "of 2^63 sectors": ('RW 9223372036854775808 FLAT "flat" 0', "sectors"),
    "of 2^64 + 1 sectors": ('RW 18446744073709551617 FLAT "flat" 0', "sectors"),
    "without quotes": ("RW 1 FLAT flat 0", "quotes"),
    "with half a quote": ('RW 1 FLAT "flat 0', "quotes"),
    "sparse that is not": ('RW 1 SPARSE "flat"', "KDMV"),
    "sparse twice": ('RW 2048 SPARSE "one.vmdk"\nRW 2048 SPARSE "two.vmdk"', "no grain table lies there"),
    "sparse and shorter": ('RW 4096 SPARSE "one.vmdk"', "2048"),
    "too long together": ('RW 9007199254740992 ZERO\n' * 2, "2^62"),
    "without end": ("RW 1 ZERO\n" * 5000, "4096"),
}


@pytest.mark.parametrize("what", LINES, ids=lambda n: n.replace(" ", "-"))
def test_extents_that_lie(tmp_path, what):
    (tmp_path / "flat").write_bytes(content(8192, 5))
    image("create", "-f", "vmdk", tmp_path / "one.vmdk", "1M")
    data = bytearray((tmp_path / "one.vmdk").read_bytes())
    struct.pack_into("<I", data, 26 * 512, 0x10000000)
    (tmp_path / "two.vmdk").write_bytes(data)
    lines, says = LINES[what]
    path = descriptor(tmp_path / "a.vmdk", lines, kind="twoGbMaxExtentSparse")
    assert says in image("map", path, status=1, preexec_fn=limits)


@pytest.mark.parametrize("kind", ["custom", "fullDevice", "partitionedDevice", "vmfsSparse", "seSparse", "monolithicSparse"])
def test_types_that_are_refused(tmp_path, kind):
    (tmp_path / "flat").write_bytes(bytes(8192))
    path = descriptor(tmp_path / "a.vmdk", 'RW 16 FLAT "flat" 0', kind=kind)
    assert f'createType is "{kind}"' in image("info", path, status=1)


LIES = {
    "2014-0143, entries of a table": (44, "<I", 0x40000001), "2014-0144, capacity": (12, "<Q", 1 << 62),
    "2014-0144, capacity without end": (12, "<Q", (1 << 64) - 1), "2014-0142, grain of nothing": (20, "<Q", 0),
    "2014-0142, tables of nothing": (44, "<I", 0), "2014-0147, top bits": (44, "<I", 0xffffffff),
    "2014-0144, grain": (20, "<Q", 1 << 63), "a directory in the header": (56, "<Q", 0),
    "a directory behind the end": (56, "<Q", 1 << 50), "a copy behind the end": (48, "<Q", 1 << 50),
    "a descriptor behind the end": (28, "<Q", 1 << 50), "a long descriptor": (36, "<Q", 1 << 40),
    "a directory longer than the file": (12, "<Q", 1 << 36), "a table behind the end": (26 * 512, "<I", 0x7fffffff),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda n: n.replace(" ", "-"))
def test_headers_that_lie(tmp_path, lie):
    path = tmp_path / "a.vmdk"
    image("create", "-f", "vmdk", path, "1M")
    data = bytearray(path.read_bytes())
    off, kind, value = LIES[lie]
    struct.pack_into(kind, data, off, value)
    path.write_bytes(data)
    for command in (["info", path], ["check", path], ["map", path], ["check", "-r", "all", path]):
        text = image(*command, status=1, preexec_fn=limits)
        assert "vmdk:" in text and "offset" in text


def test_entries_that_lie(tmp_path, raw):
    """Found by the check, as far as QEMU's looks too; reading fails there; repaired from the copies."""
    path = tmp_path / "a.vmdk"
    for wrong in (0x7fffffff, 1, 22):
        image("convert", "-f", "raw", "-O", "vmdk", raw, path)
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, 27 * 512, wrong)
        path.write_bytes(data)
        assert "1 errors were found" in image("check", path, status=1)
        if wrong == 0x7fffffff:
            peer("check", path, status=1)
            assert "at offset 0" in image("convert", path, tmp_path / "out", status=1)
        image("check", "-r", "all", path)
        good(path)
        same(path, raw)
    data = bytearray(path.read_bytes())
    data[27 * 512 + 4:27 * 512 + 8] = data[27 * 512:27 * 512 + 4]
    path.write_bytes(data)
    assert "overlap" in image("check", path, status=1)


def test_streams_that_lie(tmp_path, raw):
    """Grains that unpack to too much, to nonsense, that are another's or end behind the file."""
    good_one, path = tmp_path / "good.vmdk", tmp_path / "a.vmdk"
    image("convert", "-O", "vmdk", "-f", "raw", "-o", "subformat=streamOptimized", raw, good_one)
    data = good_one.read_bytes()
    bomb = zlib.compress(bytes(64 * MIB))[:60000]
    for off, new in ((65536 + 8, b"\xff\xff\xff\xff"), (65536 + 8, b"\0\0\xff\0"), (65536, b"\x80"), (65536 + 12, b"\xff" * 16),
                     (65536 + 8, struct.pack("<I", len(bomb)) + bomb), (65536 + 8, b"\1\0\0\0")):
        path.write_bytes(data[:off] + new + data[off + len(new):])
        image("info", path, preexec_fn=limits)
        assert "offset 0" in image("convert", "-m", "1", path, tmp_path / "out", status=1, preexec_fn=limits)
    path.write_bytes(data[:-1024 + 56] + struct.pack("<Q", 1 << 40) + data[-1024 + 64:])
    assert f"offset {len(data) - 1024 + 56}" in image("info", path, status=1, preexec_fn=limits)
    path.write_bytes(data[:-1024 + 56] + b"\xff" * 8 + data[-1024 + 64:])
    assert "grain directory" in image("info", path, status=1, preexec_fn=limits)


def test_one_extent_alone(tmp_path):
    image("create", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", tmp_path / "a.vmdk", "1M")
    assert "no descriptor" in image("info", "-f", "vmdk", tmp_path / "a-s001.vmdk", status=1)


@pytest.mark.skipif(not shutil.which("7zz"), reason="no 7zz here (Debian: 7zip)")
@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_7zip_reads_ours(tmp_path, raw, subformat):
    path = tmp_path / "a.vmdk"
    image("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path)
    run("7zz", "x", "-y", f"-o{tmp_path}/out", path)
    assert [p.read_bytes() for p in (tmp_path / "out").iterdir()] == [raw.read_bytes()]


@pytest.mark.skipif(not shutil.which("vmdkinfo"), reason="no vmdkinfo here (Debian: libvmdk-utils)")
def test_libvmdk_knows_ours(tmp_path, raw):
    for subformat, kind in (("monolithicSparse", "Monolithic sparse"), ("streamOptimized", "Stream optimized"),
                            ("twoGbMaxExtentSparse", "2GB extent sparse"), ("twoGbMaxExtentFlat", "2GB extent flat"),
                            ("monolithicFlat", "Monolithic flat")):
        path = tmp_path / f"{subformat}.vmdk"
        image("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path)
        said = run("vmdkinfo", path)
        assert kind in said and f"({raw.stat().st_size} bytes)" in said
        assert f"{info(path)['format-specific']['data']['cid']:08x}" in said


def test_they_keep_each_other_out(tmp_path):
    """While QEMU has an image open for writing, we do not open it; -U looks all the same."""
    for subformat in ("monolithicSparse", "monolithicFlat"):
        path = tmp_path / f"{subformat}.vmdk"
        image("create", "-f", "vmdk", "-o", f"subformat={subformat}", path, "1M")
        argv = ["qemu-io", "-f", "vmdk", path]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
            qemu.stdin.write("write 0 1k\n")
            qemu.stdin.flush()
            while "wrote" not in qemu.stdout.readline():
                pass
            assert "in use by" in image("map", path, status=1)
            image("map", "-U", path)
            qemu.communicate("quit\n", timeout=60)
        good(path)
