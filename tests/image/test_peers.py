"""What we write is right for QEMU, and what QEMU writes reads the same here."""

import itertools
import json
import random
import subprocess

import pytest
from conftest import MIB, argv_of, content, good, image, info, peer, peer_io, run, same

pytestmark = pytest.mark.usefixtures("qemu")
OPTIONS = ["", "cluster_size=512", "cluster_size=4k,refcount_bits=1", "cluster_size=2M", "compat=0.10",
           "refcount_bits=64,lazy_refcounts=on", "compat=0.10,cluster_size=1k", "compression_type=zstd",
           "preallocation=metadata", "preallocation=falloc,cluster_size=16k", "refcount_bits=2,cluster_size=8k",
           "extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=128k"]
THEIRS = OPTIONS + ["extended_l2=on,preallocation=metadata", "preallocation=full"]


def ways(options):
    """Each of them plain, and compressed unless it is preallocated."""
    return [(o, compressed) for o in options for compressed in (False, True)
            if not compressed or "preallocation" not in o]


@pytest.mark.parametrize("options, compressed", ways(OPTIONS))
def test_ours(tmp_path, raw, options, compressed):
    path = tmp_path / "a.qcow2"
    image("convert", "-f", "raw", "-O", "qcow2", *(["-o", options] if options else []), *(["-c"] if compressed else []),
          raw, path)
    good(path)
    same(path, raw)
    text = peer("info", "--output=json", path)
    theirs, ours = json.loads(text), info(path)
    assert theirs["format-specific"] == ours["format-specific"]
    for key in ("virtual-size", "format", "cluster-size", "dirty-flag"):
        assert theirs[key] == ours[key]


@pytest.mark.parametrize("options, compressed", ways(THEIRS))
def test_theirs(tmp_path, raw, options, compressed):
    path, back = tmp_path / "a.qcow2", tmp_path / "back.raw"
    peer("convert", "-f", "raw", "-O", "qcow2", *(["-o", options] if options else []), *(["-c"] if compressed else []),
         raw, path)
    image("check", path)
    image("compare", "-f", "qcow2", "-F", "raw", path, raw)
    image("convert", "-f", "qcow2", path, back)
    assert back.read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("options", ["", "extended_l2=on,cluster_size=16k", "cluster_size=512", "compat=0.10"])
def test_map_is_the_same(tmp_path, options):
    path = tmp_path / "a.qcow2"
    peer("create", "-f", "qcow2", *(["-o", options] if options else []), path, "4M")
    peer_io(path, "write -P 1 0 70k", "write -P 2 1M 3k", "write -z 64k 128k", "write -P 3 2M 300k", "discard 2M 64k")

    def pieces(text, ours):
        """Data or zeros, where: neighbours of a kind joined. We know holes of the host's file inside clusters."""
        flat = [(p["zero"], p["data"], p.get("offset") if p["data"] else None, p["start"], p["length"])
                if not ours or p["data"] or "offset" not in p else
                (False, True, p["offset"], p["start"], p["length"]) for p in json.loads(text)]
        joined = []
        for zero, data, off, start, length in flat:
            last = joined[-1] if joined else None
            if last and last[0] == zero and last[1] == data and (off is None or last[2] + last[4] == off):
                last[4] += length
            else:
                joined.append([zero, data, off, start, length])
        return joined
    assert pieces(image("map", "--output=json", path), True) == pieces(peer("map", "--output=json", path), False)


def sizes(full):
    """Seeds and cluster sizes of the random test."""
    return list(itertools.product(range(4 if full else 1), ("512", "4k", "64k")))


def test_random_operations_with_backing(tmp_path, request):
    """A chain; both write to the overlay in turn, QEMU takes and deletes snapshots in between."""
    for seed, cluster in sizes(request.config.getoption("--full")):
        rand, folder = random.Random(seed), tmp_path / f"{seed}-{cluster}"
        folder.mkdir()
        base, top, model = folder / "base.raw", folder / "top.qcow2", folder / "model.raw"
        base.write_bytes(content(MIB, seed + 7))
        model.write_bytes(base.read_bytes() + bytes(MIB))
        image("create", "-f", "qcow2", "-o", f"cluster_size={cluster}", "-b", "base.raw", "-F", "raw", top, "2M")
        for turn in range(6):
            ops = []
            for _ in range(8):
                off, n = rand.randrange(4000) * 512, rand.choice((512, 5120, 70144))
                n = min(n, 2 * MIB - off)
                ops.append(rand.choice((f"write -P {rand.randrange(1, 255)} {off} {n}", f"write -z {off} {n}")))
            peer_io(model, *ops, fmt="raw")
            if turn % 2:
                patch(top, model, folder)
            else:
                peer_io(top, *ops)
            if turn == 2:
                peer("snapshot", "-c", "one", top)
            if turn == 4:
                peer("snapshot", "-d", "one", top)
            good(top)
            same(top, model)


def patch(top, model, folder):
    """Our writes: what model holds goes into the overlay, shared clusters and all."""
    assert folder.is_dir()
    image("convert", "-n", "-f", "raw", "-O", "qcow2", model, top)


