"""Disks and drives on our AHCI controller under Linux: queued commands, hot plug, notification."""

import disk_tests
import pytest
from disk_tests import *  # noqa: F401,F403
from disk_tests import complaints, disk, random_file
from outboard import Rig, burn_disc, create_disc

BUS = "ahci"
# The older kernel only with --full: most of the newer one's driver is as it was.
KINDS = [(BUS, disk_tests.NEW), pytest.param((BUS, disk_tests.OLD), marks=pytest.mark.full)]


def pytest_generate_tests(metafunc):
    """Every test of disk_tests.py and this file, for each kind of machine."""
    if "setup" in metafunc.fixturenames:
        metafunc.parametrize("setup", KINDS, indirect=True, scope="module", ids="-".join)


@pytest.mark.matrix("queued commands (NCQ)")
def test_queued_commands(setup):
    """32 tags are used; the depth can be changed while they are."""
    guest, name = setup.rig.guest, disk(setup.rig.guest, 0).removeprefix("/dev/")
    assert "NCQ (depth 32)" in guest.kernel_log()
    depth = f"/sys/block/{name}/device/queue_depth"
    assert guest.text(f"cat {depth}") in ("31", "32")
    jobs = [guest.start_command(f"for n in 1 2 3; do dd if=/dev/{name} of=/dev/null bs=4k skip={n * 300} "
                                "count=200 iflag=direct || exit 1; done") for n in range(12)]
    guest.run(f"echo 1 > {depth} && echo 7 > {depth} && echo 31 > {depth}")
    for job in jobs:
        job.wait()
    assert not complaints(guest)


@pytest.mark.matrix("driver unbound and bound")
def test_unbind_and_bind(setup):
    """The driver leaves the controller and comes back, three times."""
    guest = setup.rig.guest
    bdf = guest.text("basename $(ls -d /sys/bus/pci/drivers/ahci/0000:*)")
    for _ in range(3):
        guest.run(f"echo {bdf} > /sys/bus/pci/drivers/ahci/unbind")
        guest.wait_for("! ls /sys/class/block/sd?")
        guest.run(f"echo {bdf} > /sys/bus/pci/drivers/ahci/bind")
        guest.wait_for("test $(ls -d /sys/class/block/s[dr]? | wc -l) = 4")
    guest.run(f"dd if={disk(guest, 1)} of=/dev/null bs=64k count=4 iflag=direct")


@pytest.mark.matrix("unreadable sectors: error and recovery")
def test_medium_error(tmp_path):
    """Sectors that cannot be read, asked for by queued commands."""
    disk_tests.check_medium_error(tmp_path, BUS)


@pytest.mark.matrix("a command that takes too long: reset and recovery")
def test_timeout(tmp_path):
    """COMRESET in the middle of a command."""
    disk_tests.check_timeout(tmp_path, BUS)


@pytest.mark.matrix("the daemon ends under traffic, the guest lives")
def test_end_under_traffic(tmp_path):
    """SIGTERM."""
    disk_tests.check_end_under_traffic(tmp_path, BUS)


@pytest.mark.matrix("disk plugged and unplugged under a reader")
def test_hot_plug(tmp_path):
    """A disk comes, is read, goes in the middle of a read, and comes again at another port."""
    first = random_file(tmp_path / "h0.img", 8 << 20, 1)
    second = random_file(tmp_path / "other.img", 8 << 20, 2)
    with Rig(tmp_path, {"cd": "cd-r"}, bus=BUS, hard=[first]) as rig:
        guest, ctl = rig.guest, rig.daemon.ctl
        guest.put(second, "/tmp/disk")
        ctl("plug", "c0", "1", "d0", check=False)       # taken: see below
        ctl("add-disk", f"file={second},id=h7,serial=h7")
        ctl("unplug", "c0", "1")
        guest.wait_for("! test -b /dev/sr0")
        for _ in range(2):
            ctl("plug", "c0", "1", "h7")
            dev = disk(guest, 7)
            guest.run(f"dd if={dev} bs=64k iflag=direct | cmp - /tmp/disk")
            job = guest.start_command(f"while dd if={dev} of=/dev/null bs=64k iflag=direct 2>/dev/null; "
                                  "do echo round; done")
            job.wait_output("round")
            ctl("unplug", "c0", "1")
            job.wait(check=False)
            guest.wait_for("test $(ls -d /sys/class/block/sd? | wc -l) = 1", 60)
            guest.run(f"dd if={disk(guest, 0)} of=/dev/null bs=64k iflag=direct")
        ctl("remove-disk", "h7")
        ctl("plug", "c0", "1", "d0")
        guest.wait_for("test -b /dev/sr0")
        guest.poweroff()


@pytest.mark.matrix("asynchronous notification of a new disc")
def test_notification(tmp_path, image):
    """With libata.atapi_an=1 the kernel hears of a disc although it does not poll."""
    disc = create_disc(tmp_path / "new.disc", "dvd+r")
    burn_disc(disc, image)
    with Rig(tmp_path, {"dvd": None}, bus=BUS, kernel=disk_tests.NEW) as rig:
        guest, drive = rig.guest, rig["dvd"]
        guest.run("rmmod ahci libahci && rmmod libata")
        guest.load("ahci", libata="atapi_an=1")
        guest.wait_for("test -b /dev/sr0")
        drive.polling(False)
        assert "ATAPI AN" in guest.kernel_log()
        watcher = guest.start_command("exec udevadm monitor --kernel --property "
                                      "--subsystem-match=scsi")
        watcher.wait_output("KERNEL - the kernel uevent")
        drive.open()
        rig.daemon.ctl("insert", "d0", disc)
        watcher.wait_output("SDEV_MEDIA_CHANGE=1", timeout=30)
        watcher.signal(15)
        watcher.wait(check=False)
        guest.poweroff()
