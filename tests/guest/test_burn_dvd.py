"""DVD+R, DVD-R and DVD-RW: growisofs, cdrskin, wodim, xorriso and dvd+rw-format."""

import pytest
from burning import (APPENDABLE, BLANK, COMPLETE, blocks, check_burned, check_trees, snapshot)

ERASABLE = 0x10
TYPES = {"plus": "dvd+r", "minus": "dvd-r", "rw": "dvd-rw"}
DRIVES = {f"{kind}-{name}": TYPES[kind] for kind, names in {
    "plus": ("growisofs", "growisofs-sessions", "wodim", "cdrskin-sessions", "xorriso", "told"),
    "minus": ("growisofs", "dao"),
    "rw": ("wodim", "blank", "growisofs", "compat", "sessions", "dao", "cdrskin-sao", "cdrskin-tao",
           "xorriso", "format", "over"),      # wodim knows /dev/sr0 to /dev/sr15
}.items() for name in names}
CDRSKIN = "cdrskin -v gracetime=0"
WODIM = "wodim -v gracetime=2"


def _state(drive, state):
    """A state byte as this drive's medium tells it."""
    return state | (ERASABLE if drive.name.startswith("rw") else 0)


@pytest.mark.smoke
def test_plus_growisofs_image(rig, image):
    """D13, first line: one session, the disc stays open."""
    drive = rig["plus-growisofs"]
    rig.guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, APPENDABLE)


def _growisofs_sessions(rig, drive):
    guest = rig.guest
    guest.run(f"growisofs -Z {drive.dev} -quiet -R -J /tmp/dirA")
    assert drive.state() == _state(drive, APPENDABLE)
    check_trees(drive, ("/tmp/dirA", ""))
    guest.run(f"growisofs -M {drive.dev} -quiet -R -J /tmp/dirB")
    assert drive.state() == _state(drive, APPENDABLE)
    check_trees(drive, ("/tmp/dirA/one.bin", "/one.bin"), ("/tmp/dirB/two.bin", "/two.bin"))


def test_plus_growisofs_sessions(rig):
    """D13: appended twice; growisofs never closes a disc for good while it appends."""
    drive = rig["plus-growisofs-sessions"]
    _growisofs_sessions(rig, drive)
    rig.guest.run(f"growisofs -dvd-compat -M {drive.dev} -quiet -R -J /tmp/dirC")
    assert (drive.state(), drive.sessions()) == (APPENDABLE, 4)
    check_trees(drive, ("/tmp/dirA/one.bin", "/one.bin"), ("/tmp/dirC/deep", "/deep"))


def test_plus_wodim(rig, image):
    """D14: wodim closes a session whose fragment is still open."""
    drive = rig["plus-wodim"]
    rig.guest.run(f"{WODIM} dev={drive.dev} /tmp/a.iso")
    assert drive.state() in (APPENDABLE, COMPLETE)
    check_burned(drive, image, drive.state())


def test_plus_cdrskin_sessions(rig, image):
    """D15: two sessions that leave the disc open, and one that does not."""
    drive = rig["plus-cdrskin-sessions"]
    for state, option in ((APPENDABLE, "-multi"), (APPENDABLE, "-multi"), (COMPLETE, "")):
        start = drive.nwa()
        rig.guest.run(f"{CDRSKIN} dev={drive.dev} {option} /tmp/a.iso")
        check_burned(drive, image, state)
        drive.compare("/tmp/a.iso", at=start)


def test_plus_xorriso_sessions(rig):
    """Three sessions of xorriso's, closed at last."""
    _xorriso_sessions(rig, rig["plus-xorriso"])


def _xorriso_sessions(rig, drive):
    guest = rig.guest
    guest.run(f"xorriso -outdev {drive.dev} -map /tmp/dirA / -commit")
    assert drive.state() == _state(drive, APPENDABLE)
    check_trees(drive, ("/tmp/dirA", ""))
    guest.run(f"xorriso -dev {drive.dev} -map /tmp/dirB /b -commit")
    check_trees(drive, ("/tmp/dirB", "/b"), ("/tmp/dirA/one.bin", "/one.bin"))
    guest.run(f"xorriso -dev {drive.dev} -close on -map /tmp/dirC /c -commit")
    assert drive.state() == _state(drive, COMPLETE)
    check_trees(drive, ("/tmp/dirB", "/b"), ("/tmp/dirC", "/c"), ("/tmp/dirA/one.bin", "/one.bin"))


def test_reports_have_no_complaints(rig, image):
    """D18 and D19: before and after a burn."""
    drive, guest = rig["plus-told"], rig.guest
    for _ in range(2):
        report = guest.text(f"dvd+rw-mediainfo {drive.dev} 2>&1")
        assert ":-(" not in report
        guest.run(f"xorriso -outdev {drive.dev} -list_formats -list_profiles out -list_speeds")
        for option in ("-minfo", "-atip", "-toc"):
            guest.run(f"cdrskin dev={drive.dev} {option}")
        if drive.state() == BLANK:
            guest.run(f"growisofs -dvd-compat -Z {drive.dev}=/tmp/a.iso")
            check_burned(drive, image, COMPLETE)
    guest.run(f"xorriso -indev {drive.dev} -check_media --")


@pytest.mark.parametrize("name", ["minus-growisofs", "rw-growisofs"])
def test_minus_growisofs_incremental(rig, image, name):
    """D01: border closed, another may follow."""
    drive = rig[name]
    rig.guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, _state(drive, APPENDABLE))


