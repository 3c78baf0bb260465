"""PCI devices behind vfio-user in stock QEMU 11.1: registers, interrupts, DMA, unplug, the end."""

import json
import os
import signal
import time
from pathlib import Path

import image
import outboard
import pytest
from channel import GuestError
from harness import Guest, Process

QEMU = "11.1"
EDU = "edu,dma-mask=0xffffffffff"
HERE = Path(__file__).resolve().parent


def server_binary():
    """The server of the tests, beside the program under test unless OUTBOARD_EDU_SERVER names it."""
    named = os.environ.get("OUTBOARD_EDU_SERVER")
    path = Path(named) if named else \
        outboard.binary().parents[2] / "tests/protocol/vfio_user/edu_server"
    if not path.exists():
        raise GuestError(f"{path} does not exist: build first, or set OUTBOARD_EDU_SERVER")
    return path


class Server:
    """Devices behind sockets of one process."""

    def __init__(self, work, *devices):
        self.sockets = [Path(work) / f"{n}.sock" for n in range(len(devices))]
        words = [f"{device}@{path}" for device, path in zip(devices, self.sockets)]
        self.process = Process([server_binary(), *words], "edu_server", Path(work) / "server.log")
        end = time.monotonic() + 30
        while "ready" not in self.process.said():
            if not self.process.running() or time.monotonic() > end:
                raise GuestError(f"edu_server does not start\n{self.process.tail()}")
            time.sleep(0.05)

    def stop(self):
        """End it in the orderly way; the seconds that took."""
        begin = time.monotonic()
        self.process.kill(signal.SIGTERM)
        status = self.process.wait(20)
        if status != 0:
            raise GuestError(f"edu_server ended with {status}\n{self.process.tail()}")
        return time.monotonic() - begin

    def wait_gone(self, count):
        """Wait until so many clients have gone: QEMU hangs up a while after the guest's unplug."""
        end = time.monotonic() + 30
        while self.process.said().count("client gone") < count:
            if time.monotonic() > end:
                raise GuestError(f"no {count} clients have gone\n{self.process.tail()}")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()


def device(path, **more):
    """The argument for QEMU's -device (device_add's arguments are the same)."""
    return {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(path)}, **more}


def devices(server, **more):
    """Arguments for QEMU that attach all devices of a server."""
    for n, path in enumerate(server.sockets):
        yield from ("-device", json.dumps(device(path, id=f"v{n}", **more)))


class UnsharedGuest(Guest):
    """A guest whose memory comes without a descriptor: DMA goes by messages.

    (A memfd with share=off would not do: QEMU passes its descriptor, behind which is other memory.)
    """

    def _arguments(self, agent_fd, monitor_fd):
        for word in super()._arguments(agent_fd, monitor_fd):
            if str(word).startswith("memory-backend-memfd,"):
                word = f"memory-backend-ram,id=ram,size={self.memory}M"
            yield word


@pytest.fixture(name="program", scope="session")
def fixture_program(tmp_path_factory):
    """The guest's driver in user space, edu.c."""
    path = tmp_path_factory.mktemp("edu") / "edu"
    image._compile("edu", path)     # as the guest's own programs are compiled
    return path


def find(guest, vendor="0x1234", device_id="0x11e8"):
    """PCI addresses of the devices with these ids, in order."""
    return guest.text(f"cd /sys/bus/pci/devices; grep -l {device_id} $(grep -l {vendor} */vendor | "
                      "sed s/vendor/device/) | cut -d/ -f1 | sort").split()


def load(guest, *names):
    """Load modules that the guest's image lacks."""
    for path in image.Modules(image.packages() / "kernel").order(names):
        guest.put(path, f"/tmp/{path.name}")
        guest.run(f"insmod /tmp/{path.name} || grep -q ^{path.stem.replace('-', '_')} /proc/modules")


def prepare(guest, program):
    """Put the driver there and have the kernel enable the devices; their PCI addresses."""
    guest.put(program, "/usr/bin/edu", 0o755)
    found = find(guest)
    for bdf in found:
        guest.run(f"echo 1 > /sys/bus/pci/devices/{bdf}/enable")
    return found


def test_registers_interrupts_and_dma(guest_dir, program):
    """The tutorial's device, through shared memory and INTx; then the daemon ends under the guest."""
    with Server(guest_dir, EDU) as server, \
            Guest(guest_dir, qemu=QEMU, args=devices(server)) as guest:
        bdf, = prepare(guest, program)
        assert "id 0x10000ed" in guest.text(f"edu regs {bdf}")
        guest.run(f"edu dma {bdf} 8", timeout=120)
        load(guest, "uio_pci_generic")
        guest.run("echo 1234 11e8 > /sys/bus/pci/drivers/uio_pci_generic/new_id")
        guest.run("cat /sys/class/uio/uio0/name; mknod /dev/uio0 c "
                  "$(tr : ' ' < /sys/class/uio/uio0/dev) || test -c /dev/uio0")
        print(guest.text(f"edu intx {bdf} /dev/uio0 500", timeout=120))
        assert "nobody cared" not in guest.kernel_log()
        assert server.stop() < 5
        code, _, err = guest.run(f"edu regs {bdf}", check=False)
        assert code == 1 and b"0xffffffff" in err
        assert guest.text("echo alive") == "alive"
        guest.poweroff()


