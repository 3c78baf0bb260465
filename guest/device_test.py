#!/usr/bin/python3
"""Gives a Linux guest a device and runs a program in it: what `outboard device test` calls.

The guest is Debian's kernel and busybox (no compiler is needed to make it) in a stock QEMU with vfio-user-pci:
the host's own when it is 10.1 or newer, else Debian's 11.1 in a tree of its own. What is fetched for this is
kept in the cache (cache.py). `outboard run` starts QEMU, with the device. The program prints by the second serial
port, which comes here line by line and ends with its exit status.
"""

import argparse
import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

import cache  # noqa: E402  (the line above keeps an installed folder clean)
import debs  # noqa: E402
import trixie  # noqa: E402
from initramfs import Cpio, Modules, find_in, pack_busybox, unpack_kernel  # noqa: E402

HERE = Path(__file__).resolve().parent
SUITE, KERNEL, BUSYBOX = "bookworm", "linux-image-amd64", "busybox-static"
MODULES = ("uio_pci_generic",)
MEMORY = "256M"
DMA_MEMORY = "memmap=1M$0x8000000"      # device.sh knows the address
KERNEL_ARGS = ("console=ttyS0 quiet panic=-1 nokaslr mitigations=off audit=0 selinux=0 apparmor=0 tsc=reliable "
               f"no_timer_check random.trust_cpu=on iomem=relaxed {DMA_MEMORY}")
NEEDED = (10, 1)                        # the first QEMU with vfio-user-pci
END = re.compile(rb"\x01exit (\d+)\r?\n")
LINES = 40                              # of the console, when something went wrong


class TestError(Exception):
    """No result: the text says why."""


def _end_with_us():
    """`outboard run` ends when this program does, however that is, and QEMU with it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def say(text):
    """A remark that is no output of the test."""
    print(f"outboard device test: {text}", file=sys.stderr, flush=True)


def _packages(path):
    """Unpack kernel and busybox into `path`: from what the guest tests of a clone fetched, or from Debian."""
    for entry in sorted(cache.directory().glob("packages-*")):
        if list(entry.glob("kernel/boot/vmlinuz-*")) and list(entry.glob("tools/usr/bin/busybox")):
            return entry / "kernel", entry / "tools"
    say("fetching Debian's kernel and busybox for the guest (about 75 MB, once)")
    apt = debs.Apt(path / "apt", (SUITE, f"{SUITE}-updates"))
    busybox = apt.alone(BUSYBOX)
    kernel = apt.alone(next(name for name in apt.depends(KERNEL) if name.startswith("linux-image-")))
    debs.unpack([kernel], path / "kernel")
    debs.unpack([busybox], path / "tools")
    return path / "kernel", path / "tools"


def _pack(path):
    """Fill a cache entry with `vmlinux` and `initrd`."""
    work = path / "work"
    work.mkdir()
    kernel, tools = _packages(work)
    unpack_kernel(next((kernel / "boot").glob("vmlinuz-*")), path / "vmlinux")
    image = Cpio(path / "initrd")
    image.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    image.add("dev/null", stat.S_IFCHR | 0o666, device=(1, 3))
    for name in ("proc", "sys", "tmp", "root", "mnt"):
        image.add(name, stat.S_IFDIR | 0o755)
    image.link("bin", "usr/bin")
    image.link("sbin", "usr/bin")
    image.copy(HERE / "init.sh", "init")
    image.copy(HERE / "device.sh", "usr/bin/device.sh", 0o644)
    Modules(kernel).pack(image, MODULES)
    pack_busybox(tools, image)
    image.close()
    shutil.rmtree(work)


def guest():
    """The cache entry with the guest's `vmlinux` and `initrd`, made on first use."""
    own = [HERE / name for name in ("device_test.py", "initramfs.py", "init.sh", "device.sh")]
    name = f"device-guest-{cache.key(SUITE, KERNEL, BUSYBOX, *own)}"
    path = cache.entry(name, _pack)
    cache.forget_old("device-guest", name)
    return path


