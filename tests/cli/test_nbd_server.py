"""The NBD server as clients that were not written here see it: libnbd's and QEMU's tools."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT, outboard, refused
from nbd_raw import POLICY, Raw, export_data, serving

MIB = 1 << 20
sys.path.append(str(ROOT / "guest"))  # trixie.py
import trixie  # noqa: E402  pylint: disable=wrong-import-position

nbd = pytest.importorskip("nbd", reason="needs Debian's python3-libnbd")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("nbdcopy", "nbdinfo", "qemu-img"))),
                                reason="needs Debian's libnbd-bin and qemu-utils")


def run(*args, status=0, **more):
    """Run a program; its exit status must be the one given. Returns what it printed."""
    done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          check=False, **more)
    assert done.returncode == status, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def content(length, seed):
    """Random data with holes."""
    rand, data = random.Random(seed), bytearray(length)
    for at in range(0, length, 200_000):
        if rand.random() < 0.6:
            n = min(rand.randrange(1, 200_000), length - at)
            data[at:at + n] = rand.randbytes(n)
    return bytes(data)


def uri(folder, export="hd0"):
    """Of the export on the socket that serving() makes."""
    return f"nbd+unix:///{export}?socket={folder}/nbd.sock"


def connect(where):
    """A libnbd handle."""
    handle = nbd.NBD()
    handle.connect_uri(where)
    return handle


@pytest.fixture(name="raw", scope="session")
def fixture_raw(tmp_path_factory):
    """A file with holes in it."""
    path = tmp_path_factory.mktemp("raw") / "source.raw"
    path.write_bytes(content(24 * MIB, 1))
    return path


def make(folder, fmt, raw=None, size="24M"):
    """An image of the format, of what is in raw or empty."""
    path = folder / f"disk.{fmt}"
    if raw:
        run("qemu-img", "convert", "-f", "raw", "-O", fmt, raw, path)
    else:
        run("qemu-img", "create", "-f", fmt, path, size)
    return path


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_copies(tmp_path, raw, fmt):
    """Out and in, by nbdcopy with one and with four connections, and by qemu-img."""
    path = make(tmp_path, fmt, raw)
    with serving(tmp_path, "--disk", f"{path},format={fmt}"):
        for n, more in enumerate((["--connections=1"], ["--connections=4", "--requests=16"], ["--no-extents"],
                                  ["--synchronous"])):
            run("nbdcopy", *more, uri(tmp_path), tmp_path / f"out{n}")
            assert (tmp_path / f"out{n}").read_bytes() == raw.read_bytes()
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri(tmp_path), tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == raw.read_bytes()
    path = make(tmp_path, fmt)
    for more in (["nbdcopy", "--connections=4", "--flush"], ["nbdcopy", "--allocated", "--synchronous"],
                 ["qemu-img", "convert", "-n", "-W", "-f", "raw", "-O", "raw"]):
        with serving(tmp_path, "--disk", f"{path},format={fmt}"):
            run(*more, raw, uri(tmp_path))
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri(tmp_path), raw)
        run("qemu-img", "compare", "-f", fmt, "-F", "raw", path, raw)
        if fmt == "qcow2":
            run("qemu-img", "check", "-f", fmt, path)


def test_info(tmp_path):
    one, two = make(tmp_path, "qcow2"), make(tmp_path, "raw")
    with serving(tmp_path, "--disk", f"{one},id=first", "--disk", f"{two},format=raw,id=second,rotational=on",
                 attach=",description=for the tests") as daemon:
        assert daemon.ready["ready"] == "nbd"
        assert daemon.ready["uris"] == [uri(tmp_path, "first"), uri(tmp_path, "second")]
        exports = json.loads(run("nbdinfo", "--json", "--list", uri(tmp_path, "")))["exports"]
        assert [e["export-name"] for e in exports] == ["first", "second"]
        assert [e["is_rotational"] for e in exports] == [False, True]
        for e in exports:
            assert e["description"] == "for the tests" and e["export-size"] == 24 * MIB and not e["is_read_only"]
            assert e["contexts"] == ["base:allocation", "qemu:allocation-depth"]
            assert all(e[f"can_{what}"] for what in ("cache", "df", "flush", "fua", "multi_conn", "trim", "zero"))
        assert "cannot read" not in run("nbdinfo", "--size", uri(tmp_path, "none"), status=1)
    with serving(tmp_path, "--disk", one, attach=",export=x y/z,readonly=on"):
        info = json.loads(run("nbdinfo", "--json", uri(tmp_path, "")))["exports"][0]
        assert info["is_read_only"] and not info["can_trim"]
        assert run("nbdinfo", "--size", uri(tmp_path, "x%20y%2Fz")) == f"{24 * MIB}\n"


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_map_is_qemus(tmp_path, fmt):
    """Block status in both contexts, against qemu-nbd, with a backing file beneath."""
    base, top = tmp_path / "base.qcow2", tmp_path / "disk.img"
    run("qemu-img", "create", "-f", "qcow2", base, "24M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 1 1M 2M", "-c", "write -P 2 7M 64k", base)
    if fmt == "qcow2":
        run("qemu-img", "create", "-f", fmt, "-b", base.name, "-F", "qcow2", top, "24M")
    else:
        run("qemu-img", "create", "-f", fmt, top, "24M")
    run("qemu-io", "-f", fmt, "-c", "write -P 3 2M 300k", "-c", "write -z 7M 32k", "-c", "write -z 12M 1M",
        "-c", "write -P 4 23M 1M", top)

    def maps(where):
        found = []
        for context in ("base:allocation", "qemu:allocation-depth"):
            joined = []
            for e in json.loads(run("nbdinfo", f"--map={context}", "--json", where)):
                if joined and joined[-1][1] == e["type"]:
                    joined[-1][0] += e["length"]
                else:
                    joined.append([e["length"], e["type"]])
            found.append(joined)
        return found
    with serving(tmp_path, "--disk", f"{top},format={fmt},readonly=on"):
        ours = maps(uri(tmp_path))
    with subprocess.Popen(["qemu-nbd", "-r", "-A", "-t", "-f", fmt, "-k", tmp_path / "peer", top]) as peer:
        while not (tmp_path / "peer").exists():
            assert peer.poll() is None
            time.sleep(0.01)
        theirs = maps(f"nbd+unix:///?socket={tmp_path}/peer")
        peer.terminate()
    assert ours == theirs and len(ours[0]) > 4


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_random_operations(tmp_path, fmt):
    """By four connections of libnbd in turns, with every kind of command and flag, against a model in memory."""
    size, rand = 8 * MIB, random.Random(17)
    model, path = bytearray(size), make(tmp_path, fmt, size="8M")
    with serving(tmp_path, "--disk", f"{path},format={fmt}"):
        handles = [connect(uri(tmp_path)) for _ in range(4)]
        for step in range(400):
            handle, fua = rand.choice(handles), rand.choice((0, 0, nbd.CMD_FLAG_FUA))
            off = rand.randrange(size)
            length = min(rand.choice((1, 512, 4096, 70_000, 600_000)), size - off)
            kind = rand.randrange(6)
            if kind < 2:
                data = rand.randbytes(length) if kind else bytes(length)
                handle.pwrite(data, off, fua)
                model[off:off + length] = data
            elif kind == 2:
                handle.zero(length, off, fua | rand.choice((0, nbd.CMD_FLAG_NO_HOLE)))
                model[off:off + length] = bytes(length)
            elif kind == 3:
                handle.trim(length, off, fua)
                model[off:off + length] = handle.pread(length, off)  # undefined; ours reads zeros
            elif kind == 4:
                handle.cache(length, off)
                handle.flush()
            seen = bytes(rand.choice(handles).pread(length, off))
            assert seen == model[off:off + length], step
        for handle in handles:
            handle.shutdown()
    (tmp_path / "model").write_bytes(model)
    run("qemu-img", "compare", "-f", fmt, "-F", "raw", path, tmp_path / "model")
    if fmt == "qcow2":
        run("qemu-img", "check", "-f", fmt, path)


def test_qemu_with_extended_headers(tmp_path, raw):
    """QEMU 11.1 asks for them."""
    try:
        argv, env = trixie.qemu("qemu-img")
    except OSError as err:
        pytest.skip(f"no QEMU 11.1: {err}")
    path, env = make(tmp_path, "qcow2", raw), dict(os.environ, **env)
    with serving(tmp_path, "--disk", path):
        run(*argv, "compare", "-f", "raw", "-F", "raw", uri(tmp_path), raw, env=env)
        run(*argv, "bench", "-f", "raw", "-t", "none", "-c", "500", "-d", "32", uri(tmp_path), env=env)
        theirs = json.loads(run(*argv, "map", "--output=json", uri(tmp_path), env=env))
        assert sum(e["length"] for e in theirs) == 24 * MIB and any(e["zero"] for e in theirs)
        new = tmp_path / "new"
        new.write_bytes(content(24 * MIB, 2))
        run(*argv, "convert", "-n", "-W", "-f", "raw", "-O", "raw", new, uri(tmp_path), env=env)
    run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, new)


def test_many_in_flight(tmp_path):
    """Hundreds of requests at a time on each of four connections; what comes back is what belongs there."""
    path = make(tmp_path, "qcow2")
    with serving(tmp_path, "--disk", path):
        handles = [connect(uri(tmp_path)) for _ in range(4)]
        for reading in (False, True):
            wanted, left = [], []
            for i in range(1200):
                block = bytes([i % 251 + 1]) * 16384
                buf = nbd.Buffer.from_bytearray(bytearray(16384 if reading else block))
                handle, off = handles[i % 4], i * 16384
                cookie = handle.aio_pread(buf, off) if reading else handle.aio_pwrite(buf, off)
                wanted.append((buf, block))
                left.append((handle, cookie))
            for handle, cookie in left:
                while not handle.aio_command_completed(cookie):
                    handle.poll(-1)
            if reading:
                assert all(bytes(buf.to_bytearray()) == block for buf, block in wanted)
            handles[0].flush()  # one for all
        for handle in handles:
            handle.shutdown()
    run("qemu-img", "check", "-f", "qcow2", path)


def test_structured_reads(tmp_path, raw):
    with serving(tmp_path, "--disk", f"{raw},format=raw", attach=",readonly=on"):
        handle, whole = connect(uri(tmp_path)), raw.read_bytes()

        def pieces(length, off, flags=0):
            found = []

            def on_chunk(data, at, status, _error):
                found.append((at, len(data), status == nbd.READ_HOLE))
                assert bytes(data) == whole[at:at + len(data)]
            assert bytes(handle.pread_structured(length, off, on_chunk, flags)) == whole[off:off + length]
            return found
        found = pieces(24 * MIB, 0)
        assert sum(n for _, n, _ in found) == 24 * MIB and any(hole for *_, hole in found)
        assert len(pieces(24 * MIB, 0, nbd.CMD_FLAG_DF)) == 1
        with pytest.raises(nbd.Error):
            handle.pwrite(b"x", 0)
        handle.shutdown()


def test_read_error(tmp_path):
    """An error of the disk is an error of its request, and nothing more."""
    path = make(tmp_path, "raw")
    spec = f"driver=fault,op=read,error=eio,from=5M,to=6M,times=0,file.driver=file,file.filename={path}"
    with serving(tmp_path, "--disk", spec):
        handle = connect(uri(tmp_path))
        with pytest.raises(nbd.Error) as caught:
            handle.pread(4096, 5 * MIB)
        assert caught.value.errnum == 5
        assert bytes(handle.pread(4096, MIB)) == bytes(4096)


@pytest.mark.parametrize("moment", [1, 80, 400])
def test_killed_in_mid_write(tmp_path, moment):
    """kill -9 while four connections write: the image is consistent, and what was flushed is in it."""
    path, rand = make(tmp_path, "qcow2", size="1G"), random.Random(moment)
    data, block = rand.randbytes(4 * MIB), nbd.Buffer.from_bytearray(bytearray(rand.randbytes(70_000)))
    with serving(tmp_path, "--disk", path) as daemon:
        handles = [connect(uri(tmp_path)) for _ in range(4)]
        handles[0].pwrite(data, 900 * MIB)
        handles[0].flush()
        under_way, done = [], 0
        while done < moment:
            while len(under_way) < 64:
                handle = rand.choice(handles)
                under_way.append((handle, handle.aio_pwrite(block, rand.randrange(800 * MIB))))
            handle, cookie = under_way.pop(0)
            while not handle.aio_command_completed(cookie):
                handle.poll(-1)
            done += 1
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait(30)
    check = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], capture_output=True, text=True, check=False)
    assert check.returncode in (0, 3), check.stdout + check.stderr  # 3: leaked clusters, which is no damage
    with serving(tmp_path, "--disk", path):
        handle = connect(uri(tmp_path))
        assert bytes(handle.pread(4 * MIB, 900 * MIB)) == data
        handle.shutdown()


def status(folder):
    """Of the daemon."""
    return json.loads(outboard("ctl", "-s", folder / "nbd.sock.ctl", "status", "--json").stdout)


def connections(folder):
    """As the daemon's status shows them."""
    return status(folder)["attachments"][0]["connections"]


