"""What must be refused (mmc.md 8.6): each at once, with its sense, the disc as it was, the drive usable."""

import pytest
from burning import APPENDABLE, BLANK, COMPLETE, blocks, prepare_guest, snapshot
from outboard import Rig, burn_disc, create_disc

TYPES = {"cd": "cd-r", "plus": "dvd+r", "minus": "dvd-r", "rw": "dvd-rw", "bd": "bd-r"}
BLANKS = [f"{kind}-blank" for kind in TYPES]
DONE = [f"{kind}-done" for kind in TYPES]
WRITE_ONCE_BLANKS = ["cd-blank", "plus-blank", "minus-blank", "bd-blank"]
BLOCK = bytes(range(256)) * 8
SMALL = {"cd": 3000, "plus": 2048, "minus": 2048, "bd": 2048}     # blocks, less than the image has
CLOSED_CODE = {"cd": "5/64/00", "plus": "7/27/00", "minus": "7/27/00", "rw": "7/27/00",
               "bd": "7/27/00"}


@pytest.fixture(name="rig", scope="module")
def fixture_rig(tmp_path_factory, image):
    """A blank and a finished disc of each type, small blank ones, a protected one, empty drives."""
    work = tmp_path_factory.mktemp("rig")
    discs = {"open": "cd-r"} | {f"{kind}-blank": name for kind, name in TYPES.items()}
    for kind, name in TYPES.items():
        done = create_disc(work / f"{kind}-done.disc", name)
        burn_disc(done, image)
        discs[f"{kind}-done"] = done
    for kind, size in SMALL.items():
        discs[f"{kind}-small"] = create_disc(work / f"{kind}-small.disc", TYPES[kind], "--capacity",
                                             str(size * 2048))
    discs |= {"protected": "dvd+r", "iso": image, "cue": "cd-r", "pow": "bd-r", "empty": None}
    with Rig(work, discs, options={"protected": "readonly=on"}, drives=[image], memory=512) as rig:
        prepare_guest(rig.guest)
        yield rig


@pytest.fixture(name="unchanged")
def fixture_unchanged(rig):
    """Call it with a drive's name: at the test's end its disc must tell the same as now."""
    before = {}

    def note(name):
        rig[name].reload()
        before[name] = snapshot(rig[name])
        return rig[name]

    yield note
    for name, old in before.items():
        rig[name].reload()      # the mode pages are as for any disc again
        assert snapshot(rig[name]) == old, f"the disc in {name} changed"


@pytest.mark.parametrize("name", BLANKS)
def test_blank_disc_has_nothing_to_read(rig, unchanged, name):
    """N01, N02, N18: dd gets nothing, mount fails, READ TOC and READ are refused."""
    drive = unchanged(name)
    out = rig.guest.run(f"dd if={drive.dev} bs=2048 count=1 2>/dev/null", check=False, timeout=60)[1]
    assert out == b""
    assert rig.guest.run(f"mount -t iso9660 -o ro {drive.dev} /mnt", check=False, timeout=60)[0] != 0
    assert drive.code("43 00 00 00 00 00 00 04 00 00", 1024) == "5/24/00"
    assert drive.read(0, 1).code in ("5/21/00", "5/64/00")


@pytest.mark.parametrize("name", BLANKS)
def test_closing_an_empty_disc_does_nothing(unchanged, name):
    """N30: SYNCHRONIZE CACHE and CLOSE SESSION are GOOD."""
    drive = unchanged(name)
    assert drive.code("35 00 00 00 00 00 00 00 00 00") == "good"
    assert drive.code("5b 00 02 00 00 00 00 00 00 00") == "good"


@pytest.mark.parametrize("name", DONE)
def test_finished_disc_takes_no_write(rig, unchanged, image, name):
    """N05 and N18: raw writes anywhere are refused, reads beyond the end as well."""
    drive = unchanged(name)
    assert drive.state() & 0x0f == COMPLETE
    for lba in (0, blocks(image) + 64, 0x100000):
        assert drive.write(lba, BLOCK * 16).code == CLOSED_CODE[name.split("-")[0]], lba
    end = drive.capacity()
    assert drive.read(end, 1).code == "5/21/00"
    assert drive.read(end - 1, 2).code == "5/21/00"
    assert drive.read(end - 1, 1).code == "good"
    drive.compare("/tmp/a.iso")


