"""Guests and daemons for the tests: what starts them, talks to them, and ends them again.

Every process is started with a note to the kernel that it dies with us, is ended by its id, and
leaves a log that a failing test shows (conftest.py).
"""

import ctypes
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import kit  # noqa: F401  (it finds those that follow)
import cache
import image
import trixie
from channel import POWEROFF, TIMEOUT, Channel, GuestError, pair

START_TIMEOUT = 90     # for hangs only: a guest is up in seconds
ROOT = Path(__file__).resolve().parents[2]
LOGS = {}               # path of a log: its title; of what runs or ran in the present test
KERNEL_ARGS = ("console=ttyS0 quiet panic=-1 nokaslr mitigations=off audit=0 selinux=0 "
               "apparmor=0 tsc=reliable no_timer_check random.trust_cpu=on "
               "block.events_dfl_poll_msecs=1000 scsi_mod.scan=sync")


def _die_with_us():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Process:
    """A child process whose outputs go to a log file."""

    def __init__(self, argv, title, log, pass_fds=(), env=None):
        self.argv, self.title, self.log = [str(arg) for arg in argv], title, Path(log)
        LOGS[self.log] = title
        with open(self.log, "ab") as out:
            out.write(("$ " + " ".join(self.argv) + "\n").encode())
            out.flush()
            self.begin = out.tell()     # where its own words start
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                pass_fds=pass_fds, env=dict(os.environ, **(env or {})), preexec_fn=_die_with_us)

    @property
    def pid(self):
        """Its process id."""
        return self.child.pid

    def running(self):
        """True until it ended."""
        return self.child.poll() is None

    def wait(self, timeout):
        """Wait for its end and return its exit status."""
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GuestError(f"{self.title}: still runs after {timeout} s\n{self.tail()}") from None

    def kill(self, signo=signal.SIGKILL):
        """Send it a signal, SIGKILL unless told, and when that is to kill wait for the end."""
        if self.running():
            self.child.send_signal(signo)
        if signo == signal.SIGKILL:
            self.child.wait()

    def said(self):
        """What it printed so far."""
        return self.log.read_bytes()[self.begin:].decode(errors="replace")

    def tail(self, lines=40):
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def qemu_command(version):
    """(argv, environment) of a QEMU: "7.2" is the host's own, "11.1" that of the trixie tree."""
    if version == "11.1":
        return trixie.qemu()
    return [os.environ.get("OUTBOARD_QEMU", "qemu-system-x86_64")], {}


