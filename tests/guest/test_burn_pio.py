"""Every burning program without DMA, on PCI IDE: packets, parameters and data all through the data port.

A word of data is a round trip here, so the image is small: above the 300 blocks that a track of a CD
has at least.
"""

import pytest
from burning import APPENDABLE, COMPLETE, check_burned

BUS = "ide-pio"
IMAGE_SIZE = 320 << 10      # with the file system's own blocks 372
LIMIT = 1200
DRIVES = {"cd-wodim-tao": "cd-r", "cd-wodim-dao": "cd-r", "cd-cdrskin": "cd-r", "cd-xorriso": "cd-r",
          "cd-cdrdao": "cd-r", "plus-growisofs": "dvd+r", "plus-wodim": "dvd+r", "minus-cdrskin": "dvd-r",
          "minus-growisofs": "dvd-r", "rw-xorriso": "dvd-rw", "bd-growisofs": "bd-r", "bd-cdrskin": "bd-r"}
WODIM = "wodim -v gracetime=2"
CDRSKIN = "cdrskin -v gracetime=0"
COMMANDS = {
    "cd-wodim-tao": f"{WODIM} dev={{dev}} -tao -pad /tmp/a.iso",
    "cd-wodim-dao": f"{WODIM} dev={{dev}} -dao /tmp/a.iso",
    "cd-cdrskin": f"{CDRSKIN} dev={{dev}} -sao /tmp/a.iso",
    "cd-xorriso": "xorriso -as cdrecord -v dev={dev} /tmp/a.iso",
    "cd-cdrdao": "cdrdao write -n --driver generic-mmc --device {dev} /tmp/a.toc",
    "plus-growisofs": "growisofs -Z {dev}=/tmp/a.iso",
    "plus-wodim": f"{WODIM} dev={{dev}} /tmp/a.iso",
    "minus-cdrskin": f"{CDRSKIN} dev={{dev}} -sao /tmp/a.iso",
    "minus-growisofs": "growisofs -dvd-compat -Z {dev}=/tmp/a.iso",
    "rw-xorriso": "xorriso -as cdrecord -v dev={dev} /tmp/a.iso",
    "bd-growisofs": "growisofs -Z {dev}=/tmp/a.iso",
    "bd-cdrskin": f"{CDRSKIN} dev={{dev}} /tmp/a.iso",
}

pytestmark = pytest.mark.full


@pytest.mark.parametrize("name", DRIVES)
def test_burn(rig, image, name):
    """One session, read back and compared."""
    drive = rig[name]
    if name == "cd-cdrdao":
        rig.guest.put('CD_ROM\nTRACK MODE1\nDATAFILE "/tmp/a.iso"\n', "/tmp/a.toc")
    rig.guest.run(COMMANDS[name].format(dev=drive.dev), timeout=LIMIT)
    state = drive.state()
    assert state & 3 in (APPENDABLE, COMPLETE & 3), f"disc state {state:#x}"
    check_burned(drive, image, state)
