"""Extended L2 entries, data files, lazy reference counts, preallocation: random requests by QEMU and by us in turn."""

import random
import subprocess

import pytest
from conftest import MIB, OUR_IO, content, good, image, info, our_io, peer, peer_io, same

SIZE = 6 * MIB
OPTIONS = ["extended_l2=on,cluster_size=16k", "extended_l2=on", "extended_l2=on,cluster_size=2M",
           "extended_l2=on,preallocation=metadata", "extended_l2=on,lazy_refcounts=on,cluster_size=128k",
           "extended_l2=on,preallocation=full", "lazy_refcounts=on,cluster_size=4k", "preallocation=full",
           "data_file=d.data", "data_file=d.data,data_file_raw=on", "data_file=d.data,extended_l2=on",
           "data_file=d.data,data_file_raw=on,extended_l2=on,preallocation=falloc", "preallocation=falloc", ""]


def requests(rand, size=SIZE, n=12):
    """The same requests in both languages."""
    ours, theirs = [], []
    for _ in range(n):
        length = rand.choice((512, 1024, 4096, 33 * 512, 70 * 1024, 400 * 1024))
        off = rand.randrange((size - length) // 512 + 1) * 512
        kind = rand.choice("wwwzu")
        if kind == "w":
            pattern = rand.randrange(1, 255)
            ours.append(f"write {pattern} {off} {length}")
            theirs.append(f"write -P {pattern} {off} {length}")
        else:
            ours.append(f"zero {off} {length}")
            theirs.append(f"write -z {'-u ' if kind == 'u' else ''}{off} {length}")
        if rand.randrange(4) == 0:
            ours.append("flush")
            theirs.append("flush")
    return ours, theirs


def takes_backing(options):
    """Raw data files and most preallocation exclude a backing file."""
    return "raw=on" not in options and ("preallocation" not in options or "extended" in options)


@pytest.mark.parametrize("options, backing", [(options, backing) for options in OPTIONS for backing in (False, True)
                                              if not backing or takes_backing(options)])
def test_random_requests(tmp_path, options, backing, request, monkeypatch):
    monkeypatch.chdir(tmp_path)         # QEMU looks for a data file there
    for seed in range(6 if request.config.getoption("--full") else 1):
        rand = random.Random(f"{options}{seed}")
        (tmp_path / "d.data").unlink(missing_ok=True)
        path, model, base = tmp_path / f"{seed}.qcow2", tmp_path / "model.raw", tmp_path / "base.raw"
        base.write_bytes(content(4 * MIB, seed) if backing else b"")
        model.write_bytes(base.read_bytes().ljust(SIZE, b"\0"))
        extra = ["-b", "base.raw", "-F", "raw"] if backing else []
        if options:
            extra += ["-o", options]
        if (seed + backing) % 2:
            peer("create", "-f", "qcow2", *extra, path.name, SIZE)
        else:
            image("create", "-f", "qcow2", *extra, path.name, SIZE)
        for turn in range(3):
            ours, theirs = requests(rand)
            peer_io(model, *theirs, fmt="raw")
            if turn % 2 == 0:
                our_io(path.name, *ours)
            else:
                peer_io(path.name, *theirs)
            good(path.name)
            same(path.name, model)
            if "raw=on" in options:
                peer("compare", "-f", "raw", "-F", "raw", "d.data", model)
        assert not info(path.name)["dirty-flag"]


@pytest.mark.parametrize("options", OPTIONS)
def test_created_alike(tmp_path, options, monkeypatch):
    """What QEMU says of an image made here and of its own is the same."""
    monkeypatch.chdir(tmp_path)
    said = []
    for tool, name in ((image, "ours"), (peer, "theirs")):
        tool("create", "-f", "qcow2", *(["-o", options.replace("d.data", f"{name}.data")] if options else []),
             f"{name}.qcow2", SIZE)
        good(f"{name}.qcow2")
        said.append([line.replace(name, "X") for line in peer("info", f"{name}.qcow2").splitlines()
                     if "disk size" not in line])
        if "preallocation" in options and "metadata" not in options:
            held = tmp_path / (f"{name}.data" if "data_file" in options else f"{name}.qcow2")
            assert held.stat().st_blocks * 512 >= SIZE
    assert said[0] == said[1]


@pytest.mark.parametrize("options", ["data_file=d.data", "data_file=d.data,data_file_raw=on", "extended_l2=on"])
def test_resize(tmp_path, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image("create", "-f", "qcow2", "-o", options, "a.qcow2", "2M")
    our_io("a.qcow2", f"write 5 0 {2 * MIB}")
    image("resize", "a.qcow2", "5M")
    our_io("a.qcow2", f"read 5 0 {2 * MIB}", f"read 0 {2 * MIB} {3 * MIB}", f"write 6 {4 * MIB} {MIB}")
    good("a.qcow2")
    image("resize", "--shrink", "a.qcow2", "1M")
    good("a.qcow2")
    image("resize", "a.qcow2", "5M")
    our_io("a.qcow2", f"read 5 0 {MIB}", f"read 0 {MIB} {4 * MIB}")
    peer_io("a.qcow2", "read -P 5 0 1M", "read -P 0 1M 4M")
    good("a.qcow2")


def test_data_file_is_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.data").write_bytes(b"precious")
    assert "must be new" in image("create", "-f", "qcow2", "-o", "data_file=d.data", "a.qcow2", "1M", status=1)
    assert (tmp_path / "d.data").read_bytes() == b"precious"
    assert "no internal snapshots" in snapshot_of_data_file(tmp_path)


def snapshot_of_data_file(folder):
    """Refused, as in QEMU."""
    (folder / "d.data").unlink()
    image("create", "-f", "qcow2", "-o", "data_file=d.data", "a.qcow2", "1M")
    return image("snapshot", "-c", "x", "a.qcow2", status=1)


@pytest.mark.parametrize("options", ["lazy_refcounts=on", "lazy_refcounts=on,extended_l2=on"])
def test_dying_with_lazy_refcounts(tmp_path, options):
    """What was flushed is there afterwards, for QEMU and for us, whoever opens it first."""
    for who in (our_io, peer_io):
        path = tmp_path / "a.qcow2"
        image("create", "-f", "qcow2", "-o", options, path, "8M")
        our_io(path, "write 7 0 1000000", "write 8 3000000 1000000", "flush", "die", status=9)
        assert info(path)["dirty-flag"]
        peer("check", path, status=2)
        if who is our_io:
            our_io(path, "read 7 0 1000000", "read 8 3000000 1000000")
        else:
            peer_io(path, "read -P 7 0 1000000", "read -P 8 3000000 1000000")
        assert not info(path)["dirty-flag"]
        good(path)


def test_many_at_once(tmp_path):
    """Requests that meet in clusters and subclusters, and in flight with each other."""
    for seed, options in enumerate(("extended_l2=on,cluster_size=16k", "extended_l2=on,cluster_size=2M", "cluster_size=4k")):
        path, rand = tmp_path / f"{seed}.qcow2", random.Random(seed)
        image("create", "-f", "qcow2", "-o", options, path, "4M")
        blocks = list(range(0, 4 * MIB, 3 * 512))[:-1]
        rand.shuffle(blocks)
        expect = [(off, rand.randrange(1, 255)) for off in blocks[:900]]
        our_io(path, "together 16", *[f"write {p} {off} 1536" for off, p in expect])
        good(path)
        model = bytearray(4 * MIB)
        for off, pattern in expect:
            model[off:off + 1536] = bytes([pattern]) * 1536
        (tmp_path / "model.raw").write_bytes(model)
        same(path, tmp_path / "model.raw")
    assert subprocess.run([OUR_IO, path, "nonsense"], capture_output=True, check=False).returncode == 2
