"""The teaching device in every form it can have, side by side in one guest that `outboard run` started.

One driver, edu.c, judges them all: built in, a plug-in made from the installed header, Python, C++ (examples/),
and a program that is spoken to in lines of JSON.
"""

import os
import subprocess

import outboard
import pytest
from channel import GuestError
from harness import ROOT, Guest
from test_vfio_user import QEMU, fixture_program, load, prepare  # noqa: F401  (a fixture: its driver)

MASK = "dma-mask=0xffffffffff"
INTERRUPTS = 20


def run(*argv, **more):
    """A command of the host; its output."""
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **more)
    if done.returncode != 0:
        raise GuestError(f"{argv}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def build_plugin(work):
    """The device's source and the installed header are enough."""
    build = outboard.binary().resolve().parents[2]
    run("meson", "install", "--no-rebuild", "--tags", "devel", "-C", build, "--destdir", work / "root")
    pc, = (work / "root").rglob("outboard.pc")
    cflags = run("pkg-config", "--cflags", "outboard",
                 env=dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(work / "root"),
                          PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1")).split()
    run("cc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-DEDU_PLUGIN", *cflags, "-o", work / "edu.so",
        ROOT / "src/device/edu.c")
    return work / "edu.so"


def forms(work):
    """What follows --device for each form, by its name."""
    run("c++", "-std=c++17", "-O2", "-o", work / "edu-cpp", ROOT / "examples/device-cpp/edu.cc")
    python = f"{ROOT}/examples/device-python/edu.py"
    return {"built in": f"edu,{MASK}", "plug-in": f"{build_plugin(work)},{MASK}", "Python": f"{python},{MASK}",
            "C++": f"exec:{work}/edu-cpp,{MASK}",
            "lines of JSON": f"exec:env PYTHONPATH={ROOT}/python /usr/bin/python3 {python} --text,{MASK}"}


@pytest.fixture(name="guest", scope="module")
def fixture_guest(tmp_path_factory):
    """One guest with all of them."""
    work = tmp_path_factory.mktemp("forms")
    words = [word for form in forms(work).values() for word in ("--device", form)]
    (work / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(work / "run"))      # outboard run makes its private folder there
        with Guest(work, qemu=QEMU, wrapper=[outboard.binary(), "run", *words, "--"]) as guest:
            yield guest


def test_all_forms_are_one_device(guest, program, tmp_path):
    """Registers, DMA in both directions at the same time, and interrupts on the line of each."""
    names = list(forms(tmp_path))
    found = prepare(guest, program)
    assert len(found) == len(names)
    for name, bdf in zip(names, found):
        assert "id 0x10000ed" in guest.text(f"edu regs {bdf}"), name
    for job in [guest.start_command(f"edu dma {bdf} 3") for bdf in found]:
        job.wait()
    load(guest, "uio_pci_generic")
    guest.run("echo 1234 11e8 > /sys/bus/pci/drivers/uio_pci_generic/new_id")
    for name, bdf in zip(names, found):
        uio = guest.text(f"ls /sys/bus/pci/devices/{bdf}/uio")
        guest.run(f"test -c /dev/{uio} || mknod /dev/{uio} c $(tr : ' ' < /sys/class/uio/{uio}/dev)")
        assert "counted" in guest.text(f"edu intx {bdf} /dev/{uio} {INTERRUPTS}"), name
    assert "nobody cared" not in guest.kernel_log()
    assert len(list((guest.work / "run").glob("outboard-*/device-*.sock"))) == len(names)
    guest.poweroff()        # outboard run ends with QEMU's status, and leaves nothing
    assert not os.listdir(guest.work / "run")
    assert "failed" not in guest.process.said()
