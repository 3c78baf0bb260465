"""Images that are encrypted with LUKS: QEMU's are read and written here, with the right secret only."""

import random
import struct

import pytest
from conftest import MIB, OUR_IO, content, image, run

KINDS = ["", "encrypt.cipher-alg=aes-128", "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256",
         "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain64,encrypt.hash-alg=sha1", "encrypt.hash-alg=sha512",
         "extended_l2=on", "cluster_size=4k"]
SECRET = "secret,id=s,data=open sesame"


def create(path, kind, size="4M"):
    """An image of QEMU's."""
    run("qemu-img", "create", "-f", "qcow2", "--object", SECRET, "-o",
        f"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10{',' if kind else ''}{kind}", path, size)


def options(path):
    """As both take them."""
    return f"driver=qcow2,file.filename={path},encrypt.key-secret=s"


def peer_io(path, *commands):
    """QEMU's requests to it."""
    run("qemu-io", "--object", SECRET, "--image-opts", *[w for c in commands for w in ("-c", c)], options(path))


def peer_check(path):
    """QEMU finds nothing wrong."""
    run("qemu-img", "check", "--object", SECRET, "--image-opts", options(path))


def our_io(path, *commands, status=0, secret="open sesame"):
    """Ours."""
    return run(OUR_IO, f'json:{{"driver":"qcow2","file.filename":"{path}","encrypt.secret":"{secret}"}}', *commands,
               status=status)


@pytest.mark.parametrize("kind", KINDS)
def test_in_turn(tmp_path, kind):
    path, model, out = tmp_path / "a.qcow2", tmp_path / "model.raw", tmp_path / "out.raw"
    rand = random.Random(kind)
    create(path, kind)
    model.write_bytes(bytes(4 * MIB))
    for turn in range(2):
        ours, theirs = [], []
        for _ in range(6):
            length = rand.choice((512, 4096, 35 * 512, 300 * 1024))
            off, pattern = rand.randrange((4 * MIB - length) // 512) * 512, rand.randrange(1, 255)
            ours.append(f"write {pattern} {off} {length}")
            theirs.append(f"write -P {pattern} {off} {length}")
        if turn == 0:
            ours.append("write 77 1000001 777")        # within sectors
            theirs.append("write -P 77 1000001 777")
        ours.append("zero 100000 70000")
        theirs.append("write -z 100000 70000")
        run("qemu-io", "-f", "raw", *[w for c in theirs for w in ("-c", c)], model)
        if turn % 2:
            peer_io(path, *theirs)
        else:
            our_io(path, *ours)
        peer_check(path)
        image("check", path)
        image("convert", "--object", SECRET, "--image-opts", options(path), out)
        assert out.read_bytes() == model.read_bytes()
        run("qemu-img", "convert", "--object", SECRET, "--image-opts", options(path), "-O", "raw", out)
        assert out.read_bytes() == model.read_bytes()
    assert b"\xaa" * 600 not in path.read_bytes()


def test_secrets(tmp_path):
    path = tmp_path / "a.qcow2"
    create(path, "")
    word = tmp_path / "word"
    word.write_text("open sesame")
    image("map", "--object", f"secret,id=s,file={word}", "--image-opts", options(path))
    assert "opens none" in image("map", "--object", "secret,id=s,data=wrong", "--image-opts", options(path), status=1)
    assert "no --object secret,id=s" in image("map", "--object", "secret,id=t,data=x", "--image-opts", options(path), status=1)
    assert "needs encrypt.key-secret" in image("map", path, status=1)
    assert "cannot be read" in image("map", "--object", "secret,id=s,file=/none", "--image-opts", options(path), status=1)
    plain = tmp_path / "plain.qcow2"
    image("create", "-f", "qcow2", plain, "1M")
    assert "not encrypted" in image("map", "--object", SECRET, "--image-opts", options(plain), status=1)


def test_snapshots_and_backing(tmp_path):
    base, path, out = tmp_path / "base.raw", tmp_path / "a.qcow2", tmp_path / "out"
    base.write_bytes(content(2 * MIB, 3))
    run("qemu-img", "create", "-f", "qcow2", "--object", SECRET, "-b", "base.raw", "-F", "raw", "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path)
    our_io(path, "write 5 100000 100000")
    peer_check(path)
    image("snapshot", "--object", SECRET, "--image-opts", "-c", "one", options(path))
    our_io(path, "write 6 100000 100000")
    peer_check(path)
    wanted = bytearray(base.read_bytes())
    for name, byte in ((None, b"\6"), ("one", b"\5")):
        wanted[100000:200000] = byte * 100000
        image("convert", "--object", SECRET, *(["-l", name] if name else []), "--image-opts", options(path), out)
        assert out.read_bytes() == wanted


def test_headers_that_lie(tmp_path):
    path = tmp_path / "a.qcow2"
    create(path, "")
    good = path.read_bytes()
    at = good.index(b"LUKS\xba\xbe")
    for off, kind, value, says in ((0, ">I", 0, "no header"), (6, ">H", 2, "version 1"), (8, ">I", 0x61626364, "cipher"),
                                   (40, ">I", 0x61626364, "cipher"), (72, ">I", 0x61626364, "hash"),
                                   (108, ">I", 0, "length of a key"), (108, ">I", 0xffffffff, "length of a key"),
                                   (164, ">I", 0, "iterations"), (164, ">I", 0xffffffff, "iterations"),
                                   (208 + 4, ">I", 0xffffffff, "slot 0"), (208 + 40, ">I", 0xffffffff, "slot 0"),
                                   (208 + 44, ">I", 1, "slot 0"), (208, ">I", 0xdead, "opens none"),
                                   (112, ">I", 0, "opens none")):
        data = bytearray(good)
        struct.pack_into(kind, data, at + off, value)
        path.write_bytes(data)
        assert says in our_io(path, "read 0 0 512", status=1), off