@pytest.mark.parametrize("name,command", [
    ("cd-done", "wodim -v gracetime=2 dev={dev} /tmp/a.iso"),
    ("cd-done", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso"),
    ("cd-done", "xorriso -outdev {dev} -map /tmp/dirA / -commit"),
    ("plus-done", "growisofs -use-the-force-luke=tty -Z {dev}=/tmp/a.iso"),
    ("plus-done", "growisofs -M {dev} -quiet -R /tmp/dirA"),
    ("plus-done", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso"),
    ("minus-done", "growisofs -use-the-force-luke=tty -Z {dev}=/tmp/a.iso"),
    ("minus-done", "growisofs -M {dev} -quiet -R /tmp/dirA"),
    ("bd-done", "growisofs -use-the-force-luke=tty -Z {dev}=/tmp/a.iso"),
    ("bd-done", "growisofs -M {dev} -quiet -R /tmp/dirA"),
    ("bd-done", "xorriso -dev {dev} -map /tmp/dirA /x -commit"),
    ("iso", "growisofs -use-the-force-luke=tty -Z {dev}=/tmp/a.iso"),
    ("iso", "wodim -v gracetime=2 dev={dev} /tmp/a.iso"),
    ("protected", "growisofs -Z {dev}=/tmp/a.iso"),
    ("protected", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso"),
    ("protected", "xorriso -outdev {dev} -map /tmp/dirA / -commit"),
    ("cd-small", "wodim -v gracetime=2 dev={dev} -tao /tmp/a.iso"),
    ("cd-small", "wodim -v gracetime=2 dev={dev} -dao /tmp/a.iso"),
    ("cd-small", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso"),
    ("plus-small", "growisofs -Z {dev}=/tmp/a.iso"),
    ("plus-small", "cdrskin -v gracetime=0 dev={dev} /tmp/a.iso"),
    ("minus-small", "growisofs -Z {dev}=/tmp/a.iso"),
])
def test_programs_refuse_before_writing(rig, unchanged, name, command):
    """N03, N04, N08 and N26: finished, read-only, protected and too small media."""
    drive = unchanged(name)
    code, _, _ = rig.guest.run(command.format(dev=drive.dev), check=False, timeout=120)
    assert code != 0


def test_image_too_large_ends_with_sense_when_forced(rig):
    """N08: the program is told to go on, so the drive must stop it at the end."""
    drive = rig["bd-small"]
    rig.guest.run(f"dvd+rw-mediainfo {drive.dev}", check=False)
    end = int.from_bytes(drive.track(1)[24:28], "big")
    code, out, err = rig.guest.run(
        f"cdrskin -v gracetime=0 dev={drive.dev} -force /tmp/a.iso", check=False, timeout=120)
    if code == 0:
        pytest.fail("cdrskin wrote more than fits\n" + (out + err).decode(errors="replace"))
    nwa = drive.nwa(drive.disc_info()[6])
    assert nwa is None or nwa <= end
    cd = rig["cd-small"]
    code, _, _ = rig.guest.run(f"wodim -v gracetime=2 dev={cd.dev} -tao -overburn /tmp/a.iso",
                               check=False, timeout=120)
    assert code != 0
    assert cd.command("51 00 00 00 00 00 00 00 22 00", 34).code == "good"


def _track_at_once(drive):
    assert drive.write_page(b2=0x41, b3=0xc4, b4=8) == "good"


@pytest.mark.parametrize("name", BLANKS)
def test_write_elsewhere_than_at_the_next_address(rig, unchanged, name):
    """N06 on blank media: 5/21/02 with the right address, which stays."""
    drive = unchanged(name)
    if name.startswith("cd"):
        _track_at_once(drive)
    nwa = drive.nwa(1)
    reply = drive.write(nwa + 64, BLOCK * 16)
    assert reply.code == "5/21/02"
    assert reply.information == nwa
    assert drive.nwa(1) == nwa


def test_write_elsewhere_on_an_appendable_cd(rig):
    """N06 and N29: LBA 0 and beyond the next address; the run-out reads as zeros."""
    drive = rig["open"]
    rig.guest.run(f"wodim -v gracetime=2 dev={drive.dev} -tao -multi /tmp/a.iso")
    assert drive.state() == APPENDABLE
    _track_at_once(drive)
    nwa = drive.nwa()
    for lba in (0, nwa + 16):
        assert drive.write(lba, BLOCK).code == "5/21/02"
    assert drive.nwa() == nwa
    drive.reload()
    end = drive.capacity()
    reply = drive.read(end - 2, 2)
    assert (reply.code, reply.data) == ("good", bytes(4096))


def test_sao_without_a_cue_sheet(rig, unchanged):
    """N07, and N19: audio, which programs may ask for but not write."""
    drive = unchanged("cd-blank")
    old = bytes(drive.mode_page(5))
    try:
        assert drive.write_page(b2=old[2] & 0xf0 | 2) == "good"
        assert drive.write(0, BLOCK * 16).code == "5/2C/00"
        assert drive.write_page(b2=old[2] & 0xf0 | 1, b3=old[3] & 0xf0, b4=old[4] & 0xf0) == "good"
        assert drive.write(0, BLOCK * 16).code == "5/64/00"
    finally:
        assert drive.mode_select(bytes([old[0] & 0x3f]) + old[1:]) == "good"


def test_empty_drive(rig):
    """N09: no medium, whatever is asked."""
    drive = rig["empty"]
    for _ in range(3):
        drive.code("00 00 00 00 00 00")
    for cdb, size in (("00 00 00 00 00 00", 0), ("25 00 00 00 00 00 00 00 00 00", 8),
                      ("43 00 00 00 00 00 00 04 00 00", 1024),
                      ("51 00 00 00 00 00 00 00 22 00", 34),
                      ("28 00 00 00 00 00 00 00 01 00", 2048)):
        assert drive.code(cdb, size) in ("2/3A/01", "2/3A/02"), cdb
    code, _, _ = rig.guest.run(f"dd if={drive.dev} of=/dev/null count=1", check=False, timeout=60)
    assert code != 0


def test_software_write_protection(rig, unchanged):
    """N11: page 1Dh forbids and allows again."""
    drive = unchanged("plus-blank")
    page = bytearray(drive.mode_page(0x1d))
    page[0] &= 0x3f
    page[4] |= 1
    assert drive.mode_select(bytes(page)) == "good"
    assert drive.write(0, BLOCK * 16).code == "7/27/02"
    page[4] &= ~1
    assert drive.mode_select(bytes(page)) == "good"


def test_locked_tray_stays_shut(rig):
    """N12 and P03: PREVENT holds against START STOP, ALLOW lets go."""
    drive, guest = rig["plus-blank"], rig.guest
    guest.run(f"sg_prevent --prevent=1 {drive.sg}")
    assert drive.code("1b 00 00 00 02 00") == "5/53/02"
    guest.run(f"sg_prevent --allow {drive.sg}")
    assert drive.code("1b 00 00 00 02 00") == "good"
    assert drive.code("00 00 00 00 00 00") in ("2/3A/02", "2/3A/01")
    assert drive.code("1b 00 00 00 03 00") == "good"
    drive.ready()
    guest.run(f"eject {drive.dev}; eject -t {drive.dev}")
    drive.ready()
    assert drive.state() == BLANK


@pytest.mark.parametrize("name", WRITE_ONCE_BLANKS)
def test_write_once_media_are_not_blanked(rig, unchanged, name):
    """N13 and N14: BLANK and FORMAT UNIT; the latter makes sense on a BD-R."""
    drive = unchanged(name)
    assert drive.code("a1 00 00 00 00 00 00 00 00 00 00 00") == "5/30/06"
    assert drive.code("a1 01 00 00 00 00 00 00 00 00 00 00") == "5/30/06"
    if not name.startswith("bd"):
        assert drive.code("04 11 00 00 00 00", write=bytes.fromhex("00820008 00230540 98000000")) \
            == "5/30/06"


def test_fields_that_do_not_fit_the_medium(rig, unchanged):
    """N15: close functions, structures and ATIP of the wrong family."""
    cd, plus = unchanged("cd-done"), unchanged("plus-done")
    blank = unchanged("cd-blank")
    for function in (7, 3):
        assert blank.code(f"5b 00 {function:02x} 00 00 00 00 00 00 00") == "5/24/00"
    assert cd.code("ad 00 00 00 00 00 00 00 08 00 00 00", 2048) == "5/30/02"
    assert plus.code("43 00 04 00 00 00 00 04 00 00", 1024) == "5/24/00"
    assert cd.code("43 00 04 00 00 00 00 04 00 00", 1024) == "good"


def test_mode_pages_that_cannot_be(rig, unchanged):
    """N16."""
    drive = unchanged("cd-blank")
    old = bytes(drive.mode_page(5))
    assert drive.write_page(b2=old[2] & 0xf0 | 7) == "5/26/00"
    assert drive.write_page(b4=old[4] & 0xf0 | 6) == "5/26/00"
    caps = bytearray(drive.mode_page(0x2a))
    caps[0] &= 0x3f
    caps[2] ^= 1
    assert drive.mode_select(bytes(caps)) == "5/26/00"
    assert drive.code("55 10 00 00 00 00 00 00 0c 00", write=bytes(8) + old[:4]) == "5/1A/00"
    assert drive.mode_page(5)[2:] == old[2:]


def _cue(*rows):
    return b"".join(bytes(row) for row in rows)


def test_cue_sheets_that_cannot_be(rig, unchanged):
    """N17: lead-out beyond the disc, none at all, times that go back, a length of 7."""
    drive = unchanged("cue")
    old = bytes(drive.mode_page(5))
    lead_in = (0x41, 0, 0, 0x10, 0, 0, 0, 0)
    pregap, start = (0x41, 1, 0, 0x10, 0, 0, 0, 0), (0x41, 1, 1, 0x10, 0, 0, 2, 0)
    late, early = (0x41, 0xaa, 1, 0x10, 0, 89, 59, 74), (0x41, 0xaa, 1, 0x10, 0, 0, 1, 0)
    assert drive.write_page(b2=old[2] & 0xf0 | 2) == "good"
    try:
        for sheet, code in ((_cue(lead_in, pregap, start, late), "5/26/00"),
                            (_cue(lead_in, pregap, start), "5/26/00"),
                            (_cue(lead_in, pregap, start, early), "5/26/00"),
                            (_cue(lead_in, pregap, start, late)[:7], "5/24/00")):
            size = len(sheet)
            assert drive.code(f"5d 00 00 00 00 00 00 {size >> 8:02x} {size & 255:02x} 00",
                              write=sheet) == code
    finally:
        assert drive.mode_select(bytes([old[0] & 0x3f]) + old[1:]) == "good"


@pytest.mark.parametrize("name", ["cd-done", "plus-done", "bd-blank"])
def test_allocation_lengths_cut_replies_short(rig, unchanged, name):
    """N20: any length is GOOD and gives the beginning of the full reply."""
    drive = unchanged(name)
    rows = {"12 00 00 hh ll 00": 36, "03 00 00 00 ll 00": 18, "5a 08 2a 00 00 00 00 hh ll 00": 64,
            "46 00 00 00 00 00 00 hh ll 00": 64, "4a 01 00 00 10 00 00 hh ll 00": 8,
            "51 00 00 00 00 00 00 hh ll 00": 34, "52 01 00 00 00 01 00 hh ll 00": 48,
            "23 00 00 00 00 00 00 hh ll 00": 32, "bd 00 00 00 00 00 00 00 hh ll 00 00": 8,
            "5c 00 00 00 00 00 00 hh ll 00": 12}
    for template, size in rows.items():
        full = drive.command(_sized(template, size), size, raw=True)
        assert full.code == "good", template
        for limit in (0, 1, 2, 3, 4, 7, 8):
            reply = drive.command(_sized(template, limit), 64, raw=True)
            assert reply.code == "good", (template, limit)
            assert reply.data == full.data[:limit] or "4a" in template[:2] or "03" in template[:2], \
                (template, limit)
            assert len(reply.data) <= limit, (template, limit)


def _sized(template, size):
    return template.replace("hh", f"{size >> 8:02x}").replace("ll", f"{size & 255:02x}")


def test_unknown_commands(rig, unchanged):
    """N21 and N28: opcodes that no drive has, and a CDB of rubbish."""
    drive = unchanged("plus-done")
    for opcode in (0x0d, *range(0xc0, 0x100, 7), 0xff):
        assert drive.code(f"{opcode:02x} 00 00 00 00 00 00 00 00 00") == "5/20/00", hex(opcode)
    assert drive.code("ff ff ff ff ff ff ff ff ff ff ff ff", 512) == "5/20/00"


def test_xorriso_leaves_a_pseudo_overwrite_disc_alone(rig):
    """N24: it knows no BD-R formatted by growisofs."""
    drive, guest = rig["pow"], rig.guest
    guest.run(f"growisofs -Z {drive.dev}=/tmp/a.iso")
    before = snapshot(drive)
    code, out, err = guest.run(f"xorriso -dev {drive.dev} -map /tmp/dirB /b -commit", check=False)
    assert code != 0
    assert b"unsuitable" in out + err
    drive.reload()
    assert snapshot(drive) == before
    drive.compare("/tmp/a.iso")


def test_raw_write_to_protected_and_pressed_media(rig, unchanged):
    """N26: a disc opened read-only, and an image that is no recordable disc."""
    assert unchanged("protected").write(0, BLOCK * 16).code in ("7/27/00", "7/27/04")
    assert unchanged("iso").write(0, BLOCK * 16).code == "5/30/05"
