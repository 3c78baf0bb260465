"""The daemon and its drives, as tests see them.  How its command lines look stands only here."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from channel import GuestError
from harness import ROOT, Guest, Process

START_TIMEOUT = 60


def binary():
    """The program under test: OUTBOARD_BIN, else that of the build directory."""
    path = Path(os.environ.get("OUTBOARD_BIN") or ROOT / "build/src/cli/outboard")
    if not path.exists():
        raise GuestError(f"{path} does not exist: build first (make build), or set OUTBOARD_BIN")
    return path


def run(*args, check=True, timeout=300):
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


class Outboard:
    """The daemon with drives behind one vhost-user-scsi socket: target n holds the n-th disc."""

    def __init__(self, work, discs, loop=None, more=()):
        self.work, self.discs = Path(work), list(discs)
        self.socket = self.work / "scsi.sock"
        self.log = self.work / "outboard.log"
        self.env = {"OUTBOARD_LOOP": loop} if loop else {}
        self.more = list(more)
        self.process = None

    def arguments(self):
        """The command line behind the program's name."""
        yield "serve"
        for n, disc in enumerate(self.discs):
            medium = f",disc={str(disc).replace(',', ',,')}" if disc else ""
            yield from ("--optical", f"id=d{n}{medium}")
        yield from ("--attach", f"vhost-user,socket={str(self.socket).replace(',', ',,')}")
        yield from self.more

    def start(self):
        """Start it and wait until its socket is there."""
        self.socket.unlink(missing_ok=True)
        self.process = Process([binary(), *self.arguments()], "outboard serve", self.log,
                               env=self.env)
        end = time.monotonic() + START_TIMEOUT
        while not self.socket.exists():
            if not self.process.running() or time.monotonic() > end:
                self.process.kill()
                raise GuestError(f"outboard serve did not come up\n{self.process.tail()}")
            time.sleep(0.01)
        return self

    def crash(self):
        """kill -9."""
        self.process.kill(signal.SIGKILL)

    def stop(self):
        """End it in an orderly way."""
        self.process.kill(signal.SIGTERM)
        status = self.process.wait(60)
        if status not in (0, -signal.SIGTERM):
            raise GuestError(f"outboard serve ended with {status}\n{self.process.tail()}")

    def ctl(self, *words, check=True):
        """Run `outboard ctl`."""
        return run("ctl", *words, check=check)

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

    def __init__(self, guest, name, number, disc):
        self.guest, self.name, self.number, self.disc = guest, name, number, disc
        found = guest.text("for d in /sys/class/block/sr*; do "
                           "echo $(basename $d) $(basename $(readlink $d/device)) "
                           "$(ls $d/device/scsi_generic); done")
        for line in found.splitlines():
            block, address, generic = line.split()
            if address.split(":")[2] == str(number):
                self.dev, self.sg = f"/dev/{block}", f"/dev/{generic}"
                return
        raise GuestError(f"the guest has no drive at target {number}:\n{found}")

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

    def reload(self):
        """Eject and load, so that nothing is answered from the guest's memory."""
        self.guest.run(f"eject {self.dev} && eject -t {self.dev}")
        self.guest.wait_for(f"sgio {self.dev} none 0 00 00 00 00 00 00 2>&1 | grep status=00")

    def compare(self, source, at=0, blocks=None):
        """Compare the disc from a block on with a file of the guest, past the page cache."""
        size = int(self.guest.text(f"stat -L -c %s {source}")) if not source.startswith("/dev/") \
            else int(self.guest.text(f"blockdev --getsize64 {source}"))
        size = blocks * 2048 if blocks else size
        self.guest.run(f"dd if={self.dev} bs=64k skip={at * 2048} count={-(-size // 65536)} "
                       f"iflag=direct,skip_bytes | cmp -n {size} - {source}")


class Rig:
    """A daemon with one disc in each drive, and a guest that has them all.

    discs: name of a drive -> type of its blank disc, a Path to use, or None for an empty drive.
    """

    def __init__(self, work, discs, qemu="7.2", loop=None, **guest):
        self.work = Path(work)
        paths = [self._disc(name, what) for name, what in discs.items()]
        self.names = list(discs)
        self.daemon = Outboard(self.work, paths, loop)
        self.guest = Guest(self.work, qemu=qemu, sockets=[self.daemon.socket], **guest)
        self.drives = {}

    def _disc(self, name, what):
        if isinstance(what, str):
            return create_disc(self.work / f"{name}.disc", what)
        return what

    def start(self):
        """Start both."""
        self.daemon.start()
        self.guest.start()
        for n, name in enumerate(self.names):
            self.drives[name] = Drive(self.guest, name, n, self.daemon.discs[n])
        return self

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
