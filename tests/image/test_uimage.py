"""U-Boot's uImages, as mkimage makes them: what is told of them, their payload, and wrecks of them."""

import gzip
import re
import shutil
import struct
import subprocess
import zlib

import pytest
from conftest import MIB, content, image, info, run
from test_vmdk import limits

pytestmark = pytest.mark.skipif(not shutil.which("mkimage"), reason="no mkimage here (Debian: u-boot-tools)")


def mkimage(path, *data, kind="kernel", codec="none", arch="arm64", system="linux", name="a name"):
    """An image of files."""
    run("mkimage", "-A", arch, "-O", system, "-T", kind, "-C", codec, "-a", "0x80000", "-e", "0x80040", "-n", name,
        "-d", ":".join(map(str, data)), path)
    return path


@pytest.fixture(name="payload", scope="module")
def fixture_payload(tmp_path_factory):
    """Something to pack."""
    path = tmp_path_factory.mktemp("payload") / "payload"
    path.write_bytes(content(2 * MIB + 700, 3))
    return path


def said(path):
    """What info has to say of the header."""
    return info(path)["format-specific"]["data"]


def test_info_is_what_mkimage_says(tmp_path, payload):
    path = mkimage(tmp_path / "u", payload)
    data, listed = said(path), run("mkimage", "-l", path)
    head = path.read_bytes()[:64]
    assert data["image-name"] == "a name" == re.search(r"Image Name: *(.*)", listed)[1]
    assert data["data-size"] == payload.stat().st_size == int(re.search(r"Data Size: *(\d+)", listed)[1])
    assert data["load-address"] == re.search(r"Load Address: *(\w+)", listed)[1] == "00080000"
    assert data["entry-point"] == re.search(r"Entry Point: *(\w+)", listed)[1] == "00080040"
    assert (data["architecture"], data["os"], data["image-type"], data["compression"]) == (
        "arm64", "linux", "kernel", "none")
    assert int(data["data-checksum"], 16) == zlib.crc32(payload.read_bytes())
    assert data["header-checksum"] == head[4:8].hex()
    made = int.from_bytes(head[8:12], "big")
    assert data["created"] == run("date", "-u", "-d", f"@{made}", "+%Y-%m-%dT%H:%M:%SZ").strip()
    words = image("info", path)
    assert "file format: uimage" in words and "image name: a name" in words and "entry point: 00080040" in words


def names(option):
    """What mkimage knows, for -A, -O, -T or -C."""
    text = subprocess.run(["mkimage", option, "list"], capture_output=True, text=True, check=False).stderr
    return [w for w in re.findall(r"^\t(\S+)", text, re.M) if w != "invalid"]


def test_all_names(tmp_path):
    """Every architecture, system, type and compression that mkimage has a name for is called so."""
    (tmp_path / "data").write_bytes(b"data")
    base = bytearray(mkimage(tmp_path / "u", tmp_path / "data").read_bytes())
    for option, key, at in (("-A", "architecture", 29), ("-O", "os", 28), ("-C", "compression", 31)):
        assert len(names(option)) > 5
        for name in names(option):
            if name == "none":
                continue
            words = {"-A": {"arch": name}, "-O": {"system": name}, "-C": {"codec": name}}[option]
            if name == "gzip":
                (tmp_path / "data").write_bytes(gzip.compress(b"data"))
            path = mkimage(tmp_path / "u", tmp_path / "data", **words)
            assert said(path)[key] == name
            (tmp_path / "data").write_bytes(b"data")
        base[at] = 200
        unknown = reseal(base)
        (tmp_path / "u").write_bytes(unknown)
        assert said(tmp_path / "u")[key] == "unknown (200)"
        base[at] = 1 if option != "-C" else 0
    for name in ("standalone", "kernel", "ramdisk", "multi", "firmware", "script", "filesystem",
                 "kernel_noload"):
        path = mkimage(tmp_path / "u", tmp_path / "data", kind=name)
        assert said(path)["image-type"] == name


def reseal(data):
    """With a header checksum that is right again."""
    data = bytearray(data)
    data[4:8] = bytes(4)
    data[4:8] = zlib.crc32(data[:64]).to_bytes(4, "big")
    return bytes(data)


