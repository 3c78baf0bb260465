"""The daemon and its drives, as tests see them.  How its command lines look stands only here."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from channel import TIMEOUT, GuestError
from harness import ROOT, Guest, Process

START_TIMEOUT = 60


def binary():
    """The program under test: OUTBOARD_BIN, else that of the build directory."""
    path = Path(os.environ.get("OUTBOARD_BIN") or ROOT / "build/src/cli/outboard")
    if not path.exists():
        raise GuestError(f"{path} does not exist: build first (make build), or set OUTBOARD_BIN")
    return path


def run(*args, check=True, timeout=TIMEOUT):
    """Run a subcommand to its end; return the finished process (its outputs as text)."""
    argv = [str(binary()), *map(str, args)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise GuestError(f"{' '.join(argv)}: exit status {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
    return done


def create_disc(path, kind, *more):
    """Make a blank disc file."""
    run("disc", "create", path, "--type", kind, *more)
    return Path(path)


def verify_disc(path, image):
    """Compare a disc file with the image it was burned from, by the program's own command."""
    return run("disc", "verify", path, image)


def burn_disc(path, image, *more):
    """Burn an image onto a disc without a guest."""
    return run("disc", "burn", path, image, "--quiet", *more)


IDE_PLACES = ("primary-master", "primary-slave", "secondary-master", "secondary-slave")
# How drives reach a guest: the device that has them, how many it takes, the guest's driver and the
# parameters of libata.
BUSES = {"scsi": None, "ahci": ("ahci", 32, "ahci", ""), "ide": ("ide", 4, "ata_piix", ""),
         "ide-pio": ("ide", 4, "ata_piix", "dma=0")}


