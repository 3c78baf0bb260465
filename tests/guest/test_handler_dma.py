"""Transfers that a handler in Python waits for, of memory that the VMM keeps to itself, under a guest that polls.

QEMU serves such a transfer only while no processor waits for a register: a device whose handler held up other accesses
would stop the machine, and be dead.
"""

import json
import time

import outboard
import pytest
from channel import GuestError
from harness import ROOT, Process
from test_vfio_user import QEMU, UnsharedGuest, device, fixture_program, prepare  # noqa: F401  (a fixture: its driver)


@pytest.fixture(name="daemon")
def fixture_daemon(tmp_path):
    """The teaching device in Python, behind a socket."""
    process = Process([outboard.binary(), "serve", "--device", f"{ROOT}/examples/device-python/edu.py,dma-mask=0xffffffff",
                       "--attach", f"vfio-user,socket={tmp_path}/s"], "outboard serve", tmp_path / "serve.log")
    end = time.monotonic() + 30
    while "ready:" not in process.said():
        if not process.running() or time.monotonic() > end:
            raise GuestError(f"outboard serve did not come up\n{process.tail()}")
        time.sleep(0.01)
    yield process
    process.kill()


def test_registers_are_read_during_transfers(guest_dir, tmp_path, daemon, program):
    """One processor does nothing but read registers; the other has memory moved."""
    with UnsharedGuest(guest_dir, qemu=QEMU, cpus=2, args=["-device", json.dumps(device(tmp_path / "s"))]) as guest:
        bdf, = prepare(guest, program)
        job = guest.start_command(f"while edu regs {bdf}; do test ! -e /tmp/enough || exit 0; done")
        job.wait_output("factorial")
        guest.run(f"edu dma {bdf} 10")
        guest.run("touch /tmp/enough")
        job.wait()
        guest.poweroff()
    assert daemon.said().count("\n") <= 2, daemon.said()    # "ready:", and what to give to QEMU