def test_status(tmp_path):
    path = make(tmp_path, "raw")
    with serving(tmp_path, "--disk", f"{path},format=raw"):
        handle, idle = connect(uri(tmp_path)), Raw(tmp_path / "nbd.sock")
        handle.pread(512, 0)
        [one, two] = connections(tmp_path)
        assert one == {"peer": f"pid {os.getpid()}", "export": "hd0", "tls": False, "requests": 1, "in_flight": 0}
        assert two["export"] is None
        words = outboard("ctl", "-s", tmp_path / "nbd.sock.ctl", "status").stdout
        assert "export hd0, 1 requests" in words and "no export yet" in words and f"on {tmp_path}/nbd.sock" in words
        idle.sock.close()
        handle.shutdown()


def test_limit_of_clients(tmp_path):
    path = make(tmp_path, "raw")
    with serving(tmp_path, "--disk", f"{path},format=raw", attach=",clients=2"):
        one, two = connect(uri(tmp_path)), connect(uri(tmp_path))
        with Raw(tmp_path / "nbd.sock") as three:
            assert three.ask(7, export_data("hd0")) == [(POLICY, b"as many clients as may are connected already")]
            one.shutdown()
            while len(connections(tmp_path)) > 2:
                pass
            three.go("hd0")
            assert three.read(0, 512) == bytes(512)
        two.shutdown()


