"""Internal snapshots: taken, applied and deleted here and by QEMU in turn, on every kind of image that can have them."""

import random

import pytest
from conftest import MIB, content, good, image, info, peer, peer_io, run, same

OPTIONS = ["", "cluster_size=512", "cluster_size=4k,refcount_bits=2", "compat=0.10,cluster_size=1k",
           "refcount_bits=64,lazy_refcounts=on", "extended_l2=on,cluster_size=16k"]


def names(path):
    """What the snapshots are called, in the order of the table."""
    return [s["name"] for s in info(path).get("snapshots", [])]


class Model:
    """The disk and its snapshots as plain files."""

    def __init__(self, folder, length):
        self.folder, self.disk = folder, folder / "disk.raw"
        self.disk.write_bytes(bytes(length))
        self.kept = []

    def take(self, name):
        """As it is now."""
        (self.folder / name).write_bytes(self.disk.read_bytes())
        self.kept.append(name)

    def apply(self, name):
        """As it was."""
        self.disk.write_bytes((self.folder / name).read_bytes())


def write(path, model, rand):
    """The same to image and model; both by qemu-io."""
    ops = []
    for _ in range(6):
        n = rand.choice((512, 4096, 50 * 512, 300 * 1024))
        off = rand.randrange((4 * MIB - n) // 512) * 512
        ops.append(rand.choice((f"write -P {rand.randrange(1, 255)} {off} {n}", f"write -z {off} {n}",
                                f"write -z -u {off} {n}")))
    peer_io(path, *ops)
    peer_io(model.disk, *ops, fmt="raw")


def check_all(path, model, tmp_path):
    """Disk and every snapshot hold what they must, for both."""
    good(path)
    same(path, model.disk)
    assert names(path) == model.kept
    for name in model.kept:
        image("convert", "-f", "qcow2", "-l", name, path, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == (model.folder / name).read_bytes(), name
        peer("convert", "-f", "qcow2", "-l", name, path, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == (model.folder / name).read_bytes(), name


@pytest.mark.parametrize("options", OPTIONS)
def test_in_turn(tmp_path, options, request):
    for seed in range(5 if request.config.getoption("--full") else 1):
        rand, path = random.Random(f"{options}{seed}"), tmp_path / f"{seed}.qcow2"
        folder = tmp_path / f"model{seed}"
        folder.mkdir()
        model = Model(folder, 4 * MIB)
        peer("create", "-f", "qcow2", *(["-o", options] if options else []), path, "4M")
        most = 2 if "refcount_bits=2" in options else 4
        for turn in range(6):
            write(path, model, rand)
            tool = rand.choice((image, peer))
            what = rand.choice("ccad") if model.kept else "c"
            if what == "c" and len(model.kept) < most:
                tool("snapshot", "-c", f"s{turn}", path)
                model.take(f"s{turn}")
            elif model.kept:
                name = rand.choice(model.kept)
                if what == "a":
                    tool("snapshot", "-a", name, path)
                    model.apply(name)
                else:
                    tool("snapshot", "-d", name, path)
                    model.kept.remove(name)
            check_all(path, model, tmp_path)
        for name in list(model.kept):
            image("snapshot", "-d", name, path)
            good(path)
        same(path, model.disk)


def test_over_a_backing_file(tmp_path):
    base, path = tmp_path / "base.raw", tmp_path / "a.qcow2"
    base.write_bytes(content(2 * MIB, 11))
    peer("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", path)
    peer("snapshot", "-c", "empty", path)
    peer_io(path, "write -P 7 100k 200k")
    image("snapshot", "-c", "seven", path)
    good(path)
    image("snapshot", "-a", "empty", path)
    good(path)
    same(path, base)
    image("snapshot", "-a", "seven", path)
    peer_io(path, "read -P 7 100k 200k")
    image("snapshot", "-d", "seven", path)
    image("snapshot", "-d", "empty", path)
    good(path)


def test_compressed(tmp_path, raw):
    path = tmp_path / "a.qcow2"
    image("convert", "-c", "-f", "raw", "-O", "qcow2", raw, path)
    image("snapshot", "-c", "one", path)
    good(path)
    peer_io(path, "write -P 9 0 3M")
    image("snapshot", "-c", "two", path)
    image("snapshot", "-a", "one", path)
    good(path)
    same(path, raw)
    image("snapshot", "-d", "two", path)
    good(path)
    image("snapshot", "-d", "one", path)
    good(path)
    same(path, raw)


def test_size_goes_with_it(tmp_path):
    path, out = tmp_path / "a.qcow2", tmp_path / "out"
    image("create", "-f", "qcow2", "-o", "cluster_size=512", path, "1M")
    peer_io(path, "write -P 1 0 1M")
    image("snapshot", "-c", "small", path)
    image("resize", path, "8M")
    peer_io(path, "write -P 2 4M 4M")
    image("snapshot", "-c", "large", path)
    for name, size in (("small", MIB), ("large", 8 * MIB), ("small", MIB)):
        image("snapshot", "-a", name, path)
        good(path)
        assert info(path)["virtual-size"] == size
    image("convert", "-l", "snapshot.name=large", path, out)
    assert out.read_bytes() == b"\1" * MIB + bytes(3 * MIB) + b"\2" * 4 * MIB
    image("convert", "--image-opts", f"driver=qcow2,file.filename={path},snapshot=1", out)
    assert out.read_bytes() == b"\1" * MIB


def test_list(tmp_path):
    path = tmp_path / "a.qcow2"
    image("create", "-f", "qcow2", path, "1M")
    assert image("snapshot", path) == ""
    image("snapshot", "-c", "before", path)
    image("snapshot", "-c", "after", path)
    ours, theirs = (t("snapshot", "-l", path).splitlines() for t in (image, peer))
    assert len(ours) == 4
    for a, b in zip(ours[2:], theirs[2:]):
        assert [*a.split()[:2], *a.split()[-3:]] == [*b.split()[:2], *b.split()[4:7]]
    assert ours[2].split()[:2] == ["1", "before"]
    assert ours == [line for line in image("info", path).splitlines() if line in ours]
    image("snapshot", "-d", "1", path)
    assert names(path) == ["after"]


def test_refused(tmp_path):
    path = tmp_path / "a.qcow2"
    image("create", "-f", "qcow2", "-o", "refcount_bits=1", path, "1M")
    assert "refcount_bits=1" in image("snapshot", "-c", "x", path, status=1)
    image("create", "-f", "qcow2", "-o", "refcount_bits=2", path, "1M")
    peer_io(path, "write 0 1M")
    for name in "12":
        image("snapshot", "-c", name * 2, path)
    assert "no room" in image("snapshot", "-c", "33", path, status=1)
    good(path)
    assert "no snapshot" in image("snapshot", "-a", "nix", path, status=1)
    assert "no snapshot" in image("snapshot", "-d", "nix", path, status=1)
    assert "no snapshot" in image("convert", "-l", "nix", path, tmp_path / "out", status=1)
    assert "already" in image("snapshot", "-c", "11", path, status=1)
    assert "at a time" in image("snapshot", "-c", "a", "-d", "b", path, status=2)
    run("truncate", "-s", "1M", tmp_path / "r")
    assert "no internal snapshots" in image("snapshot", "-f", "raw", "-c", "x", tmp_path / "r", status=1)
