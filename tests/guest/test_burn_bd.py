"""BD-R: growisofs with and without pseudo-overwrite, xorriso, cdrskin and wodim."""

import pytest
from burning import (APPENDABLE, COMPLETE, check_burned, check_trees, snapshot)

DRIVES = {f"bd-{name}": "bd-r" for name in (
    "growisofs", "growisofs-none", "xorriso", "xorriso-close", "xorriso-format", "cdrskin",
    "cdrskin-format", "cdrskin-sessions", "wodim")}
CDRSKIN = "cdrskin -v gracetime=0"


def _feature(drive, number):
    """Whether a feature is current."""
    data = drive.need(f"46 02 {number >> 8:02x} {number & 255:02x} 00 00 00 00 10 00", 16)
    return len(data) >= 12 and data[8:10] == number.to_bytes(2, "big") and bool(data[10] & 1)


@pytest.mark.smoke
def test_growisofs_formats_for_pseudo_overwrite(rig, image):
    """B01 and B06: formatted with spare areas, not closed; -M overwrites."""
    drive = rig["bd-growisofs"]
    rig.guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
    assert _feature(drive, 0x38)
    drive.reload()
    drive.compare("/tmp/a.iso")
    rig.guest.run(f"growisofs -M {drive.dev} -quiet -R -J /tmp/dirB")
    check_trees(drive, ("/tmp/dirB/two.bin", "/two.bin"))


def test_growisofs_sessions_without_spare_areas(rig):
    """B02: sequential recording, a second session."""
    drive, guest = rig["bd-growisofs-none"], rig.guest
    guest.run(f"growisofs -use-the-force-luke=spare:none -Z {drive.dev} -quiet -R -J /tmp/dirA")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirA", ""))
    guest.run(f"growisofs -M {drive.dev} -quiet -R -J /tmp/dirB")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirA/one.bin", "/one.bin"), ("/tmp/dirB/two.bin", "/two.bin"))


def test_xorriso_sessions(rig):
    """B03: sessions appended to an open disc."""
    drive, guest = rig["bd-xorriso"], rig.guest
    guest.run(f"xorriso -outdev {drive.dev} -map /tmp/dirA / -commit")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirA", ""))
    guest.run(f"xorriso -dev {drive.dev} -map /tmp/dirB /b -commit")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirA/one.bin", "/one.bin"), ("/tmp/dirB", "/b"))


def test_xorriso_closes(rig):
    """B05."""
    drive = rig["bd-xorriso-close"]
    rig.guest.run(f"xorriso -outdev {drive.dev} -map /tmp/dirA / -close on -commit")
    assert drive.state() == COMPLETE
    check_trees(drive, ("/tmp/dirA", ""))


def test_xorriso_formats(rig):
    """B04: formatted with spare areas, sequential all the same."""
    drive = rig["bd-xorriso-format"]
    rig.guest.run(f"xorriso -outdev {drive.dev} -format by_index_1")
    assert not _feature(drive, 0x38)
    rig.guest.run(f"xorriso -outdev {drive.dev} -map /tmp/dirA / -commit")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirA", ""))


def test_cdrskin(rig, image):
    """One session, closed."""
    drive = rig["bd-cdrskin"]
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} /tmp/a.iso")
    check_burned(drive, image, COMPLETE)


def test_cdrskin_formats(rig, image):
    """B04: defect management first, then a burn."""
    drive = rig["bd-cdrskin-format"]
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} blank=format_defectmgt")
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -multi /tmp/a.iso")
    check_burned(drive, image, APPENDABLE)


def test_cdrskin_sessions(rig, image):
    """Two open sessions and a last one."""
    drive = rig["bd-cdrskin-sessions"]
    for state, option in ((APPENDABLE, "-multi"), (APPENDABLE, "-multi"), (COMPLETE, "")):
        start = drive.nwa(drive.disc_info()[6])
        rig.guest.run(f"{CDRSKIN} dev={drive.dev} {option} /tmp/a.iso")
        check_burned(drive, image, state)
        drive.compare("/tmp/a.iso", at=start)


def test_wodim_takes_it_for_a_cd(rig, image):
    """N25: it has no driver for BD and uses that for CD, which does: a session, the disc stays open."""
    drive = rig["bd-wodim"]
    rig.guest.run(f"wodim -v gracetime=2 dev={drive.dev} /tmp/a.iso")
    check_burned(drive, image, APPENDABLE)
    report = rig.guest.text(f"dvd+rw-mediainfo {drive.dev} 2>&1")
    assert ":-(" not in report


def test_a_power_cycle_changes_nothing(rig):
    """After all of the above: daemon and guest end, start again, and every disc is as it was."""
    for name in DRIVES:
        rig[name].reload()      # mode pages are the drive's, not the disc's
    before = {name: snapshot(rig[name]) for name in DRIVES}
    rig.power_cycle()
    for name in DRIVES:
        assert snapshot(rig[name]) == before[name], name
