"""Locks on images, between QEMU's programs and ours, both ways: who keeps whom out."""

import json
import subprocess

import pytest
from conftest import BIN, MIB, argv_of, image, peer, run

pytestmark = pytest.mark.usefixtures("qemu")
BOTH = True     # versions of QEMU, see conftest.py
QMP = '{"execute": "qmp_capabilities"}\n{"execute": "query-version"}\n'     # answered once all is set up
BLOCKDEV = "driver={fmt},node-name=d,file.driver=file,file.filename={path},read-only={ro}"


class Holder:
    """A program that has an image open until the end of a with statement."""

    def __init__(self, argv, ready, send=""):
        words, env = argv_of(*argv)
        self.child = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.child.stdin.write(send)
        self.child.stdin.flush()
        while ready not in (line := self.child.stdout.readline()):
            assert line, f"{argv}: {self.child.stderr.read()}"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.child.kill()
        self.child.communicate()


def qemu_io(path, fmt, ro):
    """qemu-io shares everything that the format lets it."""
    return Holder(["qemu-io", "-f", fmt, *(["-r"] if ro else []), path], "read 512", "read 0 512\n")


def storage_daemon(path, fmt, ro):
    """Exported over NBD, nobody else may change the size."""
    return Holder(["qemu-storage-daemon", "--blockdev", BLOCKDEV.format(fmt=fmt, path=path, ro="on" if ro else "off"),
                   "--nbd-server", f"addr.type=unix,addr.path={path}.nbd", "--export",
                   f"type=nbd,id=e,node-name=d,writable={'off' if ro else 'on'}", "--chardev", "stdio,id=c", "--monitor",
                   "c"], '"return": {"qemu"', QMP)


def machine(path, fmt, ro):
    """A guest's disk is its own."""
    return Holder(["qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-m", "32", "-accel", "tcg", "-blockdev",
                   BLOCKDEV.format(fmt=fmt, path=path, ro="on" if ro else "off"), "-device", "virtio-blk-pci,drive=d",
                   "-qmp", "stdio"], '"return": {"qemu"', QMP)


def outboard(path, fmt, ro, more=""):
    """Our daemon with a disk on a controller."""
    return Holder([BIN, "serve", "--disk", f"file={path},format={fmt},id=hd0,readonly={'on' if ro else 'off'}{more}",
                   "--device", "ahci,id=a,port0=hd0", "--attach", f"vfio-user,socket={path}.s,device=a", "--json"],
                  "ready")


def make(tmp_path, fmt):
    """An image of a format."""
    path = tmp_path / f"a.{fmt}"
    image("create", "-f", fmt, path, MIB)
    return path


# Holder, format, read-only: may we read, may we write?
THEIRS = [
    (qemu_io, "raw", False, False, False), (qemu_io, "raw", True, True, True),
    (qemu_io, "qcow2", False, False, False), (qemu_io, "qcow2", True, True, False),
    (storage_daemon, "raw", False, False, False), (storage_daemon, "raw", True, True, False),
    (storage_daemon, "qcow2", False, False, False), (storage_daemon, "qcow2", True, True, False),
    (machine, "raw", False, False, False), (machine, "raw", True, True, False),
    (machine, "qcow2", False, False, False), (machine, "qcow2", True, True, False),
]


@pytest.mark.parametrize("holder,fmt,ro,reads,writes", THEIRS)
def test_what_qemu_has_open(tmp_path, holder, fmt, ro, reads, writes):
    path = make(tmp_path, fmt)
    with holder(path, fmt, ro):
        text = image("compare", "-f", fmt, "-F", fmt, path, path, status=0 if reads else 1)
        assert reads or (str(path) in text and "in use by" in text and "force-share" in text)
        text = image("resize", "-f", fmt, path, 2 * MIB, status=0 if writes else 1)
        assert writes or (str(path) in text and "in use by" in text and "end that use first" in text)
        text = image("convert", "-O", fmt, "-f", fmt, path, path, status=1) if not writes else ""
        image("compare", "-U", "-f", fmt, "-F", fmt, path, path)
        image("info", path)
    image("resize", "-f", fmt, path, 3 * MIB)


