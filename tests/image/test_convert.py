"""image convert: its options, caching past the host's page cache, devices with sectors of 4096 bytes."""

import os
import shutil
import subprocess

import pytest
from conftest import MIB, content, image, peer, run

MODES = ("writeback", "none", "writethrough", "directsync", "unsafe")


def same(path, raw, fmt):
    """QEMU and we read in path what is in raw."""
    peer("compare", "-f", fmt, "-F", "raw", path, raw)
    image("compare", "-f", fmt, "-F", "raw", path, raw)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_cache_modes(tmp_path, raw, mode, fmt):
    """A length that is no multiple of any sector, both ways past the page cache."""
    source, path, back = tmp_path / "s.raw", tmp_path / "a", tmp_path / "b"
    source.write_bytes(raw.read_bytes()[:3 * MIB - 512])
    image("convert", "-f", "raw", "-O", fmt, "-t", mode, "-T", mode, source, path)
    same(path, source, fmt)
    image("convert", "-f", fmt, "-O", "raw", "-T", mode, "-t", mode, "-m", "1", path, back)
    assert back.read_bytes() == source.read_bytes()
    image("convert", "-n", "-W", "-f", "raw", "-O", fmt, "-t", mode, "-m", "16", raw, path, status=1)
    assert "must be writeback" in image("convert", "-t", "fast", source, path, status=2)
    assert "must be writeback" in image("compare", "-T", "fast", source, path, status=1)


def test_odd_length(tmp_path):
    """The last bytes of a file that ends within a block are written and the file does not grow."""
    source, path = tmp_path / "s.raw", tmp_path / "a.raw"
    source.write_bytes(content(MIB + 777, 4))
    for mode in ("none", "directsync"):
        image("convert", "-f", "raw", "-T", mode, "-t", mode, source, path)
        assert path.read_bytes() == source.read_bytes()


def test_sparse(tmp_path):
    source, path = tmp_path / "s.raw", tmp_path / "a"
    data = bytearray(8 * MIB)
    data[0] = data[MIB + 4096] = data[7 * MIB] = 1
    source.write_bytes(data)

    def space():
        assert path.read_bytes() == data
        return os.stat(path).st_blocks * 512
    image("convert", "-f", "raw", source, path)
    assert space() <= 64 << 10
    image("convert", "-f", "raw", "-S", "1M", source, path)
    assert 3 * MIB <= space() < 4 * MIB
    image("convert", "-f", "raw", "-S", "0", source, path)
    assert space() >= 8 * MIB
    image("convert", "-f", "raw", "-O", "qcow2", "-S", "0", source, path)
    assert os.stat(path).st_size > 8 * MIB
    same(path, source, "qcow2")
    for wrong in ("1000", "4M", "x"):
        image("convert", "-S", wrong, source, path, status=2)


def test_into_what_is_there(tmp_path):
    """With -n zeros overwrite what was there, unless the target is said to be zero."""
    source, path = tmp_path / "s.raw", tmp_path / "a.raw"
    source.write_bytes(bytes(MIB) + b"x" * MIB)
    path.write_bytes(b"y" * 2 * MIB)
    image("convert", "-n", "--target-is-zero", "-f", "raw", source, path)
    assert path.read_bytes() == b"y" * MIB + b"x" * MIB
    image("convert", "-n", "-f", "raw", source, path)
    assert path.read_bytes() == source.read_bytes()
    image("convert", "--target-is-zero", source, path, status=2)


def test_much_of_nothing(tmp_path):
    """A terabyte without data is passed over in large steps."""
    source, path = tmp_path / "s.raw", tmp_path / "a.qcow2"
    source.touch()
    os.truncate(source, 1 << 40)
    with open(source, "r+b") as file:
        file.seek(1 << 39)
        file.write(b"here")
    image("convert", "-f", "raw", "-O", "qcow2", source, path)
    assert "here" in run("qemu-io", "-f", "qcow2", "-r", "-c", f"read -v {1 << 39} 16", path)
    peer("check", "-f", "qcow2", path)


@pytest.fixture(name="device")
def fixture_device(tmp_path):
    """A block device of 16 MiB with sectors of 4096 bytes."""
    file = tmp_path / "device.img"
    file.write_bytes(b"\xee" * 16 * MIB)
    if not shutil.which("losetup"):
        pytest.skip("no losetup")
    made = subprocess.run(["losetup", "-b", "4096", "--show", "-f", file], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices here: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)


def test_device_of_large_sectors(tmp_path, raw, device):
    """Requests of 512 bytes, in both formats, past the page cache and through it."""
    assert "write into it with" in image("convert", "-f", "raw", raw, device, status=1)
    for mode in ("none", "writeback", "directsync"):
        image("convert", "-n", "-f", "raw", "-t", mode, "-S", "512", raw, device)
        back = tmp_path / "back"
        image("convert", "-f", "raw", "-T", mode, device, back)
        assert back.read_bytes()[:5 * MIB - 512] == raw.read_bytes()
        assert back.read_bytes()[5 * MIB - 512:] == b"\xee" * (11 * MIB + 512)
        run("qemu-io", "-f", "raw", "-n", "-r", "-c", "read -P 0xee 6M 4k", device)
    run("qemu-img", "create", "-f", "qcow2", device, "8M")
    image("convert", "-n", "-f", "raw", "-O", "qcow2", "-t", "none", raw, device)
    peer("check", "-f", "qcow2", device)
    image("convert", "-f", "qcow2", "-T", "none", device, tmp_path / "out")
    assert (tmp_path / "out").read_bytes()[:5 * MIB - 512] == raw.read_bytes()