def version(argv, env):
    """(major, minor) of a QEMU and whether it has vfio-user-pci; (0, 0) when there is none."""
    try:
        seen = subprocess.run([*argv, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              env=dict(os.environ, **env), check=False).stdout
    except OSError:
        return 0, 0
    found = re.search(r"version (\d+)\.(\d+)", seen)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def qemu(named):
    """(argv, environment) of a QEMU that can do it."""
    own = named or os.environ.get("OUTBOARD_QEMU") or "qemu-system-x86_64"
    seen = version([own], {})
    if seen >= NEEDED:
        return [own], {}
    if named:
        raise TestError(f"--qemu {named}: " + (f"this is {seen[0]}.{seen[1]}, vfio-user-pci came with 10.1"
                                               if seen > (0, 0) else "this is no QEMU that starts"))
    if not list(cache.directory().glob("trixie-*/tree")):
        what = f"{own} is {seen[0]}.{seen[1]}, too old" if seen > (0, 0) else f"there is no {own}"
        say(f"{what} for vfio-user-pci (10.1): fetching Debian's QEMU 11.1 into the cache (about 130 MB, once)")
    try:
        return trixie.qemu()
    except (debs.DebError, OSError) as err:
        raise TestError(f"Debian's QEMU 11.1 cannot be had; give --qemu PATH of a QEMU 10.1 or newer\n{err}") from err


def with_files(base, dest, test, files):
    """Write an initramfs: the guest's own and the files of the test behind it."""
    shutil.copyfile(base, dest)
    more = dest.with_suffix(".test")
    image = Cpio(more)
    image.add("test", stat.S_IFDIR | 0o755)
    for path, name in [(test, "run"), *((path, path.name) for path in files)]:
        image.copy(path, f"test/{name}", 0o755)
    image.close()
    with open(dest, "ab") as out:
        out.write(more.read_bytes())


class Run:
    """One guest with the device."""

    def __init__(self, args, work):
        argv, env = qemu(args.qemu)
        made = guest()
        with_files(made / "initrd", work / "initrd", args.test, args.file)
        self.console = work / "console.log"
        ours, its = socket.socketpair()
        line = [args.outboard, "run", "--device", args.device, "--", *argv,
                "-nodefaults", "-no-reboot", "-display", "none", "-m", MEMORY, "-accel", "tcg", "-cpu", "max",
                "-kernel", made / "vmlinux", "-initrd", work / "initrd", "-append", KERNEL_ARGS,
                "-chardev", f"file,id=console,path={str(self.console).replace(',', ',,')}",
                "-serial", "chardev:console",
                "-chardev", f"socket,id=test,fd={its.fileno()}", "-serial", "chardev:test"]
        with its:
            self.child = subprocess.Popen(
                [str(word) for word in line], stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[its.fileno()],
                env=dict(os.environ, **env), preexec_fn=_end_with_us)
        self.sock, self.rest, self.status = ours, b"", None

    def take(self, timeout):
        """Print what the test prints until it ended; its exit status."""
        end = time.monotonic() + timeout
        while self.status is None:
            left = end - time.monotonic()
            if left <= 0:
                raise TestError(f"the test has not ended after {timeout} s (--timeout){self.trouble()}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                continue
            if not data:
                raise TestError(f"QEMU ended with {self.child.wait(30)} before the test did{self.trouble()}")
            self.show(data)
        return self.status

    def show(self, data):
        """Whole lines go out at once."""
        lines = (self.rest + data).splitlines(keepends=True)
        self.rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            found = END.search(line)
            if found:
                self.status = int(found[1])
                line = line[:found.start()]
            sys.stdout.buffer.write(line)
        sys.stdout.flush()

    def trouble(self):
        """The end of the guest's console, for a message."""
        text = self.console.read_text(encoding="utf-8", errors="replace") if self.console.exists() else ""
        lines = [line for line in text.splitlines() if line.strip()][-LINES:]
        return "\n".join(["; the guest's console:", *lines]) if lines else "; its console is empty"

    def close(self):
        """Orderly when the guest powers off, by force when it does not."""
        try:
            self.child.wait(20 if self.status is not None else 0)
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGTERM)      # outboard ends QEMU
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.sock.close()


def main():
    """Parse, run, pass the test's exit status on."""
    parser = argparse.ArgumentParser(description="Run a program in a guest that has a device.")
    parser.add_argument("--outboard", required=True)
    parser.add_argument("--qemu")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("device")
    parser.add_argument("test", type=Path)
    parser.add_argument("file", type=Path, nargs="*")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))    # by way of close()
    with tempfile.TemporaryDirectory(prefix="outboard-test-") as work:
        run = Run(args, Path(work))
        try:
            status = run.take(args.timeout)
        finally:
            run.close()
    if run.child.returncode != 0 and status == 0:
        raise TestError(f"the test passed, but outboard run ended with {run.child.returncode}")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (TestError, debs.DebError, OSError, subprocess.SubprocessError) as problem:
        say(problem)
        sys.exit(125)
    except KeyboardInterrupt:
        sys.exit(130)