# Format, read-only: may they read, may they write?
OURS = [("raw", False, False, False), ("raw", True, True, False), ("qcow2", False, False, False),
        ("qcow2", True, True, False)]


@pytest.mark.parametrize("fmt,ro,reads,writes", OURS)
def test_what_we_have_open(tmp_path, fmt, ro, reads, writes):
    path, out = make(tmp_path, fmt), tmp_path / "out"
    with outboard(path, fmt, ro):
        text = peer("convert", "-f", fmt, "-O", "raw", path, out, status=0 if reads else 1)
        assert reads or "lock" in text
        text = run("qemu-io", "-f", fmt, "-c", "write 0 512", path, status=0 if writes else 1)
        assert writes or 'Failed to get "write" lock' in text
        peer("resize", "-f", fmt, path, "2M", status=0 if writes else 1)
        peer("convert", "-U", "-f", fmt, "-O", "raw", path, out)
        peer("info", "-U", "-f", fmt, path)
        text = run(*argv_machine(path, fmt), status=1)
        assert "lock" in text
    run("qemu-io", "-f", fmt, "-c", "write 0 512", path)


def argv_machine(path, fmt):
    """A machine that must not start."""
    return ("qemu-system-x86_64", "-S", "-nodefaults", "-display", "none", "-m", "32", "-accel", "tcg", "-blockdev",
            BLOCKDEV.format(fmt=fmt, path=path, ro="off"), "-device", "virtio-blk-pci,drive=d")


def test_backing_files(tmp_path):
    """Nobody writes to a backing file below a running guest, theirs or ours."""
    base, top = tmp_path / "base.raw", tmp_path / "top.qcow2"
    image("create", base, MIB)
    image("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", top)
    with outboard(top, "qcow2", False):
        assert "lock" in run("qemu-io", "-f", "raw", "-c", "write 0 512", base, status=1)
        assert "in use by outboard" in image("resize", "-f", "raw", base, "2M", status=1)
        run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", base)
        image("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", tmp_path / "other.qcow2")
        with outboard(tmp_path / "other.qcow2", "qcow2", False):
            pass
    with machine(top, "qcow2", False):
        assert "in use by" in image("resize", "-f", "raw", base, "2M", status=1)


def test_sharing_on_purpose(tmp_path):
    """share-rw=on lets both write a raw image; force-share=on takes no locks."""
    path = make(tmp_path, "raw")
    with outboard(path, "raw", False, ",share-rw=on"):
        run("qemu-io", "-f", "raw", "-c", "write 0 512", path)
        assert "in use by outboard" in image("resize", "-f", "raw", path, "2M", status=1)
    with qemu_io(path, "raw", False):
        with outboard(path, "raw", False, ",share-rw=on"):
            pass
        with outboard(path, "raw", True, ",force-share=on"):
            pass
        text = run(BIN, "serve", "--disk", f"file={path},format=raw,force-share=on", "--device", "ahci,id=a,port0=hd0",
                   "--attach", f"vfio-user,socket={path}.s,device=a", status=1)
        assert "for reading only" in text
        text = run(BIN, "serve", "--disk", f"file={path},format=raw", "--device", "ahci,id=a,port0=hd0",
                   "--attach", f"vfio-user,socket={path}.s,device=a", status=1)
        assert f"{path}: in use by" in text and "which writes to it" in text


def test_one_disk_twice_in_one_daemon(tmp_path):
    path = make(tmp_path, "raw")
    text = run(BIN, "serve", "--disk", f"file={path},format=raw", "--disk", f"file={path},format=raw", "--device",
               "ahci,id=a", "--attach", f"vfio-user,socket={path}.s,device=a", status=1)
    assert "in use already by this process" in text


def test_targets_in_use_stay_whole(tmp_path):
    """create and convert empty a file only once it is theirs."""
    path, source = tmp_path / "a.raw", tmp_path / "s.raw"
    path.write_bytes(b"keep" * 1024)
    source.write_bytes(bytes(8192))
    with qemu_io(path, "raw", False):
        assert "in use by" in image("create", path, "8K", status=1)
        assert "in use by" in image("convert", "-f", "raw", source, path, status=1)
    assert path.read_bytes() == b"keep" * 1024
    assert json.loads(peer("info", "--output=json", "-f", "raw", path))["virtual-size"] == 4096
