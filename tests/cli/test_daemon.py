"""serve, ctl and run: what they print, refuse, forward and leave behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from conftest import BIN, outboard, outboard_json, refused


def wait_for(condition, what, seconds=20):
    """Until condition() is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextlib.contextmanager
def serving(tmp_path, *args, name="s"):
    """A daemon with one attachment and a control socket, by SIGTERM ended."""
    with subprocess.Popen([BIN, "serve", *map(str, args), "--attach", f"vhost-user,socket={tmp_path}/{name}", "--control",
                           f"{tmp_path}/{name}.ctl", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as child:
        try:
            line = child.stdout.readline()
            assert line, child.stderr.read()
            child.ready = json.loads(line)
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
            child.wait(30)


def ctl(tmp_path, *words, status=0, name="s"):
    """outboard ctl on that daemon."""
    return outboard("ctl", "-s", tmp_path / f"{name}.ctl", *words, status=status)


def test_ready_line_and_end(tmp_path, new_disc):
    path = new_disc()
    with serving(tmp_path, "--optical", path) as daemon:
        assert daemon.ready["socket"] == f"{tmp_path}/s"
        assert f"socket,id=drives,path={tmp_path}/s " in daemon.ready["qemu"]
        assert os.stat(tmp_path / "s").st_mode & 0o777 == 0o600
        assert {"s.drive-cd0.state", "s.drive-cd0.media"} <= set(os.listdir(tmp_path))
        daemon.terminate()
        assert daemon.wait(20) == 0 and daemon.stderr.read() == ""
    assert os.listdir(tmp_path) == ["a.disc"]
    assert outboard_json("disc", "info", path)["status"] == "blank"


def test_plain_ready_line(tmp_path):
    with subprocess.Popen([BIN, "serve", "--optical", "id=x", "--attach", f"vhost-user,socket={tmp_path}/s,queues=3"],
                          stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == f"ready: {tmp_path}/s\n"
        assert "num_queues=3" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0


def test_ctl(tmp_path, new_disc, image):
    path, other = new_disc(), new_disc("cd-r", name="b.disc")
    with serving(tmp_path, "--optical", f"id=top,disc={path}", "--optical", "id=low") as daemon:
        status = json.loads(ctl(tmp_path, "status", "--json").stdout)
        assert [d["id"] for d in status["drives"]] == ["top", "low"]
        assert status["drives"][0]["disc"] == str(path) and status["drives"][1]["disc"] is None
        assert "blank" in ctl(tmp_path, "status").stdout
        assert "say which" in ctl(tmp_path, "eject", status=1).stderr
        assert "eject it first" in ctl(tmp_path, "insert", "top", other, status=1).stderr
        assert "in use" in ctl(tmp_path, "insert", "low", path, status=1).stderr
        ctl(tmp_path, "eject", "top")
        ctl(tmp_path, "insert", "top", other)
        ctl(tmp_path, "insert", "low", image)
        status = json.loads(ctl(tmp_path, "status", "--json").stdout)
        assert status["drives"][0]["profile_name"] == "CD-R" and status["drives"][1]["disc"] == str(image)
        assert "no drive 'mid'" in ctl(tmp_path, "eject", "mid", status=1).stderr
        ctl(tmp_path, "eject", "low", "--force")
        assert "none.iso" in ctl(tmp_path, "insert", "low", "none.iso", status=1).stderr
        ctl(tmp_path, "quit")
        assert daemon.wait(20) == 0
    refused("ctl", "-s", tmp_path / "s.ctl", "status", says="is there an 'outboard serve")


def test_relative_names_are_the_clients(tmp_path, new_disc):
    path = new_disc()
    with serving(tmp_path, "--optical", "id=cd0"):
        outboard("ctl", "-s", "s.ctl", "insert", path.name, cwd=tmp_path)
        assert json.loads(ctl(tmp_path, "status", "--json").stdout)["drives"][0]["disc"] == str(path)


def test_wire(tmp_path):
    with serving(tmp_path, "--optical", "id=cd0") as daemon, socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "s.ctl"))
        lines = sock.makefile("rw", encoding="utf-8")
        lines.write('{"execute": "status", "id": 1}\n{"execute": "nonsense", "id": 2}\nrubbish\n')
        lines.flush()
        answers = [json.loads(lines.readline()) for _ in range(3)]
        assert answers[0]["id"] == 1 and answers[0]["return"]["drives"][0]["id"] == "cd0"
        assert answers[1]["id"] == 2 and "nonsense" in answers[1]["error"]["desc"]
        assert "error" in answers[2]
        with contextlib.suppress(OSError):
            sock.sendall(b"x" * 200_000)
        with contextlib.suppress(ConnectionResetError):
            assert lines.readline() == ""
        ctl(tmp_path, "status")
        assert daemon.poll() is None


def test_second_daemon_is_refused(tmp_path, new_disc, image):
    path = new_disc()
    with serving(tmp_path, "--optical", path) as first:
        for words in (("serve", "--optical", path, "--attach", f"vhost-user,socket={tmp_path}/t"),
                      ("disc", "burn", path, image)):
            text = refused(*words, says="in use")
            assert str(path) in text and f"(pid {first.pid})" in text and "outboard" in text
        assert "blank" in outboard("disc", "info", path).stdout      # looking is allowed
        text = refused("serve", "--optical", "id=x", "--attach", f"vhost-user,socket={tmp_path}/s")
        assert f"{tmp_path}/s" in text
        assert first.poll() is None
        ctl(tmp_path, "status")
    outboard("disc", "burn", path, image)


def test_killed_daemon_puts_the_disc_back(tmp_path, new_disc):
    path, other = new_disc(), new_disc("cd-r", name="b.disc")
    with serving(tmp_path, "--optical", path) as daemon:
        ctl(tmp_path, "eject")
        ctl(tmp_path, "insert", other)
        daemon.kill()
        daemon.wait()
    with serving(tmp_path, "--optical", path):
        drive = json.loads(ctl(tmp_path, "status", "--json").stdout)["drives"][0]
        assert drive["disc"] == str(other)
    with serving(tmp_path, "--optical", path):     # it was ended in an orderly way, and no guest was there
        drive = json.loads(ctl(tmp_path, "status", "--json").stdout)["drives"][0]
        assert drive["disc"] == str(path)


@pytest.fixture(name="vmm")
def fixture_vmm(tmp_path):
    """A VMM by name: answers -version, and else does what its first argument says."""
    path = tmp_path / "qemu-system-test"
    path.write_text("#!/bin/sh\n[ \"$1\" = -version ] && { echo QEMU emulator version 9.2.0; exit; }\n"
                    "printf '%s\\n' \"$@\" > \"$0.args\"\nshift\neval \"$1\"\n", encoding="ascii")
    path.chmod(0o755)
    return path


def run_args(vmm):
    """What the VMM was given."""
    return (vmm.parent / (vmm.name + ".args")).read_text(encoding="utf-8").splitlines()


def test_run(tmp_path, vmm, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    disc = tmp_path / "a,b.disc"
    outboard("run", "--type", "dvd+r", "--capacity", "64M", "--disc", disc, "--", vmm, "-x",
             "ls -ld outboard-*; test -S outboard-*/drives.sock && exit 7", cwd=tmp_path, status=7)
    words = run_args(vmm)
    assert words[2:] == ["-object", "memory-backend-memfd,id=outboard-mem,size=128M,share=on",
                         "-machine", "memory-backend=outboard-mem", "-chardev", words[7],
                         "-device", "vhost-user-scsi-pci,id=outboard0,chardev=outboard0,num_queues=1"]
    assert re.fullmatch(rf"socket,id=outboard0,path={tmp_path}/outboard-\w+/drives.sock,reconnect-ms=1000", words[7])
    assert outboard_json("disc", "info", disc)["bytes"] == 64 << 20
    assert not [name for name in os.listdir(tmp_path) if name.startswith("outboard-")]
    outboard("run", "--type", "dvd+r", "--disc", disc, "--", vmm, "-x", "true")       # as it is
    refused("run", "--type", "cd-r", "--disc", disc, "--", vmm, "-x", "true", says="is a DVD+R, no cd-r")
    outboard("run", "--", vmm, "-x", "kill -TERM $$", status=128 + signal.SIGTERM)


def test_run_private_directory(tmp_path, vmm, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = outboard("run", "--", vmm, "-x", f"stat -c %a {tmp_path}/outboard-*")
    assert done.stdout == "700\n"


def test_run_forwards_sigterm(tmp_path, vmm):
    with subprocess.Popen([BIN, "run", "--", vmm, "-x", f"trap 'exit 9' TERM; touch {tmp_path}/up; while :; do sleep 0.05; "
                           "done"]) as child:
        wait_for((tmp_path / "up").exists, "the VMM starts")
        child.send_signal(signal.SIGINT)        # is the terminal's business
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 9


def test_run_takes_the_vmm_along(tmp_path, vmm):
    with subprocess.Popen([BIN, "run", "--", vmm, "-x", f"echo $$ > {tmp_path}/up; exec sleep 60"]) as child:
        wait_for(lambda: (tmp_path / "up").exists() and (tmp_path / "up").read_text(), "the VMM starts")
        pid = int((tmp_path / "up").read_text())
        child.kill()
        child.wait()
        wait_for(lambda: not os.path.exists(f"/proc/{pid}") or
                 " Z " in open(f"/proc/{pid}/stat", encoding="ascii").read(), "the VMM dies")


def test_run_control(tmp_path, vmm):
    with subprocess.Popen([BIN, "run", "--control", tmp_path / "c", "--", vmm, "-x", f"touch {tmp_path}/up; sleep 60"]) as child:
        wait_for((tmp_path / "up").exists, "the VMM starts")
        assert "cd0" in outboard("ctl", "-s", tmp_path / "c", "status").stdout
        child.terminate()
        child.wait(20)


@pytest.mark.parametrize("given, size", [
    ([], "128M"), (["-m", "2G"], "2G"), (["-m", "768"], "768M"), (["-m", "size=1G,slots=2,maxmem=4G"], "1G"),
    (["-m", "slots=2", "-m", "3000M"], "3000M"), (["-m", "1.5G"], "1536M"), (["--m", "64M"], "64M"),
    (["-machine", "q35,accel=tcg", "-m", "1G"], "1G"), (["-M", "pc,memory.size=256M"], "256M"),
    (["-append", "-m 3G", "-m", "1G"], "1G"),
])
def test_run_print(vmm, given, size):
    line = outboard_json("run", "--print", "--", vmm, *given)
    assert line["argv"][:1 + len(given)] == [str(vmm), *given]
    values = [added["value"] for added in line["added"]]
    assert values[0] == f"memory-backend-memfd,id=outboard-mem,size={size},share=on"
    assert all(added["why"] for added in line["added"])
    text = outboard("run", "--print", "--", vmm, *given).stdout
    shown = subprocess.run(["sh", "-c", "printf '%s\\n' " + text], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == line["argv"]
    assert text.count("# added ") == len(values)
    assert not (vmm.parent / (vmm.name + ".args")).exists()


def test_run_leaves_shared_memory_alone(vmm):
    own = ["-object", "memory-backend-file,id=ram,size=1G,mem-path=/x,share=on", "-machine", "pc,memory-backend=ram"]
    line = outboard_json("run", "--print", "--", vmm, *own)
    assert [added["option"] for added in line["added"]] == ["-chardev", "-device"]
    refused("run", "--print", "--", vmm, own[0], own[1].replace(",share=on", ""), *own[2:], status=2, says="add share=on")
    refused("run", "--", vmm, "-mem-path", "/x", status=2, says="memory-backend-file")
    refused("run", "--", vmm, "-daemonize", status=2, says="-daemonize")
    refused("run", "--", vmm, "-m", "much", status=2, says="-m much")


def test_run_with_what_does_not_start(tmp_path, vmm, new_disc):
    refused("run", "--", "qemu-system-nowhere", says="qemu-system-nowhere")
    (tmp_path / "qemu-system-odd").write_text("#!/bin/sh\necho hello\n", encoding="ascii")
    (tmp_path / "qemu-system-odd").chmod(0o755)
    refused("run", "--", tmp_path / "qemu-system-odd", says="does not answer as a QEMU")
    refused("run", "--disc", tmp_path / "none.disc", "--", vmm, says="none.disc")
    path = new_disc()
    with serving(tmp_path, "--optical", path):
        refused("run", "--disc", path, "--", vmm, says="in use")


def test_restart_at_once(tmp_path, new_disc):
    """The kernel may still take down the killed one: neither its lock nor its socket is in the way."""
    path = new_disc()
    for _ in range(20):
        with serving(tmp_path, "--optical", path) as daemon:
            daemon.kill()
            daemon.wait()
    with serving(tmp_path, "--optical", path):
        assert str(path) in ctl(tmp_path, "status").stdout
