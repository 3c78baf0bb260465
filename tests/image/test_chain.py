"""Chains of images: rebased, committed and measured as qemu-img does it."""

import random
import re

import pytest
from conftest import MIB, content, good, image, info, peer, peer_io, run, same

OPTIONS = ["cluster_size=512", "compat=0.10", "refcount_bits=1,cluster_size=2k", "extended_l2=on"]


def write(path, seed, length):
    """Data, zeros and holes."""
    rand, ops = random.Random(seed), []
    for _ in range(10):
        n = rand.choice((512, 4096, 79 * 512, 200 * 1024))
        off = rand.randrange((length - n) // 512) * 512
        ops.append(rand.choice((f"write -P {rand.randrange(1, 255)} {off} {n}",) * 2 + (f"write -z {off} {n}",)))
    peer_io(path, *ops)


def chain(folder, options, lengths=(2, 3, 4)):
    """base.raw, then one overlay after the other; MiB each. Returns their paths."""
    paths = [folder / "base.raw"]
    paths[0].write_bytes(content(lengths[0] * MIB, 21))
    for i, length in enumerate(lengths[1:], 1):
        path = folder / f"{i}.qcow2"
        peer("create", "-f", "qcow2", *(["-o", options] if options else []), "-b", paths[-1].name, "-F",
             "raw" if i == 1 else "qcow2", path, f"{length}M")
        write(path, i, length * MIB)
        paths.append(path)
    return paths


def as_raw(path, to):
    """What QEMU reads there."""
    peer("convert", "-f", "qcow2", path, to)
    return to


@pytest.mark.parametrize("options", OPTIONS)
def test_rebase(tmp_path, options):
    base, middle, top = chain(tmp_path, options)
    before = as_raw(top, tmp_path / "before.raw")
    other = tmp_path / "other.qcow2"
    peer("create", "-f", "qcow2", other, "6M")
    write(other, 5, 6 * MIB)
    steps = [("other.qcow2", "qcow2"), ("base.raw", "raw"), (middle.name, "qcow2"), ("", None), ("other.qcow2", "qcow2"),
             (str(base), "raw")]
    for name, fmt in steps:
        args = ["-F", fmt] if fmt else []
        image("rebase", "--allow-references", "-f", "qcow2", "-b", name, *args, top)
        good(top)
        same(top, before, allow=True)
        ours = info(top)
        assert ours.get("backing-filename") == (name or None) and ours.get("backing-filename-format") == fmt
        assert f"backing file: {name}" in peer("info", top) if name else "backing" not in peer("info", top)


def test_rebase_unsafe(tmp_path):
    base, _, top = chain(tmp_path, "")
    moved = tmp_path / ("a-very-long-name-" * 12 + ".raw")
    base.rename(moved)
    path = tmp_path / "1.qcow2"
    image("rebase", "-u", "-b", moved.name, "-F", "raw", path)
    good(path)
    peer("compare", path, path)
    image("compare", top, top)
    image("rebase", "-u", "-b", "", path)
    assert "backing-filename" not in info(path)
    good(path)
    image("rebase", "-u", "-b", "nowhere", "-F", "raw", path)
    assert info(path)["backing-filename"] == "nowhere"
    assert "nowhere" in image("compare", path, path, status=1)
    assert "room" in image("rebase", "-u", "-b", "x" * 1024, "-F", "raw", path, status=1)
    assert "never guessed" in image("rebase", "-u", "-b", "x", path, status=2)
    assert info(path)["backing-filename"] == "nowhere"


def test_rebase_keeps_other_extensions(tmp_path):
    """In a header of QEMU's, with feature names, bitmaps and an extension that nobody knows."""
    path = tmp_path / "a.qcow2"
    (tmp_path / "b.raw").write_bytes(bytes(MIB))
    for size in ("512", "64k"):
        peer("create", "-f", "qcow2", "-o", f"cluster_size={size}", path, "1M")
        data = bytearray(path.read_bytes())
        end = 112
        while int.from_bytes(data[end:end + 4], "big"):
            end += 8 + -(-int.from_bytes(data[end + 4:end + 8], "big") // 8) * 8
        data[end:end + 16] = b"\x12\x34\x56\x78\0\0\0\5hello\0\0\0"
        path.write_bytes(data)
        for name in ("b.raw", "", "./b.raw"):
            image("rebase", "-u", "-b", name, *(["-F", "raw"] if name else []), path)
            assert path.read_bytes()[:512 if size == "512" else 4096].count(b"hello\0\0\0") >= 1
            peer("check", path)
            assert info(path).get("backing-filename") == (name or None)
            assert info(path).get("backing-filename-format") == ("raw" if name else None)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("keep", [[], ["-d"]], ids=["empty", "keep"])
def test_commit(tmp_path, options, keep):
    base, middle, top = chain(tmp_path, options)
    before = as_raw(top, tmp_path / "before.raw")
    if "refcount_bits=1" not in options:
        image("snapshot", "-c", "x", top)
    assert "Image committed." in image("commit", "-f", "qcow2", *keep, top)
    for path in (middle, top):
        good(path)
        same(path, before)
    assert info(middle)["virtual-size"] == 4 * MIB
    mapped = peer("map", "--output=json", top).count('"depth": 0')
    assert (mapped == 0) == (not keep)
    assert base.stat().st_size == 2 * MIB


def test_commit_into_base(tmp_path):
    base, middle, top = chain(tmp_path, "")
    before = as_raw(top, tmp_path / "before.raw")
    image("commit", "-q", "-b", "base.raw", top)
    assert base.read_bytes() == before.read_bytes()
    same(top, before)
    assert "below it" in image("commit", "-b", "other", top, status=1)
    assert "no backing file" in image("commit", "-f", "raw", base, status=1)
    good(middle)


def test_bench(tmp_path):
    path = tmp_path / "a.qcow2"
    image("create", "-f", "qcow2", path, "8M")
    text = image("bench", "-w", "-c", "1000", "-d", "8", "-s", "4k", "-S", "12k", "-o", "4k", "--pattern", "7",
                 "--flush-interval", "100", "-n", path)
    assert "Sending 1000 write requests, 4096 bytes each, 8 in parallel (starting at offset 4096, step size 12288)" in text
    assert "Sending flush every 100 drained requests" in text
    assert re.search(r"Run completed in \d+\.\d{3} seconds\.", text)
    good(path)
    peer_io(path, "read -P 7 4k 4k", "read -P 7 16k 4k")
    assert "1000 read requests" in image("bench", "-c", "1000", "--random", path)
    assert "too small" in image("bench", "-s", "9M", path, status=1)
    assert "--count 0" in image("bench", "-c", "0", path, status=2)
    run("truncate", "-s", "4k", tmp_path / "r")
    assert image("bench", "-q", "-f", "raw", "-c", "10", tmp_path / "r") == ""
