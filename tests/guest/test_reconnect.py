"""The daemon is killed and started again under a guest that reads and burns (QEMU 11.1)."""

import os
import time

import outboard
import pytest
from burning import APPENDABLE, COMPLETE, make_images
from outboard import Rig, burn_disc, create_disc

SIZE = 40 << 20
ALARMS = ("I/O error", "error, dev", "Sense Key", "Buffer I/O", "reset")


@pytest.fixture(name="big", scope="module")
def fixture_big(tmp_path_factory):
    """An image large enough to be interrupted in the middle."""
    return make_images(tmp_path_factory.mktemp("big"), SIZE)


@pytest.fixture(name="rig", params=["uring", "epoll"])
def fixture_rig(request, tmp_path, big):
    """QEMU 11.1, which connects again by itself; a full disc and blank ones."""
    full = create_disc(tmp_path / "full.disc", "dvd+r")
    burn_disc(full, big)
    discs = {"full": full, "plus": "dvd+r", "cd": "cd-r", "bd": "bd-r", "rw": "dvd-rw"}
    with Rig(tmp_path, discs, qemu="11.1", loop=request.param, drives=[big], memory=640) as rig:
        rig.guest.run("cp /dev/vda /tmp/big.iso && dmesg -c > /dev/null")
        yield rig


def _restart(rig, pause):
    rig.daemon.crash()
    time.sleep(pause)
    rig.daemon.start()


def _wait_for(condition, job, timeout=120):
    end = time.monotonic() + timeout
    while job.running() and not condition():
        assert time.monotonic() < end, job.report()
        time.sleep(0.002)


def _assert_quiet(rig):
    """The guest's kernel saw nothing."""
    log = rig.guest.kernel_log()
    assert not [line for line in log.splitlines() if any(word in line for word in ALARMS)], log


def test_reading_goes_on(rig, big):
    """Three kills during one read; every byte arrives, no error does."""
    drive = rig["full"]
    job = rig.guest.start_command(
        f"dd if={drive.dev} bs=64k count={big.stat().st_size} iflag=direct,count_bytes "
        "2>/tmp/dd.log | tee /tmp/count | cmp - /tmp/big.iso")
    kills = 0
    for part in (0.1, 0.35, 0.6):
        def far_enough(goal=part * SIZE):
            return int(rig.guest.text("stat -c %s /tmp/count 2>/dev/null || echo 0")) >= goal
        _wait_for(far_enough, job)
        if job.running():
            _restart(rig, 0.3)
            kills += 1
    job.wait()
    assert kills == 3, "the read ended before the daemon could be killed three times"
    _assert_quiet(rig)
    assert int(rig.guest.text("stat -c %s /tmp/count")) == big.stat().st_size


BURNS = {
    "plus": ("growisofs -Z {dev}=/tmp/big.iso", APPENDABLE),
    "cd": ("cdrskin -v gracetime=0 dev={dev} -tao /tmp/big.iso", COMPLETE),
    "bd": ("cdrskin -v gracetime=0 dev={dev} /tmp/big.iso", COMPLETE),
    "rw": ("cdrskin -v gracetime=0 dev={dev} -sao /tmp/big.iso", 0x10 | COMPLETE),
}


def test_burning_goes_on(rig, big):
    """Two kills during each burn; the program ends well and the disc holds the image."""
    for name, (command, state) in BURNS.items():
        drive = rig[name]
        job = rig.guest.start_command(command.format(dev=drive.dev))
        kills = 0
        for part in (0.15, 0.6):
            def far_enough(goal=part * SIZE, disc=drive.disc):
                return os.stat(disc).st_blocks * 512 >= goal
            _wait_for(far_enough, job)
            if job.running():
                _restart(rig, 0.2)
                kills += 1
        job.wait()
        assert kills == 2, f"{name}: the burn ended before the daemon could be killed twice"
        assert drive.state() == state, name
        drive.reload()
        drive.compare("/tmp/big.iso")
        outboard.verify_disc(drive.disc, big)
    _assert_quiet(rig)
