"""The harness itself, on devices of QEMU's own: a guest starts, runs commands, carries files."""

import hashlib
import os

import pytest
from channel import CommandFailed, GuestError
from harness import Guest

SIZE = 8 << 20


@pytest.fixture(name="iso")
def fixture_iso(tmp_path):
    """A file of random bytes that is served as a CD."""
    path = tmp_path / "random, data.iso"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.mark.parametrize("qemu", ["7.2", "11.1"])
def test_cdrom_of_qemu_is_read_in_full(qemu, iso, guest_dir):
    """A drive behind virtio-scsi reads back byte for byte, past the page cache."""
    name = str(iso).replace(",", ",,")
    args = ["-device", "virtio-scsi-pci", "-drive",
            f"file={name},if=none,id=cd,format=raw,readonly=on,file.locking=off",
            "-device", "scsi-cd,drive=cd"]
    with Guest(guest_dir, qemu=qemu, args=args, drives=[iso]) as guest:
        assert guest.text("blockdev --getsize64 /dev/sr0") == str(SIZE)
        guest.run("dd if=/dev/sr0 bs=32k iflag=direct | cmp - /dev/vda")
        assert "QEMU" in guest.text("sg_inq /dev/sr0")
        guest.poweroff()


@pytest.fixture(name="guest", scope="module")
def fixture_guest(tmp_path_factory):
    """A guest without any drive."""
    with Guest(tmp_path_factory.mktemp("guest")) as guest:
        yield guest


def test_files_go_in_and_out_unchanged(guest):
    """Bytes of every value survive, an empty file and one of several frames."""
    for data in (b"", bytes(range(256)), os.urandom(3 << 20)):
        guest.put(data, "/tmp/file")
        assert guest.text("sha256sum < /tmp/file").split()[0] == hashlib.sha256(data).hexdigest()
        assert guest.get("/tmp/file") == data


def test_exit_status_and_both_outputs_arrive(guest):
    """Nothing is mixed up and nothing lost."""
    assert guest.run("echo a; echo b >&2; exit 7", check=False) == (7, b"a\n", b"b\n")
    assert guest.run("kill -9 $$", check=False)[0] == 128 + 9
    with pytest.raises(CommandFailed, match="reason"):
        guest.run("echo reason >&2; false")


def test_commands_run_at_the_same_time(guest):
    """A long command does not hold up another, and can be ended."""
    long = guest.start_command("echo begun; exec sleep 1000")
    long.wait_output("begun")
    assert guest.text("cat", timeout=60) == ""
    assert long.running()
    long.signal(15)
    assert long.wait(timeout=60, check=False)[0] == 128 + 15


def test_a_command_that_ignores_its_input_does_not_block_the_channel(guest):
    """More input than a pipe holds, for a command that never reads it."""
    deaf = guest.start_command("exec sleep 1000")
    deaf.feed(bytes(32 << 10))
    assert guest.text("echo here", timeout=60) == "here"
    deaf.signal(9)
    deaf.wait(timeout=60, check=False)


def test_qemu_that_cannot_start_is_reported_with_its_message(guest_dir):
    """The reason is in the exception, and no process is left."""
    guest = Guest(guest_dir, args=["-device", "no-such-device"])
    with pytest.raises(GuestError, match="no-such-device"):
        guest.start()
    guest.close()
    assert not guest.process.running()


def test_close_ends_qemu_and_its_jobs(guest_dir):
    """A guest that is torn down in mid-command leaves no process and no waiter."""
    guest = Guest(guest_dir).start()
    job = guest.start_command("exec sleep 1000")
    guest.close()
    with pytest.raises(GuestError, match="went away"):
        job.wait(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(guest.process.pid, 0)