def test_payload_is_the_disk(tmp_path, payload):
    path = mkimage(tmp_path / "u", payload)
    image("convert", path, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == payload.read_bytes()
    path.write_bytes(path.read_bytes() + b"padding of a flash")
    image("compare", "-s", "-F", "raw", path, payload)
    assert "cannot be made" in image("create", "-f", "uimage", tmp_path / "new", "1M", status=1)
    assert "read-only" in image("resize", path, "1M", "--shrink", status=1).lower()
    assert "nothing to check" in image("check", path, status=1)


def test_compressed_payload(tmp_path, payload):
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(payload.read_bytes()))
    path = mkimage(tmp_path / "u", packed, codec="gzip")
    image("convert", path, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == payload.read_bytes()
    assert info(path)["virtual-size"] == payload.stat().st_size
    for codec in ("lzma", "zstd", "bzip2"):
        path = mkimage(tmp_path / "u", packed, codec=codec)
        assert said(path)["compression"] == codec
        assert f"({codec}), which is not supported" in image("convert", path, tmp_path / "out", status=1)
        image("compare", "-F", "raw", "--image-opts", f"driver=raw,offset=64,size={packed.stat().st_size},"
              f"file.filename={path}", f"driver=raw,file.filename={packed}")


def test_parts(tmp_path, payload):
    second = tmp_path / "second"
    second.write_bytes(b"the second part")
    path = mkimage(tmp_path / "u", payload, second, payload, kind="multi")
    sizes = [p["size"] for p in said(path)["parts"]]
    assert sizes == [payload.stat().st_size, 15, payload.stat().st_size]
    assert [int(n) for n in re.findall(r"Image \d: (\d+)", run("mkimage", "-l", path))] == sizes
    for part, file in enumerate((payload, second, payload)):
        image("compare", "-s", "--image-opts", f"driver=uimage,file.filename={path},part={part}",
              f"driver=raw,file.filename={file}")
    assert "part=3: there are 3" in image("map", "--image-opts", f"driver=uimage,file.filename={path},part=3", status=1)
    path = mkimage(tmp_path / "s", second, kind="script")
    assert [p["size"] for p in said(path)["parts"]] == [15]


def test_wrong_checksums(tmp_path, payload):
    """Refused, with what stands there and what there is."""
    path = mkimage(tmp_path / "u", payload)
    right = path.read_bytes()
    for at in (8, 20, 40, 63):
        data = bytearray(right)
        data[at] ^= 0x10
        path.write_bytes(data)
        found = zlib.crc32(bytes(data[:4]) + bytes(4) + bytes(data[8:64]))
        text = image("info", path, status=1)
        assert f"checksum at offset 4 is {right[4:8].hex()}" in text and f"{found:08x}" in text
    for at in (64, 1000000, len(right) - 1):
        data = bytearray(right)
        data[at] ^= 0x10
        path.write_bytes(data)
        for command in (["info", path], ["map", path], ["convert", path, tmp_path / "out"]):
            text = image(*command, status=1)
            assert f"data at offset 24 is {right[24:28].hex()}" in text and f"{zlib.crc32(data[64:]):08x}" in text
    assert not (tmp_path / "out").exists()


LIES = {
    "no magic": (0, b"\x27\x05\x19\x57", "offset 0"), "more data than there are": (12, b"\xff\xff\xff\xff", "offset 12"),
    "one byte more": (12, (2 * MIB + 701).to_bytes(4, "big"), "offset 12"), "no system": (28, b"\0", "offset 28"),
    "no architecture": (29, b"\0", "offset 29"), "no type": (30, b"\0", "offset 30"),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda n: n.replace(" ", "-"))
def test_headers_that_lie(tmp_path, payload, lie):
    path = mkimage(tmp_path / "u", payload)
    data = bytearray(path.read_bytes())
    off, new, says = LIES[lie]
    data[off:off + len(new)] = new
    path.write_bytes(reseal(data))
    assert says in image("info", "-f", "uimage", path, status=1, preexec_fn=limits)
    path.write_bytes(data[:63])
    assert "fewer than" in image("info", "-f", "uimage", path, status=1)


def made(data, codec=0, kind=2):
    """An image of any data, right for the checksums."""
    head = struct.pack(">7I4B32s", 0x27051956, 0, 1, len(data), 0, 0, zlib.crc32(data), 5, 2, kind, codec, b"made")
    return reseal(head) + data


def test_lists_that_lie(tmp_path):
    path = tmp_path / "u"
    for data, says in ((struct.pack(">3I", 1, 1, 1), "no end"), (struct.pack(">2I", 5, 0) + b"abcd", "part 0 has 5"),
                       (struct.pack(">3I", 4, 0xffffffff, 0) + b"abcd", "part 1 has 4294967295"), (b"\0\0\1", "no end"),
                       (struct.pack(">I", 1) * 300 + bytes(4), "no end in 257")):
        path.write_bytes(made(data, kind=4))
        text = image("info", path, status=1, preexec_fn=limits)
        assert says in text and "offset" in text
    path.write_bytes(made(bytes(4), kind=4))
    assert said(path)["parts"] == []


def test_streams_that_lie(tmp_path):
    """Bombs, nonsense, and what ends too early."""
    path = tmp_path / "u"
    whole = gzip.compress(bytes(300 * MIB), 1)
    for data, says in ((whole, "256 MiB"), (whole[:1000], "no whole gzip"), (b"nonsense", "no whole gzip"), (b"", "no whole")):
        path.write_bytes(made(data, codec=1))
        assert says in image("map", path, status=1, preexec_fn=limits)
    path.write_bytes(made(gzip.compress(b"abc") + b"behind it", codec=1))
    image("convert", path, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"abc"
