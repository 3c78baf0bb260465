"""Filters as users get at them: by options of the commands and of the daemon."""

import json
import signal
import subprocess

import pytest
from conftest import BIN, MIB, content, image, peer, run

SIZE = 3 * MIB


@pytest.fixture(name="chain")
def fixture_chain(tmp_path):
    """A raw base and a qcow2 image over it."""
    (tmp_path / "base.raw").write_bytes(content(SIZE, 5))
    peer("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", tmp_path / "top.qcow2")
    return tmp_path


def named(**options):
    """As a name of an image."""
    return "json:" + json.dumps(options)


def over(path, fmt="raw"):
    """A node on a file."""
    return {"driver": fmt, "file": {"driver": "file", "filename": str(path)}}


def test_throttle(chain):
    options = f"driver=throttle,bps-total=1G,iops-read=100K,file.driver=qcow2,file.file.filename={chain}/top.qcow2"
    image("convert", "--image-opts", options, chain / "out.raw")
    assert (chain / "out.raw").read_bytes() == (chain / "base.raw").read_bytes()
    assert "excludes" in image("info", "--image-opts", options + ",bps-read=1", status=1)


def test_fault(chain):
    """The error of the rule is what the user reads."""
    bad = named(driver="raw", file={"driver": "fault", "error": "edquot", "op": "write", "from": MIB, "once": True,
                                    "file": {"driver": "file", "filename": str(chain / "out.raw")}})
    (chain / "out.raw").write_bytes(bytes(SIZE))
    assert "quota exceeded" in image("convert", "-n", "-f", "raw", chain / "base.raw", bad, status=1)
    image("convert", "-n", "-f", "raw", chain / "base.raw", chain / "out.raw")
    assert (chain / "out.raw").read_bytes() == (chain / "base.raw").read_bytes()


def test_log(chain):
    """Of what convert does to a qcow2 file."""
    peer("create", "-f", "qcow2", chain / "new.qcow2", SIZE)
    logged = named(driver="qcow2", file={"driver": "log", "log": str(chain / "log"),
                                         "file": {"driver": "file", "filename": str(chain / "new.qcow2")}})
    image("convert", "-n", "-f", "raw", "-O", "qcow2", chain / "base.raw", logged)
    peer("check", chain / "new.qcow2")
    log = (chain / "log").read_bytes()
    assert log.startswith(b"OBWRTLOG") and log[64:68] == b"WLOG"
    assert len(log) > len((chain / "base.raw").read_bytes().replace(bytes(4096), b""))
    assert "log=" in image("convert", "-n", "-f", "raw", "-O", "qcow2", chain / "base.raw", logged, status=1)


def test_copy_on_read_only_for_writing(chain):
    assert "for writing" in image("info", named(driver="copy-on-read", file=over(chain / "top.qcow2", "qcow2")), status=1)


DISKS = {
    "throttle": "driver=throttle,iops-total=1000,file.driver=qcow2,file.file.filename=top.qcow2",
    "copy-on-read": "driver=copy-on-read,file.driver=qcow2,file.file.filename=top.qcow2",
    "fault": "driver=fault,op=read,nth=9,file.driver=qcow2,file.file.filename=top.qcow2",
    "log": "driver=log,log=log,file.driver=qcow2,file.file.filename=top.qcow2",
    "all": "driver=throttle,bps-total=1M,file.driver=fault,file.op=flush,file.file.driver=copy-on-read,"
           "file.file.file.driver=qcow2,file.file.file.file.filename=top.qcow2",
}


@pytest.mark.parametrize("disk", DISKS)
def test_disks_of_the_daemon(chain, disk):
    """It starts, says where it is, and ends in order."""
    with subprocess.Popen([BIN, "serve", "--disk", DISKS[disk], "--device", "ahci", "--attach", "vfio-user,socket=a.sock"],
                          cwd=chain, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        line = daemon.stdout.readline()
        daemon.send_signal(signal.SIGTERM)
        _, err = daemon.communicate(timeout=60)
    assert "a.sock" in line, err
    assert daemon.returncode == 0, err
    run("qemu-img", "check", chain / "top.qcow2")