def test_rw_growisofs_compat(rig, image):
    """D02: closed for good."""
    drive = rig["rw-compat"]
    rig.guest.run(f"growisofs -dvd-compat -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, _state(drive, COMPLETE))


def test_rw_growisofs_sessions(rig):
    """D03: a second border with a tree that includes the first."""
    _growisofs_sessions(rig, rig["rw-sessions"])


@pytest.mark.parametrize("name", ["minus-dao", "rw-dao"])
def test_minus_growisofs_dao(rig, image, name):
    """D04: disc at once."""
    drive = rig[name]
    rig.guest.run(f"growisofs -use-the-force-luke=dao -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, _state(drive, COMPLETE))


def test_rw_cdrskin_sao(rig, image):
    """D05: disc at once, complete without any close command."""
    drive = rig["rw-cdrskin-sao"]
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -sao /tmp/a.iso")
    check_burned(drive, image, _state(drive, COMPLETE))


def test_rw_cdrskin_tao_multi(rig, image):
    """D05: incremental, two borders."""
    drive = rig["rw-cdrskin-tao"]
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -tao -multi /tmp/a.iso")
    check_burned(drive, image, _state(drive, APPENDABLE))
    start = drive.nwa(drive.disc_info()[6])
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -tao -multi /tmp/a.iso")
    check_burned(drive, image, _state(drive, APPENDABLE))
    drive.compare("/tmp/a.iso", at=start)


def test_rw_wodim_dao(rig, image):
    """D05: wodim reserves, writes, and only synchronises."""
    drive = rig["rw-wodim"]
    rig.guest.run(f"{WODIM} dev={drive.dev} -dao /tmp/a.iso")
    check_burned(drive, image, _state(drive, COMPLETE))


def test_rw_xorriso_sessions(rig):
    """D05: three sessions of xorriso's."""
    _xorriso_sessions(rig, rig["rw-xorriso"])


def test_rw_is_blanked_by_every_tool(rig, image):
    """D07: a used disc becomes blank, is burned, and so on."""
    drive, guest = rig["rw-blank"], rig.guest
    # not wodim: it blanks only in drives that tell of CD-RW
    ways = (f"dvd+rw-format -blank {drive.dev}", f"dvd+rw-format -blank=full {drive.dev}",
            f"{CDRSKIN} dev={drive.dev} blank=fast", f"{CDRSKIN} dev={drive.dev} blank=all",
            f"{CDRSKIN} dev={drive.dev} blank=deformat_sequential",
            f"xorriso -outdev {drive.dev} -blank deformat")
    for way in ways:
        guest.run(f"{CDRSKIN} dev={drive.dev} -sao /tmp/a.iso")
        assert drive.state() == ERASABLE | COMPLETE, way
        guest.run(way)
        assert (drive.profile(), drive.state()) == (0x14, ERASABLE), way
        assert drive.nwa(1) == 0, way
    guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, ERASABLE | APPENDABLE)


def test_rw_restricted_overwrite_grows(rig, image):
    """D08: quick formatted, burned, and continued by -M."""
    drive, guest = rig["rw-format"], rig.guest
    guest.run(f"dvd+rw-format -force {drive.dev}")
    assert drive.profile() == 0x13
    guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, ERASABLE | COMPLETE)
    guest.run(f"growisofs -M {drive.dev} -quiet -R -J /tmp/dirB")
    assert drive.state() == ERASABLE | COMPLETE
    check_trees(drive, ("/tmp/dirB/two.bin", "/two.bin"))
    guest.run(f"growisofs -use-the-force-luke=tty -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, ERASABLE | COMPLETE)


def test_rw_restricted_overwrite_in_full(rig, image):
    """D08 and D09: fully formatted, then any tool writes anywhere."""
    drive, guest = rig["rw-over"], rig.guest
    guest.run(f"dvd+rw-format -force=full {drive.dev}")
    assert drive.profile() == 0x13
    drive.reload()
    assert drive.capacity() == 2297888
    guest.run(f"{CDRSKIN} dev={drive.dev} /tmp/a.iso")
    check_burned(drive, image, ERASABLE | COMPLETE)
    guest.run(f"xorriso -outdev {drive.dev} -blank as_needed -map /tmp/dirA / -commit")
    check_trees(drive, ("/tmp/dirA", ""))
    guest.run(f"xorriso -dev {drive.dev} -map /tmp/dirB /b -commit")
    check_trees(drive, ("/tmp/dirB", "/b"), ("/tmp/dirA/one.bin", "/one.bin"))
    guest.run(f"growisofs -use-the-force-luke=tty -Z {drive.dev}=/tmp/a.iso")
    check_burned(drive, image, ERASABLE | COMPLETE)
    at = 1000000
    # by a command: Linux opens such a disc for writing only in drives that tell of DVD-RAM
    data = guest.get("/tmp/dirB/two.bin")[:32768]
    assert drive.write(at, data).code == "good"
    reply = drive.read(at, 16)
    assert (reply.code, reply.data) == ("good", data)
    drive.compare("/tmp/a.iso")
    assert blocks(image) < at


def test_a_power_cycle_changes_nothing(rig):
    """After all of the above: daemon and guest end, start again, and every disc is as it was."""
    for name in DRIVES:
        rig[name].reload()      # mode pages are the drive's, not the disc's
    before = {name: snapshot(rig[name]) for name in DRIVES}
    rig.power_cycle()
    for name in DRIVES:
        assert snapshot(rig[name]) == before[name], name
