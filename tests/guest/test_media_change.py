"""Discs come and go, by the host and by the guest; controllers are plugged and unplugged."""

import time

import pytest
from burning import APPENDABLE, BLANK, COMPLETE, blocks, prepare_guest, snapshot
from harness import Guest
from outboard import Drive, Outboard, Rig, burn_disc, create_disc

IDS = {"first": "d0", "second": "d1"}


@pytest.fixture(name="discs", scope="module")
def fixture_discs(tmp_path_factory, image):
    """A burned disc and a blank one."""
    work = tmp_path_factory.mktemp("discs")
    burned = create_disc(work / "burned.disc", "dvd+r")
    burn_disc(burned, image)
    return {"burned": burned, "blank": create_disc(work / "blank.disc", "cd-r")}


@pytest.fixture(name="rig", scope="module")
def fixture_rig(tmp_path_factory, image):
    """Two empty drives."""
    with Rig(tmp_path_factory.mktemp("rig"), {"first": None, "second": None}, drives=[image],
             memory=512) as rig:
        prepare_guest(rig.guest)
        yield rig


@pytest.fixture(autouse=True)
def fixture_empty(request):
    """Each test begins and ends with empty drives."""
    yield
    if "rig" in request.fixturenames:
        rig = request.getfixturevalue("rig")
        for name, drive_id in IDS.items():
            rig.daemon.ctl("eject", drive_id, "--force", check=False)
            rig[name].polling(True)


def test_guest_notices_a_new_disc_and_its_removal(rig, discs, image):
    """P01: an event of the kernel within its polling time, the right size, then no medium."""
    drive, guest = rig["first"], rig.guest
    watcher = guest.start_command("exec udevadm monitor --kernel --property --subsystem-match=block")
    watcher.wait_output("KERNEL")
    time.sleep(1)
    drive.open()
    rig.daemon.ctl("insert", "d0", discs["burned"])
    watcher.wait_output("DISK_MEDIA_CHANGE=1", timeout=20)
    watcher.signal(15)
    watcher.wait(check=False)
    guest.wait_for(f"dd if={drive.dev} of=/dev/null bs=2048 count=1 iflag=direct")
    assert int(guest.text(f"blockdev --getsize64 {drive.dev}")) >= blocks(image) * 2048
    drive.compare("/tmp/a.iso")
    rig.daemon.ctl("eject", "d0")
    guest.wait_for(f"! dd if={drive.dev} of=/dev/null bs=2048 count=1 iflag=direct")
    assert drive.code("00 00 00 00 00 00") in ("2/3A/01", "2/3A/02")


def test_sequence_after_insertion(rig, discs):
    """N10: GET CONFIGURATION, the event, one UNIT ATTENTION, then GOOD."""
    drive = rig["first"]
    drive.polling(False)
    for _ in range(3):
        drive.code("00 00 00 00 00 00")
        drive.code("4a 01 00 00 10 00 00 00 08 00", 8)
    rig.daemon.ctl("insert", "d0", discs["blank"])
    assert drive.code("46 02 00 00 00 00 00 00 08 00", 8) == "good"
    event = drive.command("4a 01 00 00 10 00 00 00 08 00", 8, raw=True).data
    assert event[2] & 7 == 4 and event[4] & 15 == 2, event.hex()
    assert drive.code("00 00 00 00 00 00") == "6/28/00"
    assert drive.code("00 00 00 00 00 00") == "good"


def test_locked_tray_asks_the_guest(rig, discs):
    """P02: an eject by the host is refused while the guest holds the lock, and the guest is told."""
    drive, guest = rig["first"], rig.guest
    rig.daemon.ctl("insert", "d0", discs["burned"])
    drive.ready()
    drive.polling(False)
    guest.run(f"sg_prevent --prevent=1 {drive.sg}")
    for _ in range(3):
        drive.code("4a 01 00 00 10 00 00 00 08 00", 8)
    refused = rig.daemon.ctl("eject", "d0", check=False)
    assert refused.returncode == 1 and "lock" in refused.stderr
    event = drive.command("4a 01 00 00 10 00 00 00 08 00", 8, raw=True).data
    assert event[2] & 7 == 4 and event[4] & 15 == 1, event.hex()
    drive.need("28 00 00 00 00 00 00 00 01 00", 2048)
    guest.run(f"sg_prevent --allow {drive.sg}")
    rig.daemon.ctl("eject", "d0")
    assert drive.code("00 00 00 00 00 00") in ("2/3A/02", "2/3A/01", "6/28/00")


def test_mounted_disc_is_locked_by_the_kernel(rig, discs):
    """A mounted disc stays until it is unmounted."""
    drive, guest = rig["first"], rig.guest
    rig.daemon.ctl("insert", "d0", discs["burned"])
    drive.ready()
    guest.run(f"mount -t iso9660 -o ro {drive.dev} /mnt")
    assert rig.daemon.ctl("eject", "d0", check=False).returncode == 1
    guest.run("cat /mnt/file-one-1.bin > /dev/null && umount /mnt")
    rig.daemon.ctl("eject", "d0")