def test_end_with_requests_in_flight(tmp_path):
    """SIGTERM: what was asked is answered, and the connection ends."""
    path = make(tmp_path, "raw")
    with serving(tmp_path, "--disk", f"{path},format=raw") as daemon:
        with Raw(tmp_path / "nbd.sock", "hd0") as client:
            for _ in range(20):
                client.request(1, 0, MIB, data=b"x" * MIB)
            assert client.simple()[0] == 0
            daemon.terminate()
            with contextlib.suppress(EOFError, ConnectionResetError):
                while True:
                    assert client.simple()[0] == 0
        assert daemon.wait(30) == 0
    assert path.read_bytes()[:MIB] == b"x" * MIB and not (tmp_path / "nbd.sock").exists()


def test_end_with_many_connections(tmp_path):
    """SIGTERM with clients that do nothing, in every state: all see the end, and it is orderly."""
    path = make(tmp_path, "raw")
    with serving(tmp_path, "--disk", f"{path},format=raw") as daemon:
        clients = [Raw(tmp_path / "nbd.sock", export) for export in ("hd0", None, "hd0", None, "hd0")]
        clients[0].send(b"half a re")
        clients[1].send(b"IHAVE")
        daemon.terminate()
        assert all(client.ended() for client in clients)
        assert daemon.wait(30) == 0


