"""Discs as files: made, burned, looked at, compared, taken out; and files that are none."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import time

import pytest
from conftest import BIN, BLOCK, TYPES, outboard, outboard_json, refused


def digest(path):
    """SHA-256 of a file, zeros behind its end up to the full block."""
    data = path.read_bytes()
    return hashlib.sha256(data + bytes(-len(data) % BLOCK)).hexdigest()


def crc32c(data):
    """CRC-32C, bit by bit."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1))
    return crc ^ 0xffffffff


@pytest.mark.parametrize("kind", TYPES)
def test_blank(new_disc, kind):
    path = new_disc(kind)
    info = outboard_json("disc", "info", path)
    assert info["status"] == "blank" and info["free_blocks"] == info["blocks"] and info["tracks"] == []
    assert info["file_bytes"] > info["bytes"] and info["disk_bytes"] < 16 << 20
    regions = outboard_json("disc", "map", path)["regions"]
    assert [r["kind"] for r in regions if r["kind"] != "unused"] == ["free"]
    assert "blank" in outboard("disc", "info", path).stdout
    assert "[....." in outboard("disc", "map", path).stdout


def test_create_refuses_what_exists(new_disc, tmp_path):
    path = new_disc()
    before = path.stat()
    assert str(path) in refused("disc", "create", path, "--type", "dvd+r")
    assert path.stat() == before
    refused("disc", "create", tmp_path / "none/x.disc", "--type", "dvd+r", says="none/x.disc")
    refused("disc", "create", tmp_path / "x.disc", "--type", "dvd+rw", status=2, says="cannot be recorded")
    assert sorted(os.listdir(tmp_path)) == ["a.disc"]


