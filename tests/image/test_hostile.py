"""Images that name other files, point into themselves, or lie about sizes; names as users type them."""

import os
import resource
import struct

import pytest
from conftest import BIN, MIB, image, info, peer, run

CLUSTER = 65536


def make(path, backing=None, fmt="raw", size=MIB):
    """A qcow2 image with any text for its backing file."""
    image("create", "-f", "qcow2", path, size)
    if backing is None:
        return path
    data = bytearray(path.read_bytes())
    name, kind = os.fsencode(backing), fmt.encode()
    extension = struct.pack(">II", 0xe2792aca, len(kind)) + kind.ljust(-(-len(kind) // 8) * 8, b"\0") if fmt else b""
    data[112:112 + len(extension)] = extension
    data[1024:1024 + len(name)] = name
    data[8:20] = struct.pack(">QI", 1024, len(name))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "link", "json:{\"driver\":\"raw\"}", "nbd://127.0.0.1/x",
                                  "nbd:unix:/x", "/dev/zero", "fifo", "sub", "file:../outside", "x" * 1000, "none"])
def test_what_a_backing_name_may_not_be(tmp_path, name):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(bytes(512))
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "fifo")
    path = make(folder / "a.qcow2", name)
    assert info(path)["backing-filename"] == name      # seen, not followed
    trace = image("compare", path, path, status=1)
    assert name.removeprefix("file:")[:20] in trace
    image("map", path, status=1)


