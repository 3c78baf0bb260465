"""CD-R: wodim, cdrskin and xorriso burn it by TAO and SAO, in one session and in several."""

import pytest
from burning import (APPENDABLE, BLANK, COMPLETE, blocks, check_burned, check_trees, msinfo,
                     snapshot)

FIRST_GAP, NEXT_GAP = 11400, 6900       # lead-out to next session: mmc.md 5.3
DRIVES = {f"cd-{name}": "cd-r" for name in (
    "wodim-tao", "wodim-dao", "wodim-sessions", "wodim-dummy", "wodim-told", "wodim-packet",
    "cdrskin-tao", "cdrskin-sao", "cdrskin-small", "cdrskin-sessions", "cdrskin-dummy",
    "xorriso", "xorriso-cdrecord", "growisofs", "cdrdao")}
WODIM = "wodim -v gracetime=2"
CDRSKIN = "cdrskin -v gracetime=0"


@pytest.mark.smoke
def test_wodim_tao(rig, image):
    """C01: one track, padded, and two run-out blocks before the lead-out."""
    drive = rig["cd-wodim-tao"]
    rig.guest.run(f"{WODIM} dev={drive.dev} -tao -pad /tmp/a.iso")
    check_burned(drive, image, COMPLETE, blocks(image) + 15 + 2)
    assert drive.toc()[5] == 0x14


def test_wodim_dao(rig, image):
    """C05: the lead-out follows the last block."""
    drive = rig["cd-wodim-dao"]
    rig.guest.run(f"{WODIM} dev={drive.dev} -dao /tmp/a.iso")
    check_burned(drive, image, COMPLETE, blocks(image))


def _sessions(rig, drive, image, burn, tool):
    """C02 to C04 and C17: three sessions, the last without a successor."""
    guest = rig.guest
    guest.run(f"{burn} -multi /tmp/a.iso")
    assert (drive.state(), drive.sessions()) == (APPENDABLE, 2)
    start, following = msinfo(drive, tool)
    assert (start, following) == (0, blocks(image) + 2 + FIRST_GAP)
    check_burned(drive, image, APPENDABLE)
    guest.run(f"genisoimage -quiet -R -C {start},{following} -M {drive.dev} -o /tmp/b.iso /tmp/dirB")
    guest.run(f"{burn} -multi /tmp/b.iso")
    assert (drive.state(), drive.sessions()) == (APPENDABLE, 3)
    second = following
    length = int(guest.text("stat -c %s /tmp/b.iso")) // 2048
    legacy = drive.need("43 00 00 00 00 00 00 00 0c 40", 12)
    assert int.from_bytes(legacy[8:12], "big") == second
    drive.reload()
    drive.compare("/tmp/b.iso", at=second)
    check_trees(drive, ("/tmp/dirB/two.bin", "/two.bin"))
    guest.run(f"mount -t iso9660 -o ro {drive.dev} /mnt && ls -R /mnt | grep -q file-one-1.bin; "
              "code=$?; umount /mnt; exit $code")
    start, following = msinfo(drive, tool)
    assert start == second
    assert following >= second + length + 2 + NEXT_GAP
    guest.run(f"genisoimage -quiet -R -C {start},{following} -M {drive.dev} -o /tmp/c.iso /tmp/dirC")
    guest.run(f"{burn} /tmp/c.iso")
    assert drive.state() == COMPLETE
    check_trees(drive, ("/tmp/dirB/two.bin", "/two.bin"), ("/tmp/dirC/deep", "/deep"))
    drive.compare("/tmp/a.iso")


def test_wodim_sessions(rig, image):
    """Three sessions by wodim and genisoimage, in mode 2."""
    drive = rig["cd-wodim-sessions"]
    _sessions(rig, drive, image, f"{WODIM} dev={drive.dev} -tao", "wodim")
    assert drive.track(1)[6] & 15 == 2, "wodim writes such discs as CD-ROM XA"


def test_cdrskin_sessions(rig, image):
    """Three sessions by cdrskin and genisoimage."""
    drive = rig["cd-cdrskin-sessions"]
    _sessions(rig, drive, image, f"{CDRSKIN} dev={drive.dev} -tao", "cdrskin")


@pytest.mark.parametrize("tool", ["wodim", "cdrskin"])
def test_test_writes_change_nothing(rig, tool):
    """C11: simulated burns leave a blank disc."""
    drive = rig[f"cd-{tool}-dummy"]
    burn = WODIM if tool == "wodim" else CDRSKIN
    before = snapshot(drive)
    for mode in ("-tao", "-dao" if tool == "wodim" else "-sao"):
        rig.guest.run(f"{burn} dev={drive.dev} -dummy {mode} /tmp/a.iso")
        assert drive.state() == BLANK
    drive.reload()
    after = snapshot(drive)
    assert after["info"] == before["info"]
    assert drive.nwa() in (0, -150)