def boot_id():
    """What tells one start of this host from another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def accelerator():
    """ "kvm" when a 64-bit guest really starts on it, else "tcg"; tried once for each host start."""
    if (forced := os.environ.get("OUTBOARD_TEST_ACCEL", "auto")) != "auto":
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    name = f"accel-{cache.key(boot_id(), str(os.getuid()))}"
    path = cache.entry(name, lambda fresh: (fresh / "name").write_text(_try_kvm()))
    cache.forget_old("accel", name)
    return (path / "name").read_text()


def _try_kvm():
    with tempfile.TemporaryDirectory() as work:
        guest = Guest(work, accel="kvm")
        try:
            guest.start(timeout=15)
            guest.run("true", timeout=15)
        except GuestError:
            return "tcg"
        finally:
            guest.close()
            for log in (guest.console, Path(work) / "qemu.log"):
                LOGS.pop(log, None)
    return "kvm"


class Guest:
    """A Linux in a stock QEMU, with commands and files through its agent.

    work     directory for its logs
    qemu     "7.2" or "11.1"
    memory   in MiB
    args     more arguments for QEMU
    drives   files to attach as read-only virtio disks: /dev/vda, /dev/vdb, ...
    disks    the same, writable, after the former
    sockets  vhost-user-scsi back ends to attach, by path of their sockets
    wrapper  words before QEMU's command line ("outboard run ... --")
    kernel   the suite whose kernel it is (image.py)
    """

    def __init__(self, work, qemu="7.2", memory=384, cpus=1, args=(), drives=(), disks=(),
                 sockets=(), accel=None, append="", machine="pc", wrapper=(),
                 kernel=image.SUITE):
        self.work, self.qemu, self.memory, self.cpus = Path(work), qemu, memory, cpus
        self.accel, self.append, self.machine = accel, append, machine
        self.kernel = kernel
        self.args, self.sockets, self.wrapper = list(args), list(sockets), list(wrapper)
        self.drives = [(path, True) for path in drives] + [(path, False) for path in disks]
        self.console = self.work / "console.log"
        self.process = self.channel = self.monitor = None
        self.started_s = None
        self.history = []       # commands that were started

    def _arguments(self, agent_fd, monitor_fd):
        made = image.guest(self.kernel)
        accel = self.accel or accelerator()
        yield from ("-nodefaults", "-no-reboot", "-display", "none", "-vga", "none",
                    "-m", f"{self.memory}M", "-smp", str(self.cpus))
        yield from ("-accel", "tcg,thread=multi" if accel == "tcg" else accel, "-cpu", "max")
        yield from ("-object", f"memory-backend-memfd,id=ram,size={self.memory}M,share=on",
                    "-machine", f"{self.machine},memory-backend=ram")
        yield from ("-kernel", made / "vmlinux", "-initrd", made / "initrd",
                    "-append", f"{KERNEL_ARGS} {self.append}")
        yield from ("-chardev", f"file,id=console,path={_comma(self.console)}",
                    "-serial", "chardev:console")
        yield from ("-chardev", f"socket,id=agent,fd={agent_fd}", "-device", "virtio-serial-pci",
                    "-device", "virtserialport,chardev=agent,name=agent")
        yield from ("-chardev", f"socket,id=monitor,fd={monitor_fd}",
                    "-mon", "chardev=monitor,mode=control")
        for n, (path, readonly) in enumerate(self.drives):
            yield from ("-drive", f"file={_comma(path)},if=none,id=disk{n},format=raw,"
                        f"readonly={'on' if readonly else 'off'},file.locking=off")
            yield from ("-device", f"virtio-blk-pci,drive=disk{n}")
        for n, path in enumerate(self.sockets):
            reconnect = ",reconnect-ms=200" if self.qemu == "11.1" else ""
            yield from ("-chardev", f"socket,id=vhost{n},path={_comma(path)}{reconnect}",
                        "-device", f"vhost-user-scsi-pci,id=scsi{n},chardev=vhost{n}")
        yield from self.args

    def start(self, timeout=START_TIMEOUT):
        """Start QEMU and wait for the agent."""
        argv, env = qemu_command(self.qemu)
        agent, agent_end = pair()
        monitor, monitor_end = pair()
        LOGS[self.console] = f"console of the guest ({self.qemu})"
        self.console.touch()
        begin = time.monotonic()
        with agent_end, monitor_end:
            fds = (agent_end.fileno(), monitor_end.fileno())
            argv = [*self.wrapper, *argv, *self._arguments(*fds)]
            self.process = Process(argv, f"qemu {self.qemu}",
                                   self.work / "qemu.log", pass_fds=fds, env=env)
        self.channel = Channel(agent)
        self.monitor = Monitor(monitor)
        if not self.channel.ready.wait(timeout):
            raise GuestError(f"the guest is not up after {timeout} s\n{self.process.tail()}\n"
                             f"{self.console_tail()}")
        if not self.channel.alive:
            self.process.wait(30)
            raise GuestError(f"QEMU ended before the guest was up\n{self.process.tail()}\n"
                             f"{self.console_tail()}")
        self.started_s = time.monotonic() - begin
        return self

    def run(self, command, check=True, timeout=TIMEOUT, stdin=b""):
        """Run a shell command; return (exit status, output, errors)."""
        self.history.append(command)
        return self.channel.run(command, check, timeout, stdin)

    def text(self, command, timeout=TIMEOUT):
        """The output of a shell command that succeeds, as text without space at its ends."""
        return self.run(command, timeout=timeout)[1].decode(errors="replace").strip()

    def start_command(self, command):
        """Start a shell command without waiting for its end; return its Job."""
        return self.channel.start(command)

    def load(self, name, **parameters):
        """Load one of the image's MORE_MODULES and what it needs; parameters go by module name."""
        given = "".join(f" {module}) with='{words}';;" for module, words in parameters.items())
        self.run(f"for file in $(cat /modules.{name}); do with=; module=$(basename $file .ko); "
                 f"case $module in{given} esac; grep -q \"^$(echo $module | tr - _) \" /proc/modules "
                 "|| insmod $file $with || exit 1; done")

    def put(self, source, dest, mode=0o644):
        """Write bytes, text or a host's file (a Path) to a file of the guest."""
        self.channel.put(source, dest, mode)

    def get(self, source):
        """The content of a file of the guest."""
        return self.channel.get(source)

    def wait_for(self, command, timeout=30):
        """Repeat a shell command until it succeeds, and return its output."""
        end = time.monotonic() + timeout
        while True:
            code, out, err = self.run(command, check=False)
            if code == 0:
                return out.decode(errors="replace")
            if time.monotonic() > end:
                raise GuestError(f"{command!r}: still fails after {timeout} s\n"
                                 f"{(out + err).decode(errors='replace')}")
            time.sleep(0.2)

    def kernel_log(self):
        """The guest's kernel messages so far."""
        return self.text("dmesg")

    def qmp(self, command, **arguments):
        """Run a command of QEMU's monitor and return what it returns."""
        return self.monitor.command(command, arguments)

    def console_tail(self, lines=40):
        """The end of what the guest wrote to its console."""
        text = self.console.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def poweroff(self, timeout=60):
        """Switch the guest off in an orderly way and wait for QEMU's end."""
        self.channel.send(POWEROFF, 0)
        status = self.process.wait(timeout)
        if status != 0:
            raise GuestError(f"qemu {self.qemu} ended with {status}\n{self.process.tail()}")

    def close(self):
        """End it however it stands."""
        if self.process:
            self.process.kill()
        if self.channel:
            self.channel.close()
        if self.monitor:
            self.monitor.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.close()


class Monitor:
    """QEMU's QMP connection."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(60)
        self.lines = None
        self.events = []

    def _receive(self):
        line = self.lines.readline()
        if not line:
            raise GuestError("QEMU closed its monitor")
        return json.loads(line)

    def command(self, name, arguments):
        """Execute a command; events that come meanwhile are kept in `events`."""
        if self.lines is None:
            self.lines = self.sock.makefile("r", encoding="utf-8")
            self._receive()
            self.command("qmp_capabilities", {})
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        self.sock.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self._receive()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise GuestError(f"QMP {name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def close(self):
        """Close the connection."""
        if self.lines is not None:
            self.lines.close()
        self.sock.close()


def _comma(path):
    """A path as part of a QEMU option: commas are doubled."""
    return str(path).replace(",", ",,")