def test_disc_moves_between_drives(rig, discs, image):
    """What one drive burned another reads; no trace stays behind."""
    first, second = rig["first"], rig["second"]
    rig.daemon.ctl("insert", "d0", discs["blank"])
    first.ready()
    rig.guest.run(f"cdrskin -v gracetime=0 dev={first.dev} -sao /tmp/a.iso")
    told = snapshot(first)
    rig.daemon.ctl("eject", "d0")
    rig.daemon.ctl("insert", "d1", discs["blank"])
    second.ready()
    assert snapshot(second) == told
    assert second.state() == COMPLETE
    second.reload()
    second.compare("/tmp/a.iso")
    assert second.capacity() == blocks(image)


def test_last_state_wins_after_many_changes(rig, discs):
    """N32: discs are swapped while the guest asks for events without pause."""
    drive = rig["first"]
    asking = rig.guest.start_command(
        f"while sgio {drive.sg} in 8 4a 01 00 00 10 00 00 00 08 00 >/dev/null 2>&1; do :; done")
    for _ in range(64):
        rig.daemon.ctl("insert", "d0", discs["burned"])
        rig.daemon.ctl("eject", "d0", "--force")
    rig.daemon.ctl("insert", "d0", discs["burned"])
    asking.signal(15)
    asking.wait(check=False)
    drive.ready()
    assert drive.state() in (COMPLETE, 0x01)
    drive.reload()
    drive.compare("/tmp/a.iso")


def test_disc_is_taken_away_during_a_burn(rig, tmp_path):
    """N22: the program stops with an error; the disc shows an unfinished track and can be closed."""
    disc = create_disc(tmp_path / "torn.disc", "cd-r")
    drive, guest = rig["second"], rig.guest
    rig.daemon.ctl("insert", "d1", disc)
    drive.ready()
    guest.run("cat /tmp/a.iso /tmp/a.iso /tmp/a.iso /tmp/a.iso > /tmp/long.bin")
    job = guest.start_command(f"wodim -v gracetime=2 dev={drive.dev} -tao /tmp/long.bin")
    end = time.monotonic() + 60
    while disc.stat().st_blocks * 512 < 8 << 20 and time.monotonic() < end:
        time.sleep(0.002)
    rig.daemon.ctl("eject", "d1", "--force")
    code, out, err = job.wait(timeout=120, check=False)
    assert code != 0, (out + err).decode(errors="replace")
    guest.run("rm /tmp/long.bin")
    rig.daemon.ctl("insert", "d1", disc)
    drive.ready()
    assert drive.state() & 3 == APPENDABLE
    assert drive.read(0, 16).data == drive.guest.get("/tmp/a.iso")[:32768]
    drive.need("35 00 00 00 00 00 00 00 00 00")
    drive.need("5b 00 02 00 00 00 00 00 00 00")
    assert drive.state() == COMPLETE


@pytest.mark.parametrize("qemu", ["7.2", "11.1"])
def test_controller_is_plugged_and_unplugged(guest_dir, tmp_path, image, qemu):
    """A controller with a disc appears in a running guest, works, and disappears."""
    daemon = Outboard(tmp_path, [create_disc(tmp_path / "a.disc", "dvd+r")])
    guest = Guest(guest_dir, qemu=qemu, drives=[image])
    try:
        daemon.start()
        guest.start()
        prepare_guest(guest)
        for _ in range(2):
            guest.qmp("chardev-add", id="hot", backend={"type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": str(daemon.socket)}}, "server": False}})
            guest.qmp("device_add", driver="vhost-user-scsi-pci", id="hotscsi", chardev="hot")
            guest.wait_for("test -b /dev/sr0")
            drive = Drive(guest, "hot", 0, daemon.discs[0])
            drive.ready()
            if drive.state() == BLANK:
                guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
                drive.reload()
            drive.compare("/tmp/a.iso")
            guest.qmp("device_del", id="hotscsi")
            guest.wait_for("! test -b /dev/sr0")
            _remove_chardev(guest)
        assert daemon.process.running()
    finally:
        guest.close()
        daemon.close()


def _remove_chardev(guest):
    """The device lets go of it a moment after the guest did."""
    for attempt in range(100):
        try:
            return guest.qmp("chardev-remove", id="hot")
        except Exception:
            if attempt == 99:
                raise
            time.sleep(0.1)


def test_reset_and_pages(rig, discs):
    """P05 and P06: VPD pages are clean; a reset gives one UNIT ATTENTION."""
    drive, guest = rig["first"], rig.guest
    rig.daemon.ctl("insert", "d0", discs["burned"])
    drive.ready()
    drive.polling(False)
    for page in ("0x00", "0x80", "0x83"):
        guest.run(f"sg_inq -p {page} {drive.sg}")
    guest.run(f"sg_reset -d {drive.sg}")
    codes = [drive.code("00 00 00 00 00 00") for _ in range(3)]
    assert codes[0].startswith("6/29/") or codes[0] == "good", codes
    assert codes[1:] == ["good", "good"], codes
    guest.run(f"sg_reset -d {drive.sg} && sgio {drive.sg} in 36 12 00 00 00 24 00 > /dev/null")
    drive.ready()