def test_wodim_tells_about_the_drive(rig):
    """C12: what it asks is answered without an error."""
    drive = rig["cd-wodim-told"]
    dev = drive.dev
    out = rig.guest.text(f"wodim dev={dev} -checkdrive")
    assert "mmc_cdr" in out
    for mode in ("TAO", "SAO"):
        assert mode in out
    assert "ATIP start of lead in" in rig.guest.text(f"wodim dev={dev} -atip")
    assert "Does write CD-R media" in rig.guest.text(f"wodim dev={dev} -prcap")


def test_packet_writing_is_refused_cleanly(rig, image):
    """C30: it is not announced, so wodim does not start."""
    drive = rig["cd-wodim-packet"]
    code, _, _ = rig.guest.run(f"{WODIM} dev={drive.dev} -packet -multi /tmp/a.iso", check=False)
    assert code != 0
    assert drive.state() == BLANK
    rig.guest.run(f"{WODIM} dev={drive.dev} -tao /tmp/a.iso")
    check_burned(drive, image, COMPLETE, blocks(image) + 2)


def test_cdrskin_tao(rig, image):
    """C13."""
    drive = rig["cd-cdrskin-tao"]
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -tao /tmp/a.iso")
    check_burned(drive, image, COMPLETE, blocks(image) + 2)


@pytest.mark.smoke
def test_cdrskin_sao(rig, image):
    """C14: writing begins at -150, with blocks that no capacity counts."""
    drive = rig["cd-cdrskin-sao"]
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -sao /tmp/a.iso")
    check_burned(drive, image, COMPLETE, blocks(image))


def test_cdrskin_pads_a_short_track(rig):
    """C26: 200 blocks become the 300 that a track must have."""
    drive = rig["cd-cdrskin-small"]
    rig.guest.run("dd if=/tmp/a.iso of=/tmp/small.bin bs=2048 count=200")
    rig.guest.run(f"{CDRSKIN} dev={drive.dev} -tao /tmp/small.bin")
    assert drive.state() == COMPLETE
    drive.reload()
    assert drive.capacity() in (300, 302)
    drive.compare("/tmp/small.bin")


def test_xorriso_three_sessions(rig):
    """C18: sessions written, found again and mounted; then the disc is closed."""
    drive, guest = rig["cd-xorriso"], rig.guest
    guest.run(f"xorriso -outdev {drive.dev} -map /tmp/dirA / -commit")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirA", ""))
    guest.run(f"xorriso -dev {drive.dev} -map /tmp/dirB /b -commit")
    assert drive.state() == APPENDABLE
    check_trees(drive, ("/tmp/dirB", "/b"), ("/tmp/dirA/one.bin", "/one.bin"))
    guest.run(f"xorriso -dev {drive.dev} -close on -map /tmp/dirC /c -commit")
    assert drive.state() == COMPLETE
    check_trees(drive, ("/tmp/dirB", "/b"), ("/tmp/dirC", "/c"), ("/tmp/dirA/one.bin", "/one.bin"))
    found = guest.text(f"xorriso -indev {drive.dev} -find / 2>/dev/null")
    assert "/c/deep/three.bin" in found


def test_xorriso_as_cdrecord(rig, image):
    """C19: like wodim -multi."""
    drive = rig["cd-xorriso-cdrecord"]
    rig.guest.run(f"xorriso -as cdrecord -v dev={drive.dev} -multi /tmp/a.iso")
    assert drive.sessions() == 2
    check_burned(drive, image, APPENDABLE)


def test_cdrdao(rig, image):
    """Disc at once with a cue sheet, by cdrdao's driver for all MMC drives."""
    drive = rig["cd-cdrdao"]
    rig.guest.put('CD_ROM\nTRACK MODE1\nDATAFILE "/tmp/a.iso"\n', "/tmp/a.toc")
    rig.guest.run(f"cdrdao write -n --driver generic-mmc --device {drive.dev} /tmp/a.toc")
    check_burned(drive, image, COMPLETE, blocks(image))


def test_growisofs_refuses_a_cd(rig):
    """It knows no CD; the disc stays blank."""
    drive = rig["cd-growisofs"]
    code, _, _ = rig.guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso", check=False)
    assert code != 0
    assert drive.state() == BLANK


def test_a_power_cycle_changes_nothing(rig):
    """After all of the above: daemon and guest end, start again, and every disc is as it was."""
    for name in DRIVES:
        rig[name].reload()      # mode pages are the drive's, not the disc's
    before = {name: snapshot(rig[name]) for name in DRIVES}
    rig.power_cycle()
    for name in DRIVES:
        assert snapshot(rig[name]) == before[name], name