def test_snapshots_stay(tmp_path):
    """Our writes to an image with internal snapshots change nothing in them."""
    path, one, two = tmp_path / "a.qcow2", tmp_path / "one.raw", tmp_path / "two.raw"
    one.write_bytes(content(2 * MIB, 3))
    two.write_bytes(content(2 * MIB, 4))
    for options in ("cluster_size=4k", "cluster_size=64k"):
        peer("convert", "-f", "raw", "-O", "qcow2", "-o", options, one, path)
        peer("snapshot", "-c", "before", path)
        image("convert", "-n", "-f", "raw", "-O", "qcow2", two, path)
        good(path)
        same(path, two)
        assert [s["name"] for s in info(path)["snapshots"]] == ["before"]
        peer("snapshot", "-a", "before", path)
        same(path, one)


@pytest.mark.parametrize("raw_bit", ["off", "on"])
def test_external_data_file(tmp_path, raw, raw_bit):
    path = tmp_path / "a.qcow2"
    run("qemu-img", "create", "-f", "qcow2", "-o", f"data_file=a.data,data_file_raw={raw_bit}", path.name, "6M",
        cwd=tmp_path)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", raw, path, cwd=tmp_path)  # it looks there, too
    image("compare", "-F", "raw", path, raw)
    image("check", path)
    image("resize", path, "8M")
    image("check", path)
    run("qemu-img", "check", path, cwd=tmp_path)


def test_bitmaps_become_invalid(tmp_path):
    """QEMU must not believe a bitmap after we have written without keeping it."""
    path, two = tmp_path / "a.qcow2", tmp_path / "two.raw"
    two.write_bytes(content(MIB, 9))
    peer("create", "-f", "qcow2", path, "1M")
    peer("bitmap", "--add", path, "dirt")
    image("check", path)
    theirs = json.loads(peer("info", "--output=json", path))
    assert info(path)["format-specific"] == theirs["format-specific"]
    told = image("info", path)
    assert "[0]: auto" in told and "name: dirt" in told and "granularity: 65536" in told
    before = path.read_bytes()[88:96]
    assert before[-1] & 1
    image("compare", path, path)
    assert path.read_bytes()[88:96] == before
    image("convert", "-n", "-f", "raw", "-O", "qcow2", two, path)
    assert path.read_bytes()[88:96] == bytes(8)
    assert "name: dirt" not in image("info", path)
    peer("compare", "-F", "raw", path, two)


@pytest.mark.parametrize("options", ["cluster_size=512", "", "compat=0.10"])
def test_resize(tmp_path, raw, options):
    path, model = tmp_path / "a.qcow2", tmp_path / "model.raw"
    model.write_bytes(raw.read_bytes())
    image("convert", "-f", "raw", "-O", "qcow2", *(["-o", options] if options else []), raw, path)
    for size in (200 * MIB, 3 * MIB, 4 * MIB):
        args = ["--shrink"] if size == 3 * MIB else []
        image("resize", "-f", "qcow2", *args, path, size)
        run("truncate", "-s", size, model)
        good(path)
        same(path, model)
    assert "--shrink" in image("resize", path, "1M", status=1)


def test_repair(tmp_path, raw):
    """What QEMU finds wrong we find, and what we repaired is right for it."""
    path = tmp_path / "a.qcow2"

    def fresh():
        image("convert", "-f", "raw", "-O", "qcow2", raw, path)
        return bytearray(path.read_bytes())

    data = fresh()
    block = int.from_bytes(data[0x10000:0x10008], "big")
    wrecks = {
        "a counter that is too low": (block + 2 * 8, b"\0\0"),
        "a counter that is too high": (block + 2 * 8, b"\0\7"),
        "a leak": (block + len(data) // 0x8000, b"\0\1"),
        "no block of counters": (0x10000, bytes(8)),
        "a block of counters on the L1 table": (0x10000, (0x30000).to_bytes(8, "big")),
        "no COPIED flag": (0x30000, b"\0"),
    }
    for what, (off, new) in wrecks.items():
        data = fresh() + bytes(0x10000)
        data[off:off + len(new)] = new
        path.write_bytes(data)
        image("check", "-f", "qcow2", path, status=1)
        peer("check", "-f", "qcow2", path, status=3 if what == "a leak" else 2)
        image("check", "-f", "qcow2", "-r", "all", path)
        good(path)
        same(path, raw)


def test_dirty_image_is_repaired_at_opening(tmp_path):
    """QEMU dies with lazy refcounts: our next writing opens it all the same."""
    path, two = tmp_path / "a.qcow2", tmp_path / "two.raw"
    two.write_bytes(content(MIB, 5))
    peer("create", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "1M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 128k", "-c", "flush", "-c", "abort", path, status=-6)
    assert info(path)["dirty-flag"]
    image("convert", "-n", "-f", "raw", "-O", "qcow2", two, path)
    assert not info(path)["dirty-flag"]
    good(path)
    same(path, two)


def test_they_keep_each_other_out(tmp_path):
    """While QEMU has it open for writing, we do not; -U looks all the same. And the other way round."""
    path = tmp_path / "a.qcow2"
    image("create", "-f", "qcow2", path, "1M")
    argv, env = argv_of("qemu-io", "-f", "qcow2", path)
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
        qemu.stdin.write("write 0 1k\n")
        qemu.stdin.flush()
        while "wrote" not in qemu.stdout.readline():
            pass
        assert "in use by " in image("resize", "-f", "qcow2", path, "2M", status=1)
        assert "in use by " in image("compare", path, path, status=1)
        image("compare", "-U", path, path)
        image("info", path)
        qemu.communicate("quit\n", timeout=60)
    good(path)
