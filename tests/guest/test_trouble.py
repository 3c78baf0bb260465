"""Full disks, power cuts, vanished guests, two openers: the disc stays whole, the daemon alive."""

import os
import time

import outboard
import pytest
from burning import APPENDABLE, COMPLETE, blocks, check_burned, check_trees, prepare_guest
from harness import Process
from outboard import Outboard, Rig, burn_disc, create_disc

FULL_AT = 6 << 20


def _in_small_filesystem(place, disc):
    """Words that start a program where `place` is a tmpfs of FULL_AT bytes with a copy of the disc."""
    script = (f'mount -t tmpfs -o size={FULL_AT} none "$1" && cp --sparse=always "$2" "$1" && '
              'shift 2 && exec "$@"')
    space = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-r", "-m"]
    return [*space, "sh", "-c", script, "sh", str(place), str(disc)]


@pytest.mark.parametrize("kind,command", [
    ("dvd+r", "growisofs -Z {dev}=/tmp/a.iso"),
    ("cd-r", "wodim -v gracetime=2 dev={dev} -tao /tmp/a.iso"),
    ("bd-r", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso"),
])
def test_full_disk_ends_the_burn(tmp_path, image, kind, command):
    """N23: a medium error in the guest; the daemon lives and the disc can be opened."""
    place = tmp_path / "small"
    place.mkdir()
    blank = create_disc(tmp_path / "full.disc", kind)
    disc = place / "full.disc"
    with Rig(tmp_path, {"full": disc}, wrapper=_in_small_filesystem(place, blank), drives=[image],
             memory=512) as rig:
        prepare_guest(rig.guest)
        drive = rig["full"]
        code, _, _ = rig.guest.run(command.format(dev=drive.dev), check=False, timeout=180)
        assert code != 0
        assert rig.daemon.process.running()
        assert drive.code("00 00 00 00 00 00") in ("good", "6/28/00")
        seen = f"/proc/{rig.daemon.process.pid}/root{disc}"
        assert outboard.run("disc", "info", seen).returncode == 0
        reply = drive.read(0, 16)
        assert (reply.code, reply.data) == ("good", image.read_bytes()[:32768])


@pytest.mark.parametrize("kind,command", [
    ("dvd+r", "growisofs -Z {dev}=/tmp/long.bin"),
    ("cd-r", "cdrskin -v gracetime=0 dev={dev} -tao /tmp/long.bin"),
    ("bd-r", "cdrskin -v gracetime=0 dev={dev} /tmp/long.bin"),
])
def test_power_cut_in_a_later_session(tmp_path, image, kind, command):
    """N27: guest and daemon die during the second session; the first is whole, the disc goes on."""
    disc = create_disc(tmp_path / "cut.disc", kind)
    burn_disc(disc, image, "--multi")
    before = disc.stat().st_blocks * 512
    rig = Rig(tmp_path, {"cut": disc}, drives=[image], memory=512)
    try:
        rig.start()
        prepare_guest(rig.guest)
        drive = rig["cut"]
        start = drive.nwa(drive.disc_info()[6])
        rig.guest.run("cat /tmp/a.iso /tmp/a.iso /tmp/a.iso /tmp/a.iso > /tmp/long.bin")
        job = rig.guest.start_command(command.format(dev=drive.dev))
        end = time.monotonic() + 60
        while job.running() and disc.stat().st_blocks * 512 < before + (16 << 20):
            assert time.monotonic() < end, job.report()
            time.sleep(0.002)
        rig.daemon.crash()
        rig.guest.close()
        outboard.verify_disc(disc, image)
        rig.guest = type(rig.guest)(rig.work, **rig.options)
        rig.start()
        prepare_guest(rig.guest)
        drive = rig["cut"]
        assert drive.state() & 3 == APPENDABLE
        last = drive.disc_info()[6]
        nwa = drive.nwa(last) if kind != "cd-r" else drive.nwa()
        assert nwa is None or nwa >= start
        drive.compare("/tmp/a.iso")
        rig.close()
        outboard.run("disc", "burn", "--close", disc)
        outboard.verify_disc(disc, image)
    finally:
        rig.close()


def test_vanished_guest_leaves_the_disc_to_the_next(tmp_path, image):
    """QEMU is killed in mid-burn; a new guest on the same daemon finds the disc and can write on."""
    with Rig(tmp_path, {"plus": "dvd+r"}, drives=[image], memory=512) as rig:
        prepare_guest(rig.guest)
        rig.guest.run("cat /tmp/a.iso /tmp/a.iso /tmp/a.iso /tmp/a.iso > /tmp/long.bin")
        job = rig.guest.start_command(f"growisofs -Z {rig['plus'].dev}=/tmp/long.bin")
        end = time.monotonic() + 60
        while job.running() and rig["plus"].disc.stat().st_blocks * 512 < 10 << 20:
            assert time.monotonic() < end, job.report()
            time.sleep(0.002)
        rig.guest.close()
        rig.guest = type(rig.guest)(rig.work, **rig.options)
        rig.guest.start()
        prepare_guest(rig.guest)
        drive = outboard.Drive(rig.guest, "plus", 0, rig["plus"].disc)
        drive.ready()
        assert drive.state() & 3 == APPENDABLE
        assert drive.code("5b 00 01 00 00 01 00 00 00 00") == "good"
        assert drive.code("5b 00 02 00 00 00 00 00 00 00") == "good"
        rig.guest.run(f"cdrskin -v gracetime=0 dev={drive.dev} -multi /tmp/a.iso")
        assert drive.sessions() == 3


def test_reader_beside_a_burner(tmp_path, image):
    """N31: dd polls the disc that xorriso burns; nothing is corrupted."""
    with Rig(tmp_path, {"plus": "dvd+r", "cd": "cd-r"}, drives=[image], memory=512) as rig:
        prepare_guest(rig.guest)
        for name, command, state in (("plus", "growisofs -Z {dev}=/tmp/a.iso", APPENDABLE),
                                     ("cd", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso", COMPLETE)):
            drive = rig[name]
            reader = rig.guest.start_command(
                f"while :; do sgio {drive.sg} in 2048 28 00 00 00 00 00 00 00 01 00; done "
                ">/dev/null 2>&1")
            rig.guest.run(command.format(dev=drive.dev))
            reader.signal(15)
            reader.wait(check=False)
            check_burned(drive, image, state)


def test_second_daemon_is_refused_and_names_the_first(tmp_path):
    """Two writers on one disc cannot be."""
    disc = create_disc(tmp_path / "one.disc", "dvd+r")
    first = Outboard(tmp_path, [disc])
    other = tmp_path / "other"
    other.mkdir()
    try:
        first.start()
        second = Outboard(other, [disc])
        second.process = Process([outboard.binary(), *second.arguments()], "second daemon",
                                 other / "outboard.log")
        assert second.process.wait(30) == 1
        assert str(first.process.pid) in second.process.said()
        assert first.process.running()
    finally:
        first.close()


def test_sessions_burned_on_the_host_and_in_the_guest(tmp_path, image):
    """`outboard disc burn --multi` and xorriso take turns on one disc."""
    disc = create_disc(tmp_path / "turns.disc", "dvd+r")
    burn_disc(disc, image, "--multi")
    with Rig(tmp_path, {"turns": disc}, drives=[image], memory=512) as rig:
        prepare_guest(rig.guest)
        drive = rig["turns"]
        drive.compare("/tmp/a.iso")
        rig.guest.run(f"xorriso -dev {drive.dev} -map /tmp/dirB /b -commit")
        check_trees(drive, ("/tmp/dirB", "/b"))
        assert drive.sessions() == 3
        assert drive.capacity() > blocks(image)