def test_dma_by_messages(guest_dir, program):
    """Without shared memory everything works, slowly."""
    with Server(guest_dir, EDU) as server, \
            UnsharedGuest(guest_dir, qemu=QEMU, args=devices(server)) as guest:
        bdf, = prepare(guest, program)
        guest.run(f"edu dma {bdf} 8", timeout=120)
        guest.poweroff()


def test_msi_behind_an_iommu(guest_dir, program):
    """A driver in the guest's user space, with the guest's own vfio: MSI, INTx, page-sized windows."""
    with Server(guest_dir, EDU) as server, \
            Guest(guest_dir, qemu=QEMU, machine="q35", append="intel_iommu=on iommu=nopt",
                  args=["-device", "intel-iommu,caching-mode=on", *devices(server)]) as guest:
        guest.put(program, "/usr/bin/edu", 0o755)
        bdf, = find(guest)
        load(guest, "vfio_pci", "vfio_iommu_type1")
        guest.run("echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
        guest.run("echo 1234 11e8 > /sys/bus/pci/drivers/vfio-pci/new_id; ls /dev/vfio")
        print(guest.text(f"edu vfio {bdf} 200", timeout=200))
        assert "nobody cared" not in guest.kernel_log()
        guest.poweroff()


def test_ports_and_shared_memory(guest_dir, program):
    """I/O BARs, and BARs whose memory the guest reaches without a message."""
    with Server(guest_dir, "toy") as server, \
            Guest(guest_dir, qemu=QEMU, args=devices(server)) as guest:
        guest.put(program, "/usr/bin/edu", 0o755)
        bdf, = find(guest, device_id="0x7079")
        guest.run(f"echo 1 > /sys/bus/pci/devices/{bdf}/enable")
        print(guest.text(f"edu toy {bdf}"))
        guest.poweroff()


def test_msix_vectors(guest_dir, program):
    """Eight vectors, each on its own, behind a root port."""
    with Server(guest_dir, "toy") as server, \
            Guest(guest_dir, qemu=QEMU, machine="q35", append="intel_iommu=on iommu=nopt",
                  args=["-device", "intel-iommu,caching-mode=on",
                        "-device", "pcie-root-port,id=rp0,chassis=1,slot=1",
                        *devices(server, bus="rp0")]) as guest:
        guest.put(program, "/usr/bin/edu", 0o755)
        bdf, = find(guest, device_id="0x7079")
        load(guest, "vfio_pci", "vfio_iommu_type1")
        guest.run("echo 1 > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
        guest.run("echo 1234 7079 > /sys/bus/pci/drivers/vfio-pci/new_id")
        print(guest.text(f"edu msix {bdf} 50"))
        guest.poweroff()


def test_several_devices_and_unplug(guest_dir, program):
    """Four devices of one daemon; one is unplugged and plugged again, its state is still there."""
    with Server(guest_dir, EDU, EDU, EDU, EDU) as server, \
            Guest(guest_dir, qemu=QEMU, cpus=2, args=devices(server)) as guest:
        found = prepare(guest, program)
        assert len(found) == 4
        for bdf in found:
            guest.run(f"edu regs {bdf}")
        jobs = [guest.start_command(f"edu dma {bdf} 4") for bdf in found]
        for job in jobs:
            job.wait()
        for n in range(3):
            guest.qmp("device_del", id="v3")
            guest.wait_for("test $(grep -l 0x11e8 /sys/bus/pci/devices/*/device | wc -l) = 3")
            server.wait_gone(n + 1)
            guest.qmp("device_add", **device(server.sockets[3], id="v3"))
            guest.run("echo 1 > /sys/bus/pci/rescan")
            guest.wait_for("test $(grep -l 0x11e8 /sys/bus/pci/devices/*/device | wc -l) = 4")
        for bdf in prepare(guest, program):
            guest.run(f"edu regs {bdf} && edu dma {bdf} 1")
        guest.poweroff()


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGUSR1])
def test_end_under_traffic(guest_dir, program, signo):
    """A daemon that ends, or throws its client out, while registers are hammered: QEMU lives."""
    with Server(guest_dir, EDU, EDU) as server, \
            Guest(guest_dir, qemu=QEMU, cpus=2, args=devices(server)) as guest:
        jobs = [guest.start_command(f"while edu regs {bdf}; do :; done")
                for bdf in prepare(guest, program)]
        for job in jobs:
            job.wait_output("factorial")
        server.process.kill(signo)
        for job in jobs:
            code, _, err = job.wait(check=False)
            assert code == 0 and b"0xffffffff" in err
        assert guest.text("echo alive") == "alive"
        if signo == signal.SIGUSR1:     # the device is there for whoever comes next
            guest.qmp("device_del", id="v0")
            guest.wait_for("test $(grep -l 0x11e8 /sys/bus/pci/devices/*/device | wc -l) = 1")
            guest.qmp("device_del", id="v1")
            guest.wait_for("! grep -l 0x11e8 /sys/bus/pci/devices/*/device")
            for n, path in enumerate(server.sockets):
                guest.qmp("device_add", **device(path, id=f"v{n}"))
            guest.run("echo 1 > /sys/bus/pci/rescan")
            guest.wait_for("test $(grep -l 0x11e8 /sys/bus/pci/devices/*/device | wc -l) = 2")
            for bdf in prepare(guest, program):
                guest.run(f"edu regs {bdf}")
        guest.poweroff()