def test_file_size_limit_is_an_error(new_disc, image):
    """Writing beyond RLIMIT_FSIZE fails and does not end the program by SIGXFSZ."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))

    path = new_disc()
    done = outboard("disc", "burn", path, image, status=1, preexec_fn=limit)
    assert "File too large" in done.stderr
    assert outboard_json("disc", "info", path)["status"] == "blank"


def test_capacity(new_disc):
    assert outboard_json("disc", "info", new_disc("dvd+r", "--capacity", "100M"))["bytes"] == 100 << 20
    path = new_disc("dvd+r", "--capacity", "32M", "--preallocate", name="b.disc")
    assert outboard_json("disc", "info", path)["disk_bytes"] >= 32 << 20


@pytest.mark.parametrize("kind, mode", [("cd-r", "tao"), ("cd-r", "sao"), ("dvd-r", "incremental"), ("dvd-r", "dao"),
                                        ("dvd-rw", "incremental"), ("dvd-rw", "dao"), ("dvd+r", "incremental"),
                                        ("bd-r", "incremental")])
@pytest.mark.parametrize("loop", ["uring", "epoll"])
def test_burn(new_disc, tmp_path, image, kind, mode, loop):
    path = new_disc(kind)
    done = outboard_json("disc", "burn", path, image, "--mode", mode, "--loop", loop)
    assert done["status"] == "complete" and done["start"] == 0 and done["blocks"] == -(-3_000_000 // BLOCK)
    result = outboard_json("disc", "verify", path, image, "--loop", loop)
    assert result["result"] == "identical"
    assert result["disc_sha256"] == result["image_sha256"] == digest(image)
    out = tmp_path / "out.iso"
    outboard("disc", "export", path, out, "--loop", loop)
    assert out.read_bytes()[:3_000_000] == image.read_bytes()
    if not kind.startswith("cd"):
        with open(path, "rb") as raw:
            assert raw.read(3_000_000) == image.read_bytes()
    refused("disc", "burn", path, image, says="complete")


@pytest.mark.parametrize("kind, mode", [("cd-r", "tao"), ("cd-r", "sao"), ("dvd-r", "incremental"),
                                        ("dvd-rw", "incremental"), ("dvd+r", "incremental"), ("bd-r", "incremental")])
def test_sessions(new_disc, tmp_path, image, other, kind, mode):
    path = new_disc(kind)
    outboard("disc", "burn", path, image, "--multi", "--mode", mode)
    assert outboard_json("disc", "info", path)["status"] == "appendable"
    second = outboard_json("disc", "burn", path, other, "--multi", "--mode", mode)
    outboard("disc", "burn", path, image, "--mode", mode)
    info = outboard_json("disc", "info", path, "--history")
    assert info["status"] == "complete" and len(info["tracks"]) == len(info["sessions"]) == 3
    assert [h["event"] for h in info["history"]].count("session closed") >= 2
    for session, source in ((1, image), (2, other), (3, image)):
        outboard("disc", "verify", path, source, "--session", session)
        outboard("disc", "verify", path, source, "--track", session)
    outboard("disc", "export", path, tmp_path / "2.iso", "--session", 2)
    assert (tmp_path / "2.iso").read_bytes()[:1000 * BLOCK] == other.read_bytes()
    outboard("disc", "export", path, tmp_path / "all.iso")
    with open(tmp_path / "all.iso", "rb") as file:
        file.seek(second["start"] * BLOCK)
        assert file.read(1000 * BLOCK) == other.read_bytes()
    regions = outboard_json("disc", "map", path)["regions"]
    at = 0
    for region in regions:
        assert region["start"] == at
        at += region["blocks"]
    assert {1, 2, 3} <= {r.get("session") for r in regions if r["kind"] == "recorded"}


def test_too_large(new_disc, tmp_path):
    path = new_disc("dvd+r", "--capacity", "16M")
    big = tmp_path / "big.iso"
    with open(big, "wb") as file:
        file.truncate((16 << 20) + 1)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    text = refused("disc", "burn", path, big, says="does not fit")
    assert "8193 blocks" in text and "8192 blocks" in text and "nothing was written" in text
    assert outboard_json("disc", "info", path)["status"] == "blank"
    assert hashlib.sha256(path.read_bytes()[:16 << 20]).hexdigest() == hashlib.sha256(bytes(16 << 20)).hexdigest()
    assert before
    with open(big, "r+b") as file:
        file.truncate(16 << 20)
    outboard("disc", "burn", path, big)


def test_burn_refuses(new_disc, tmp_path, image):
    path = new_disc("dvd+r")
    refused("disc", "burn", path, tmp_path / "none.iso", says="none.iso")
    (tmp_path / "empty.iso").touch()
    refused("disc", "burn", path, tmp_path / "empty.iso", says="is empty")
    refused("disc", "burn", path, tmp_path, says="a file or a block device")
    refused("disc", "burn", path, image, "--mode", "tao", says="incremental only")
    refused("disc", "burn", path, image, "--resume", says="nothing to go on with")
    refused("disc", "burn", path, "--close", says="blank")
    refused("disc", "burn", image, image, says="cannot be written")
    cd = new_disc("cd-r", name="cd.disc")
    refused("disc", "burn", cd, image, "--mode", "dao", says="tao or sao")
    assert outboard_json("disc", "info", path)["status"] == "blank"


def test_verify_finds_differences(new_disc, tmp_path, image):
    path = new_disc("dvd-r")
    outboard("disc", "burn", path, image, "--multi")
    data = bytearray(image.read_bytes())
    data[100 * BLOCK + 7] ^= 1
    wrong = tmp_path / "wrong.iso"
    wrong.write_bytes(data)
    result = outboard_json("disc", "verify", path, wrong, status=1)
    assert (result["result"], result["first_difference"], result["byte"]) == ("different", 100, 7)
    assert result["disc_sha256"] != result["image_sha256"] == digest(wrong)
    assert "first at block 100 of the disc, byte 7" in outboard("disc", "verify", path, wrong, status=1).stdout
    longer = tmp_path / "longer.iso"
    longer.write_bytes(image.read_bytes() + bytes(1 << 20))
    assert outboard_json("disc", "verify", path, longer, status=1)["result"] in ("not recorded", "different")
    refused("disc", "verify", path, image, "--session", 3, says="no session 3")
    refused("disc", "verify", path, image, "--track", 9, says="no track 9")
    refused("disc", "verify", path, tmp_path / "none.iso", says="none.iso")


def test_export_keeps_what_is_there(new_disc, tmp_path, image):
    path = new_disc("dvd-r")
    out = tmp_path / "out.iso"
    refused("disc", "export", path, out, says="nothing is recorded")
    outboard("disc", "burn", path, image)
    out.write_bytes(b"precious")
    refused("disc", "export", path, out, says="--force replaces it")
    assert out.read_bytes() == b"precious"
    refused("disc", "export", path, tmp_path / "none/out.iso", says="none/out.iso")
    outboard("disc", "export", path, out, "--force")
    assert out.read_bytes()[:3_000_000] == image.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.disc", "out.iso"]


def test_plain_image_is_a_disc(image):
    info = outboard_json("disc", "info", image)
    assert info["plain_image"] and info["status"] == "complete"
    assert "recorded" in outboard("disc", "map", image).stdout
    outboard("disc", "verify", image, image)


def broken(path):
    """(name, what to do to the file, word of the message) of every way it can be no disc."""
    size = path.stat().st_size
    superblocks = (size - 4096, size - 0x600000)

    def truncate(length):
        return lambda: os.truncate(path, length)

    def overwrite(*pieces):
        def change():
            with open(path, "r+b") as file:
                for off, data in pieces:
                    file.seek(off)
                    file.write(data)
        return change

    def newer():
        with open(path, "r+b") as file:
            for off in superblocks:
                file.seek(off)
                block = bytearray(file.read(4096))
                assert block[:8] == b"OUTBDISC"
                block[12:14] = (99).to_bytes(2, "little")
                block[8:12] = bytes(4)
                block[8:12] = crc32c(block).to_bytes(4, "little")
                file.seek(off)
                file.write(block)

    return {
        "empty": (truncate(0), "empty"),
        "truncated by a byte": (truncate(size - 1), "truncated"),
        "truncated to its half": (truncate(size // 2), ""),
        "longer": (truncate(size + 4096), ""),
        "foreign": (overwrite(*((off, random.Random(1).randbytes(4096)) for off in (0, *superblocks))), ""),
        "newer": (newer, "version"),
        "damaged superblocks": (overwrite(*((off + 200, b"\xff" * 64) for off in superblocks)), ""),
    }


@pytest.mark.parametrize("how", ["empty", "truncated by a byte", "truncated to its half", "longer", "foreign", "newer",
                                 "damaged superblocks"])
def test_broken_files(new_disc, tmp_path, image, how):
    path = new_disc("dvd+r", "--capacity", "16M")
    outboard("disc", "burn", path, image, "--multi")
    damage, word = broken(path)[how]
    damage()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    stamp = path.stat().st_mtime_ns
    for args in (("info", path), ("map", path), ("verify", path, image), ("export", path, tmp_path / "out"),
                 ("burn", path, image), ("burn", path, "--close")):
        text = refused("disc", *args, says=str(path))
        assert word in text, text
    refused("serve", "--optical", path, "--attach", f"vhost-user,socket={tmp_path}/s", says=str(path))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert path.stat().st_mtime_ns == stamp
    assert not (tmp_path / "out").exists() and not (tmp_path / "s").exists()


def interrupted_burn(path, image, *more, signo=signal.SIGINT):
    """A slow burn that gets a signal after a moment; its exit status and what it said."""
    with subprocess.Popen([BIN, "disc", "burn", path, image, "--speed", "4", "--multi", *more], stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, text=True) as burn:
        start = path.stat().st_blocks
        while path.stat().st_blocks < start + 6000:     # more than the first write of 1 MiB
            assert burn.poll() is None, burn.stderr.read()
            time.sleep(0.01)
        burn.send_signal(signo)
        return burn.wait(30), burn.stderr.read()


@pytest.fixture(name="long_image", scope="session")
def fixture_long_image(tmp_path_factory):
    """Enough for some seconds at 4x DVD."""
    path = tmp_path_factory.mktemp("image") / "long.iso"
    path.write_bytes(random.Random(99).randbytes(24_000_000))
    return path


@pytest.mark.parametrize("kind", ["dvd+r", "dvd-r", "bd-r"])
def test_interrupted_and_resumed(new_disc, long_image, image, kind):
    path = new_disc(kind)
    status, text = interrupted_burn(path, long_image)
    assert status == 130 and "--resume" in text and "--close" in text, text
    track = outboard_json("disc", "info", path)["tracks"][0]
    assert track["state"] == "open" and track["next_writable"] > 0
    refused("disc", "burn", path, long_image, says="--resume")
    refused("disc", "burn", path, image, "--resume")    # another image
    outboard("disc", "burn", path, long_image, "--resume")
    assert outboard_json("disc", "verify", path, long_image)["result"] == "identical"
    assert outboard_json("disc", "info", path)["status"] == "complete"


@pytest.mark.parametrize("kind", ["dvd+r", "dvd-rw", "bd-r"])
def test_killed_and_closed(new_disc, long_image, image, kind):
    path = new_disc(kind)
    status, _ = interrupted_burn(path, long_image, signo=signal.SIGKILL)
    assert status == -signal.SIGKILL
    recorded = outboard_json("disc", "info", path)["tracks"][0]["next_writable"]
    assert recorded > 0
    outboard("disc", "burn", path, "--close", "--multi")
    info = outboard_json("disc", "info", path)
    assert info["status"] == "appendable" and info["tracks"][0]["state"] == "closed"
    with open(path, "rb") as disc, open(long_image, "rb") as source:
        assert disc.read(recorded * BLOCK)[:24_000_000] == source.read(recorded * BLOCK)
    outboard("disc", "burn", path, image)
    outboard("disc", "verify", path, image, "--session", 2)


def test_progress_lines(new_disc, long_image):
    path = new_disc("dvd+r")
    done = outboard("disc", "burn", path, long_image, "--speed", "4")
    assert "burning" in done.stderr and "%" in done.stderr and "MB/s" in done.stderr and "\r" not in done.stderr
    assert "burned 24.0 MB" in done.stdout
    path = new_disc("dvd+r", name="b.disc")
    assert outboard("disc", "burn", path, long_image, "-q").stderr == ""