class Outboard:
    """The daemon with drives and disks for one guest.

    discs    paths, None for an empty drive; drive n is called dN
    disks    image files of disks (or text: all of an option); they are called hN, and come before
             the drives
    options  by number of the drive: more keys of its option, as text
    wrapper  words before the program's name
    bus      "scsi": one vhost-user-scsi socket, target n holds drive n; else controllers (BUSES)
             behind vfio-user sockets, as many as it takes
    """

    def __init__(self, work, discs, loop=None, options=None, wrapper=(), bus="scsi", disks=()):
        self.work, self.discs, self.disks = Path(work), list(discs), list(disks)
        self.options, self.wrapper, self.bus = options or {}, list(wrapper), bus
        self.socket = self.work / "scsi.sock"
        self.control = self.work / "ctl.sock"
        self.log = self.work / "outboard.log"
        self.env = {"OUTBOARD_LOOP": loop} if loop else {}
        self.process = None
        self.ending = False     # a test ends it

    def arguments(self):
        """The command line behind the program's name."""
        yield "serve"
        for n, disc in enumerate(self.discs):
            medium = f",disc={str(disc).replace(',', ',,')}" if disc else ""
            more = f",{self.options[n]}" if n in self.options else ""
            name = "" if self.bus == "scsi" else f",product=d{n}"     # how the guest knows it
            yield from ("--optical", f"id=d{n}{medium}{name}{more}")
        for n, disk in enumerate(self.disks):
            where = disk if isinstance(disk, str) else str(disk).replace(",", ",,")
            yield from ("--disk", f"{where},id=h{n},serial=h{n}")
        if self.bus == "scsi":
            yield from ("--attach", f"vhost-user,socket={str(self.socket).replace(',', ',,')}")
        for n, units in enumerate(self.controllers()):
            device = BUSES[self.bus][0]
            places = (f"{place}={unit}" for place, unit in zip(
                IDE_PLACES if device == "ide" else (f"port{i}" for i in range(32)), units))
            ports = f",ports={max(2, len(units))}" if device == "ahci" else ""
            yield from ("--device", f"{device},id=c{n}{ports},{','.join(places)}",
                        "--attach", f"vfio-user,socket={self.sockets()[n]},device=c{n}")
        yield from ("--control", self.control)

    def controllers(self):
        """The units of each controller."""
        if self.bus == "scsi":
            return []
        units = [f"h{n}" for n in range(len(self.disks))] + [f"d{n}" for n in range(len(self.discs))]
        room = BUSES[self.bus][1]
        return [units[at:at + room] for at in range(0, len(units), room)]

    def sockets(self):
        """The vfio-user sockets."""
        return [self.work / f"c{n}.sock" for n in range(len(self.controllers()))]

    def guest_options(self):
        """What a Guest takes to have the drives."""
        if self.bus == "scsi":
            return {"sockets": [self.socket]}
        return {"qemu": "11.1", "args": [word for path in self.sockets() for word in (
            "-device", json.dumps({"driver": "vfio-user-pci",
                                   "socket": {"type": "unix", "path": str(path)}}))]}

    def load_driver(self, guest):
        """Have the guest find its drives."""
        if self.bus == "scsi":
            return
        _, _, driver, parameters = BUSES[self.bus]
        guest.load(driver, libata=parameters)
        guest.wait_for(f"test $(ls -d /sys/class/block/sr* | wc -l) = {len(self.discs)} && "
                       f"test $(ls -d /sys/class/block/sd? | wc -l) = {len(self.disks)}", 60)

    def start(self):
        """Start it and wait until it says that its socket is there."""
        self.process = Process([*self.wrapper, binary(), *self.arguments()], "outboard serve", self.log,
                               env=self.env)
        self.ending = False
        end = time.monotonic() + START_TIMEOUT
        while not all(str(path) in self.process.said()
                      for path in self.sockets() or [self.socket]):
            if not self.process.running() or time.monotonic() > end:
                self.process.kill()
                raise GuestError(f"outboard serve did not come up\n{self.process.tail()}")
            time.sleep(0.01)
        return self

    def trouble(self):
        """What to say when it ended by itself: a guest waits for ever then."""
        if self.ending or self.process.running():
            return None
        return f"outboard serve ended with {self.process.child.returncode}\n{self.process.tail()}"

    def crash(self):
        """kill -9."""
        self.ending = True
        self.process.kill(signal.SIGKILL)

    def stop(self):
        """End it in an orderly way."""
        self.ending = True
        self.process.kill(signal.SIGTERM)
        status = self.process.wait(30)
        if status not in (0, -signal.SIGTERM):
            raise GuestError(f"outboard serve ended with {status}\n{self.process.tail()}")

    def ctl(self, *words, check=True):
        """Run `outboard ctl` with this daemon."""
        return run("ctl", "--socket", self.control, *words, check=check)

    def close(self):
        """End it however it stands."""
        if self.process:
            self.process.kill()


class Reply:
    """What a drive answered to one command."""

    def __init__(self, data, report):
        found = re.search(r"status=(\w+) host=(\w+) resid=(-?\d+) sense=(\w*)", report)
        if not found:
            raise GuestError(f"sgio: {report}")
        self.data = data
        self.status, self.host = int(found[1], 16), int(found[2], 16)
        self.residual, self.sense = int(found[3]), bytes.fromhex(found[4])

    @property
    def code(self):
        """ "good", or sense as "key/asc/ascq" in hexadecimal: "5/24/00"."""
        if self.host:
            return f"host {self.host:02x}"
        if self.status == 0:
            return "good"
        if len(self.sense) < 14:
            return f"status {self.status:02x}"
        return f"{self.sense[2] & 15:X}/{self.sense[12]:02X}/{self.sense[13]:02X}"

    @property
    def information(self):
        """The INFORMATION field, None when not valid."""
        if len(self.sense) < 7 or not self.sense[0] & 0x80:
            return None
        return int.from_bytes(self.sense[3:7], "big")


