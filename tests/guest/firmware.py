"""Machines without an operating system: firmware, GRUB on the serial console, and discs for them."""

import hashlib
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import kit  # noqa: F401  (it finds those that follow)
import trixie
from channel import GuestError
from harness import LOGS, Process, qemu_command

TIMEOUT = 240       # for hangs only
GRUB_CONFIG = "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n"
GRUB_MODULES = ("biosdisk", "serial", "terminal", "normal", "echo", "ls", "hashsum", "gcry_sha256")
# Typing is no way under UEFI: the firmware's own console takes letters from the same port.
UEFI_COMMANDS = ('if [ "$grub_platform" = efi ]; then\necho platform=[$grub_platform]\n'
                 "sha256sum /data.bin\nfi\n")
DATA = 512 << 10
DATA_SECTOR = 4096      # of a disk, where its data begin


def make_data(seed):
    """Bytes that are the same in each run."""
    return random.Random(seed).randbytes(DATA)


def make_disc(work):
    """A CD that boots GRUB by BIOS and by UEFI, with /data.bin on it; (path, its hash)."""
    tree, path = Path(work) / "cd", Path(work) / "grub.iso"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text(GRUB_CONFIG + UEFI_COMMANDS, encoding="ascii")
    (tree / "data.bin").write_bytes(make_data("cd"))
    subprocess.run(["grub-mkrescue", "-o", str(path), str(tree)], check=True, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT)
    shutil.rmtree(tree)
    return path, hashlib.sha256(make_data("cd")).hexdigest()


def make_disk(work, native=""):
    """A disk whose first sectors are GRUB; (path, the hash of its data).

    native   GRUB's driver for the disk ("ahci", "pata"), which it then has instead of the BIOS's
    """
    path, core, config = (Path(work) / f"{name}{native}" for name in ("disk", "core", "early"))
    config.write_text(GRUB_CONFIG + "normal\n", encoding="ascii")
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-p", "(hd0)/", "-c", str(config), "-o", str(core),
                    *GRUB_MODULES, *native.split()], check=True)
    with open(path, "wb") as file:
        file.write(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes())
        file.seek(512)
        file.write(core.read_bytes())
        assert file.tell() <= DATA_SECTOR * 512
        file.seek(DATA_SECTOR * 512)
        file.write(make_data("disk"))
        file.truncate(64 << 20)
    return path, hashlib.sha256(make_data("disk")).hexdigest()


class Serial:
    """A serial console behind a socket, which is expected to say things."""

    def __init__(self, path, log):
        self.log = open(log, "wb")
        LOGS[Path(log)] = "serial console"
        end = time.monotonic() + TIMEOUT
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.raw, self.text = b"", ""

    def expect(self, pattern, timeout=TIMEOUT):
        """Wait for a regular expression; what stands before and in it is taken off."""
        end = time.monotonic() + timeout
        while not (found := re.search(pattern, self.text)):
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                raise GuestError(f"the console does not say {pattern!r}: {self.text[-2000:]!r}") from None
            if not data:
                raise GuestError(f"the machine ended before it said {pattern!r}: {self.text[-2000:]!r}")
            self.log.write(data)
            self.log.flush()
            plain = re.sub(rb"\x1b\[[0-9;?=]*[A-Za-z]", b"", self.raw + data)
            begun = re.search(rb"\x1b(\[[0-9;?=]*)?$", plain)     # a sequence cut in two
            self.raw = begun[0] if begun else b""
            self.text += plain[:len(plain) - len(self.raw)].decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def send(self, line):
        """Type a line as a person does, looking at each letter: a UART holds 16 and loses the rest."""
        for letter in line:
            self.sock.sendall(letter.encode())
            self.expect(re.escape(letter))
        self.sock.sendall(b"\r")

    def close(self):
        """Close it."""
        self.sock.close()
        self.log.close()


class Machine:
    """QEMU 11.1 with firmware, a serial console, and what `args` adds.

    uefi     OVMF instead of SeaBIOS
    """

    def __init__(self, work, args, uefi=False, machine="q35", memory=256):
        self.work, self.args, self.uefi = Path(work), list(args), uefi
        self.machine, self.memory = machine, memory
        self.process = self.serial = None

    def _arguments(self):
        yield from ("-nodefaults", "-no-reboot", "-display", "none", "-vga", "none", "-accel", "tcg",
                    "-m", f"{self.memory}M")
        yield from ("-object", f"memory-backend-memfd,id=ram,size={self.memory}M,share=on",
                    "-machine", f"{self.machine},memory-backend=ram")
        yield from ("-chardev", f"socket,id=serial,path={self.work}/serial,server=on,wait=off",
                    "-serial", "chardev:serial")
        yield from ("-chardev", f"file,id=bios,path={self.work}/bios.log",
                    "-device", "isa-debugcon,iobase=0x402,chardev=bios")
        if self.uefi:
            firmware = trixie.tree() / "tree/usr/share/OVMF"
            shutil.copy(firmware / "OVMF_VARS_4M.fd", self.work / "vars.fd")
            yield from ("-drive", f"if=pflash,format=raw,readonly=on,file={firmware}/OVMF_CODE_4M.fd",
                        "-drive", f"if=pflash,format=raw,file={self.work}/vars.fd")
        yield from self.args

    def __enter__(self):
        argv, env = qemu_command("11.1")
        self.process = Process([*argv, *self._arguments()], "qemu 11.1", self.work / "qemu.log", env=env)
        try:
            self.serial = Serial(self.work / "serial", self.work / "serial.log")
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *unused):
        self.serial.close()
        self.process.kill()

    def bios_log(self):
        """What the firmware wrote to its debug port."""
        return (self.work / "bios.log").read_text(encoding="utf-8", errors="replace")

    def grub(self, command, pattern="grub> "):
        """Give GRUB a command; return what its answer matched."""
        self.serial.send(command)
        found = self.serial.expect(pattern)
        if pattern != "grub> ":
            self.serial.expect("grub> ")
        return found

    def grub_hash(self, name):
        """The SHA-256 of a file as GRUB reads it."""
        return self.grub(f"sha256sum {name}", r"([0-9a-f]{64}) ")[1]
