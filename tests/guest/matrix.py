"""The table of what works on which controller, docs/controllers.md, made from a run of the tests.

A test belongs to it by its marker matrix("what it shows"), or because commands that it ran in the
guest had a burning program write to a drive: those are seen here, not stated.
"""

import re
from pathlib import Path

BUSES = {"scsi": "virtio-scsi", "ide-pio": "IDE, PIO", "ide": "IDE, DMA", "ahci": "AHCI"}
KERNELS = {"bookworm": "Linux of Debian 12", "trixie-backports": "Linux of trixie-backports"}
BURNERS = ("cdrdao", "cdrskin", "dvd+rw-format", "growisofs", "wodim", "xorriso")
MEDIA = ("cd-r", "cd-rw", "dvd-r", "dvd-rw", "dvd+r", "dvd+rw", "dvd-ram", "bd-r", "bd-re")
TEXT = """# What works on which controller

Made by the guest tests (`make check-full`; `pytest --write-matrix`), not by hand. QEMU {qemu} with
`vfio-user-pci` (virtio-scsi: `vhost-user-scsi-pci`) under TCG; a number is how many tests passed, a dash
that no test of that run was about it.

## Systems, firmware and tools

{systems}

## Burning programs

Tests in which the program, as Debian packages it, was used on a medium of that type: burning it in one
session or several, blanking, formatting, reading it back and comparing.

{burners}
"""


def _rig(item):
    """The rig that a test used, if any."""
    found = item.funcargs.get("rig") or getattr(item.funcargs.get("setup"), "rig", None)
    return found if hasattr(found, "kinds") else None


def begin(item):
    """Before a test: forget what the guest was told before."""
    if rig := _rig(item):
        rig.guest.history.clear()


def _bus(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if "setup" in params:
        return params["setup"]
    return params.get("bus") or getattr(item.module, "BUS", "scsi"), "bookworm"


def entries(item):
    """What a test that just ended shows: rows of [table, consumer, what, bus]."""
    bus, kernel = _bus(item)
    if mark := item.get_closest_marker("matrix"):
        consumer = mark.kwargs.get("consumer") or KERNELS[mark.kwargs.get("kernel", kernel)]
        yield ["systems", consumer, mark.args[0], bus]
    rig = _rig(item)
    if rig is None:
        return
    seen = set()
    for command in rig.guest.history:
        for name, drive in rig.drives.items():
            if name in rig.kinds and re.search(re.escape(drive.dev) + r"(?!\d)", command):
                seen |= {(program, rig.kinds[name]) for program in BURNERS
                         if re.search(rf"(^|[\s;&|]){re.escape(program)}\s", command)}
    for program, medium in sorted(seen):
        yield ["burners", program, medium, bus]


class Matrix:
    """Collects the reports of a run and writes the file."""

    def __init__(self, path, qemu):
        self.path, self.qemu = Path(path), qemu
        self.cells = {}     # (table, consumer, what, bus): {test: passed}

    def take(self, report):
        """A test's report, from whichever worker."""
        for name, value in report.user_properties:
            if name == "matrix" and report.when == "call" and not report.skipped:
                self.cells.setdefault(tuple(value), {})[report.nodeid] = report.passed

    def _cell(self, key):
        tests = self.cells.get(key)
        if not tests:
            return "-"
        bad = sum(not passed for passed in tests.values())
        return f"**{bad} of {len(tests)} failed**" if bad else str(len(tests))

    def _table(self, name, heads, order):
        buses = [bus for bus in BUSES if any(key[0] == name and key[3] == bus for key in self.cells)]
        rows = sorted({key[1:3] for key in self.cells if key[0] == name}, key=order)
        lines = [[*heads, *(BUSES[bus] for bus in buses)], ["---"] * (2 + len(buses))]
        lines += [[*row, *(self._cell((name, *row, bus)) for bus in buses)] for row in rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def write(self):
        """Write the file."""
        self.path.write_text(TEXT.format(
            qemu=self.qemu,
            systems=self._table("systems", ("consumer", "what"), lambda row: row),
            burners=self._table("burners", ("program", "medium"),
                                lambda row: (row[0], MEDIA.index(row[1])))), encoding="ascii")