class Drive:
    """One drive as the guest sees it, and its disc file on the host."""

    def __init__(self, guest, name, number, disc, bus="scsi"):
        self.guest, self.name, self.number, self.disc = guest, name, number, disc
        found = guest.text("for d in /sys/class/block/sr*; do "
                           "echo $(basename $d) $(basename $(readlink $d/device)) "
                           "$(ls $d/device/scsi_generic) $(cat $d/device/model); done")
        for line in found.splitlines():
            block, address, generic, model = line.split(maxsplit=3)
            if (address.split(":")[2] == str(number) if bus == "scsi" else model == f"d{number}"):
                self.dev, self.sg = f"/dev/{block}", f"/dev/{generic}"
                return
        raise GuestError(f"the guest has no drive {number}:\n{found}")

    def command(self, cdb, read=0, write=None, raw=False):
        """Send one command (CDB as hexadecimal text) and return its Reply, whatever it is.

        raw: through the sg device, which does not look at the medium first.
        """
        way, size = ("out", len(write)) if write is not None else ("in" if read else "none", read)
        _, out, err = self.guest.run(f"sgio {self.sg if raw else self.dev} {way} {size} {cdb}",
                                     stdin=write or b"")
        return Reply(out, err.decode())

    def need(self, cdb, read=0, write=None):
        """Send one command that must succeed; return its data."""
        reply = self.command(cdb, read, write)
        if reply.code != "good":
            raise GuestError(f"{self.name}: {cdb}: {reply.code}")
        return reply.data

    def code(self, cdb, read=0, write=None):
        """Send one command past the kernel's CD driver; return only how it ended (see Reply)."""
        return self.command(cdb, read, write, raw=True).code

    def ready(self, timeout=30):
        """Wait until TEST UNIT READY is GOOD: attentions are taken away by it."""
        self.guest.wait_for(f"sgio {self.sg} none 0 00 00 00 00 00 00 2>&1 | grep status=00", timeout)

    def polling(self, on):
        """Let the kernel look for events by itself, or not, so that they wait for the test."""
        name = Path(self.dev).name
        self.guest.run(f"echo {1000 if on else 0} > /sys/block/{name}/events_poll_msecs")

    def mode_page(self, page):
        """MODE SENSE(10): the page, without header and block descriptors."""
        data = self.need(f"5a 08 {page:02x} 00 00 00 00 01 00 00", 256)
        return data[8 + int.from_bytes(data[6:8], "big"):]

    def mode_select(self, page):
        """MODE SELECT(10) of one page; returns how it ended."""
        size = len(page) + 8
        return self.code(f"55 10 00 00 00 00 00 {size >> 8:02x} {size & 255:02x} 00",
                         write=bytes(8) + page)

    def write_page(self, **fields):
        """Page 05h with some bytes replaced: b2=..., b3=..., b4=...; returns how it ended."""
        page = bytearray(self.mode_page(5))
        page[0] &= 0x3f
        for name, value in fields.items():
            page[int(name[1:])] = value
        return self.mode_select(bytes(page))

    def write(self, lba, data):
        """WRITE(10); returns the Reply."""
        where, count = (lba & 0xffffffff).to_bytes(4, "big"), (len(data) // 2048).to_bytes(2, "big")
        return self.command(f"2a 00 {where.hex(' ')} 00 {count.hex(' ')} 00", write=data, raw=True)

    def read(self, lba, count):
        """READ(10); returns the Reply."""
        where, size = (lba & 0xffffffff).to_bytes(4, "big"), count.to_bytes(2, "big")
        return self.command(f"28 00 {where.hex(' ')} 00 {size.hex(' ')} 00", read=count * 2048,
                            raw=True)

    def disc_info(self):
        """READ DISC INFORMATION."""
        return self.need("51 00 00 00 00 00 00 00 22 00", 34)

    def state(self):
        """Byte 2 of READ DISC INFORMATION: status of disc and last session."""
        return self.disc_info()[2]

    def sessions(self):
        """Number of sessions, the empty one at the end included."""
        return self.disc_info()[4]

    def profile(self):
        """The current profile."""
        return int.from_bytes(self.need("46 02 00 00 00 00 00 00 08 00", 8)[6:8], "big")

    def track(self, number=0xff):
        """READ TRACK INFORMATION of a track, the invisible one unless told."""
        return self.need(f"52 01 00 00 00 {number:02x} 00 00 30 00", 48)

    def nwa(self, number=0xff):
        """Next writable address of a track, None when there is none."""
        info = self.track(number)
        return int.from_bytes(info[12:16], "big", signed=True) if info[7] & 1 else None

    def capacity(self):
        """Readable blocks by READ CAPACITY (0 is told as 0, as blank media answer)."""
        last = int.from_bytes(self.need("25 00 00 00 00 00 00 00 00 00", 8)[:4], "big")
        return last + 1 if last else 0

    def toc(self, form=0):
        """READ TOC/PMA/ATIP as LBA."""
        return self.need(f"43 00 {form:02x} 00 00 00 00 04 00 00", 1024)

    def open(self):
        """Open it as udevd does after each event: without that the kernel tells no second one."""
        self.command("00 00 00 00 00 00")

    def reload(self):
        """Eject and load, so that nothing is answered from the guest's memory."""
        self.guest.run(f"eject {self.dev} && eject -t {self.dev}")
        self.ready()

    def compare(self, source, at=0, blocks=None):
        """Compare the disc from a block on with a file of the guest, past the page cache."""
        size = int(self.guest.text(f"stat -L -c %s {source}")) if not source.startswith("/dev/") \
            else int(self.guest.text(f"blockdev --getsize64 {source}"))
        size = blocks * 2048 if blocks else size
        self.guest.run(f"dd if={self.dev} bs=64k skip={at * 2048} count={size} "
                       f"iflag=direct,skip_bytes,count_bytes | cmp -n {size} - {source}")


class Rig:
    """A daemon with one disc in each drive, and a guest that has them all.

    discs    name of a drive -> type of its blank disc, a Path to use, or None for an empty drive
    options  name of a drive -> more keys of its option
    qemu     where none is named: that of OUTBOARD_TEST_QEMU, else "7.2"; controllers need 11.1
    bus      see Outboard
    hard     image files of disks for a controller
    """

    def __init__(self, work, discs, qemu=None, loop=None, options=None, wrapper=(), bus="scsi",
                 hard=(), **guest):
        self.work = Path(work)
        paths = [self._disc(name, what) for name, what in discs.items()]
        self.names = list(discs)
        self.kinds = {name: what for name, what in discs.items() if isinstance(what, str)}
        numbered = {self.names.index(name): text for name, text in (options or {}).items()}
        self.daemon = Outboard(self.work, paths, loop, numbered, wrapper, bus, hard)
        qemu = qemu or os.environ.get("OUTBOARD_TEST_QEMU", "7.2")
        self.options = {"qemu": qemu, **guest, **self.daemon.guest_options()}
        self.guest = Guest(self.work, **self.options)
        self.drives = {}

    def _disc(self, name, what):
        if isinstance(what, str):
            return create_disc(self.work / f"{name}.disc", what)
        return what

    def start(self):
        """Start both."""
        self.daemon.start()
        self.guest.start()
        self.guest.channel.trouble = self.daemon.trouble
        self.daemon.load_driver(self.guest)
        for n, name in enumerate(self.names):
            self.drives[name] = Drive(self.guest, name, n, self.daemon.discs[n], self.daemon.bus)
        return self

    def power_cycle(self):
        """Switch the guest off, end the daemon, start both again."""
        self.guest.poweroff()
        self.guest.close()
        self.daemon.stop()
        self.guest = Guest(self.work, **self.options)
        self.start()

    def __getitem__(self, name):
        return self.drives[name]

    def close(self):
        """End both."""
        self.guest.close()
        self.daemon.close()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *unused):
        self.close()