def test_tcp(tmp_path, raw):
    with serving(tmp_path, "--disk", f"{raw},format=raw", where="port=0", attach=",readonly=on") as daemon:
        [where] = daemon.ready["uris"]
        assert where == f"nbd://localhost:{daemon.ready['port']}/hd0"
        run("nbdcopy", "--connections=4", where, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == raw.read_bytes()
        with socket.create_connection(("127.0.0.1", daemon.ready["port"])) as one:
            assert one.recv(8) == b"NBDMAGIC"
            [peer] = [c["peer"] for c in connections(tmp_path)]
            assert peer == f"127.0.0.1:{one.getsockname()[1]}"
        refused("serve", "--disk", f"{raw},format=raw,readonly=on", "--attach", f"nbd,port={daemon.ready['port']}",
                says="in use")


@pytest.mark.parametrize("spec, says", [
    ("nbd", "say where"), ("nbd,socket=s,port=3", "one or the other"),
    ("nbd,socket=s,disks=hd0:hd1:x", "no disk 'x'"),
    ("nbd,socket=s,disks=hd0:hd1:hd0", "twice"), ("nbd,socket=s,export=x", "say which one"),
    ("nbd,port=70000", "port="),
    ("nbd,socket=s,clients=0", "clients="), ("nbd,socket=s,tls=require", "tls-creds=FOLDER"),
    ("nbd,socket=s,drives=cd0", "drives"), ("nbd,socket=" + "x" * 200, "at most")])
def test_wrong_usage(tmp_path, spec, says):
    path = make(tmp_path, "raw")
    disk = f"{path},format=raw"
    refused("serve", "--disk", disk, "--disk", disk, "--attach", spec, status=2, says=says)


def test_one_writer(tmp_path):
    """A disk is written to from one place; readers may be beside it."""
    disk = f"{make(tmp_path, 'raw')},format=raw"
    refused("serve", "--disk", disk, "--attach", f"nbd,socket={tmp_path}/a", "--attach", f"nbd,socket={tmp_path}/b",
            status=2, says="readonly=on")
    refused("serve", "--disk", disk, "--device", "ahci,port0=hd0", "--attach", f"vfio-user,socket={tmp_path}/a",
            "--attach", f"nbd,socket={tmp_path}/b", says="attached at")
    with serving(tmp_path, "--disk", disk, "--device", "ahci,port0=hd0", "--attach", f"vfio-user,socket={tmp_path}/a",
                 attach=",readonly=on"):
        run("nbdinfo", uri(tmp_path))
        ctl = ("ctl", "-s", tmp_path / "nbd.sock.ctl")
        refused(*ctl, "remove-disk", "hd0", says="hangs on")
        outboard(*ctl, "unplug", "dev0", "0")
        refused(*ctl, "remove-disk", "hd0", says="attached at")