def test_what_it_may_be(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base").write_bytes(b"base" * 1024)
    (tmp_path / "sub/base").write_bytes(b"base" * 1024)
    for name in ("base", "file:base", "sub/base", "sub/../base"):
        path = make(tmp_path / "a.qcow2", name)
        image("convert", path, tmp_path / "out")
        assert (tmp_path / "out").read_bytes().startswith(b"base" * 1024)
    path = make(tmp_path / "sub/b.qcow2", str(tmp_path / "base"))
    image("map", path, status=1)
    image("map", "--allow-references", path)
    path = make(tmp_path / "sub/c.qcow2", "../base")
    image("map", "--allow-references", path)


def test_folders_that_the_user_allows(tmp_path):
    """allow-refs: names may lead there, but not by links or dots out of there again."""
    for name in ("images", "bases", "bases/more", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "base").write_bytes(name.encode() * 512)
    (tmp_path / "bases/link").symlink_to("../secret/base")
    (tmp_path / "basesnot").mkdir()
    (tmp_path / "basesnot/base").write_bytes(bytes(512))
    allow = ("--allow-refs", tmp_path / "bases")
    for name in (f"{tmp_path}/bases/base", "../bases/base", f"{tmp_path}/bases/more/../base", "../bases/more/base"):
        path = make(tmp_path / "images/a.qcow2", name)
        assert "allow-refs" in image("map", path, status=1)
        image("convert", *allow, path, tmp_path / "out")
        assert (tmp_path / "out").read_bytes().startswith(b"bases")
        image("map", "--image-opts", f"driver=qcow2,file.filename={path},allow-refs={tmp_path}/x:{tmp_path}/bases")
    for name in (f"{tmp_path}/secret/base", "../bases/link", "../bases/../secret/base", "../basesnot/base", "../bases"):
        path = make(tmp_path / "images/a.qcow2", name)
        assert "a.qcow2" in image("map", *allow, path, status=1)
    make(tmp_path / "bases/b.qcow2", f"{tmp_path}/bases/base")
    path = make(tmp_path / "images/a.qcow2", "../bases/b.qcow2", "qcow2")
    image("map", *allow, path)
    path = make(tmp_path / "images/a.qcow2", f"{tmp_path}/images/base")       # absolute, but its own folder
    image("map", path)


def test_no_probing(tmp_path):
    """With --no-probe a format is stated or the image is refused."""
    path = make(tmp_path / "a.qcow2")
    assert "say its format" in image("map", "--no-probe", path, status=1)
    image("map", "--no-probe", "-f", "qcow2", path)
    image("map", "--no-probe", f'json:{{"driver":"qcow2","file":{{"filename":"{path}"}}}}')


def test_format_is_never_guessed(tmp_path):
    (tmp_path / "base").write_bytes(bytes(4096))
    path = make(tmp_path / "a.qcow2", "base", fmt="")
    assert "backing.driver=" in image("map", path, status=1)
    image("map", "--image-opts", f"driver=qcow2,file.filename={path},backing.driver=raw")
    image("map", f'json:{{"driver":"qcow2","file":{{"filename":"{path}"}},"backing":null}}')
    plain = make(tmp_path / "plain.qcow2")
    assert "names no backing file" in image("map", "--image-opts", f"driver=qcow2,file.filename={plain},"
                                            "backing.driver=raw", status=1)
    assert "colour" in image("map", "--image-opts", f"driver=qcow2,file.filename={path},backing.driver=raw,"
                             "backing.colour=red", status=1)


def test_loops_and_depth(tmp_path):
    itself = make(tmp_path / "itself.qcow2", "itself.qcow2", "qcow2")
    assert "itself above it" in image("map", itself, status=1)
    make(tmp_path / "x.qcow2", "y.qcow2", "qcow2")
    make(tmp_path / "y.qcow2", "hard.qcow2", "qcow2")
    (tmp_path / "hard.qcow2").hardlink_to(tmp_path / "x.qcow2")
    assert "itself above it" in image("map", tmp_path / "x.qcow2", status=1)
    first = make(tmp_path / "0.qcow2").read_bytes()
    assert first
    for i in range(1, 203):
        make(tmp_path / f"{i}.qcow2", f"{i - 1}.qcow2", "qcow2")
    image("convert", tmp_path / "199.qcow2", tmp_path / "out")
    assert "more than 200" in image("map", tmp_path / "202.qcow2", status=1)


def test_probing(tmp_path):
    """A VMDK descriptor in a raw disk does not open a host file."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"# Disk DescriptorFile\nversion=1\nRW 100 FLAT \"/etc/passwd\" 0\n".ljust(4096, b"\0"))
    assert "vmdk" in image("map", path, status=1)
    image("map", "-f", "raw", path)
    assert info("-f", "raw", path)["format"] == "raw"
    assert "no protocol" in image("info", "a:b", status=1)
    assert "nbd" in image("info", "nbd://localhost/", status=1)


def limits():
    """Of memory and time."""
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))


LIES = {
    "2014-0143, L1 entries": (36, ">I", 0x3fffffff), "2014-0143, snapshots": (60, ">I", 0x10001),
    "2014-0144, size": (24, ">Q", 1 << 62), "2014-0144, clusters of the refcount table": (56, ">I", 0x7fffffff),
    "2014-0144, header length": (100, ">I", 0x7ffffff8), "2014-0144, backing name": (8, ">QI", 1 << 40, 1023),
    "2014-0146, snapshots beyond the end": (60, ">IQ", 1, 1 << 40), "2014-0147, top bits": (36, ">I", 0xffffffff),
    "a table in the header": (40, ">Q", 0), "cluster bits": (20, ">I", 0x40000010),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda n: n.replace(" ", "-"))
def test_headers_that_lie(tmp_path, lie):
    path = make(tmp_path / "a.qcow2")
    data = bytearray(path.read_bytes())
    off, kind, *values = LIES[lie]
    struct.pack_into(kind, data, off, *values)
    path.write_bytes(data)
    for command in (["info", path], ["check", path], ["map", path], ["check", "-r", "all", path]):
        text = image(*command, status=1, preexec_fn=limits)
        assert "qcow2:" in text and "offset" in text


def test_snapshot_that_is_longer_than_the_disk(tmp_path):
    """2014-0145: a snapshot's L1 table, too large or beyond the end."""
    path = make(tmp_path / "a.qcow2")
    peer("snapshot", "-c", "one", path)
    good = path.read_bytes()
    at = int.from_bytes(good[64:72], "big")
    for off, kind, value in ((8, ">I", 0x7fffffff), (8, ">I", 0x100000), (0, ">Q", 1 << 50), (36, ">I", 0xffffffff),
                             (12, ">H", 0xffff)):
        data = bytearray(good)
        struct.pack_into(kind, data, at + off, value)
        path.write_bytes(data)
        assert "snapshot" in image("info", path, status=1, preexec_fn=limits)


def test_zip_bomb_and_lying_clusters(tmp_path):
    """A compressed cluster of nonsense is a read error; more than a cluster never comes out of one."""
    source, path = tmp_path / "s.raw", tmp_path / "a.qcow2"
    source.write_bytes(b"a" * 4 * CLUSTER)
    image("convert", "-c", "-f", "raw", "-O", "qcow2", source, path)
    data = bytearray(path.read_bytes())
    l2 = int.from_bytes(data[0x30000:0x30008], "big") & ((1 << 56) - 1)
    host = int.from_bytes(data[l2:l2 + 8], "big") & ((1 << 54) - 1)
    data[host:host + 16] = b"\xff" * 16
    path.write_bytes(data)
    assert "reading" in image("convert", path, tmp_path / "out", status=1)
    assert not (tmp_path / "out").exists()


def test_entries_that_point_at_tables(tmp_path):
    """A data cluster on a table: writing there is refused and marks the image, reading goes on."""
    source, path = tmp_path / "s.raw", tmp_path / "a.qcow2"
    source.write_bytes(b"b" * CLUSTER)
    for target in (0x10000, 0x20000, 0x30000):
        image("convert", "-f", "raw", "-O", "qcow2", source, path)
        data = bytearray(path.read_bytes())
        l2 = int.from_bytes(data[0x30000:0x30008], "big") & ((1 << 56) - 1)
        data[l2:l2 + 8] = (target | 1 << 63).to_bytes(8, "big")
        path.write_bytes(data)
        assert "an entry points at a table" in image("convert", "-n", "-f", "raw", "-O", "qcow2", source, path, status=1)
        assert path.read_bytes()[target:target + CLUSTER] == bytes(data[target:target + CLUSTER])
        assert info(path)["format-specific"]["data"]["corrupt"]
        assert "marked as corrupt" in image("resize", path, "2M", status=1)
        image("map", path)


def test_encrypted_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "a.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path, "1M")
    assert info(path)["format-specific"]["data"]["encrypt"] == {"format": "luks"}
    assert "LUKS" in image("map", path, status=1)


def test_interrupted_target_goes_away(tmp_path):
    assert BIN.exists()
    image("convert", tmp_path / "none", tmp_path / "out", status=1)
    assert os.listdir(tmp_path) == []
    image("create", "-f", "qcow2", "-o", "cluster_size=3k", tmp_path / "x", "1M", status=1)
    image("create", "-f", "qcow2", "-o", "colour=red", tmp_path / "x", "1M", status=1)
    assert os.listdir(tmp_path) == []
