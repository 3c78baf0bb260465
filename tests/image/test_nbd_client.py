"""Our NBD client: data, maps, TLS and reconnection, with qemu-nbd, nbdkit and nbd-server as peers."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from conftest import BIN, MIB, content, image, info, peer, run
from nbd_server import CAN_MULTI, READ, STATUS, WRITE, ZERO, Server, poll_for, running, start, stop, uri
from test_hostile import make

SIZE = 5 * MIB - 512

pytestmark = pytest.mark.skipif("built without libnbd" in subprocess.run(
    [BIN, "image", "info", "nbd://127.0.0.1:1/"], capture_output=True, text=True, check=False).stderr,
    reason="this outboard has no NBD client")


def need(*programs):
    """Skips the test without them."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"no {program} here")


@pytest.fixture(name="loop", params=("uring", "epoll"))
def fixture_loop(request, monkeypatch):
    """The test runs on both event loops."""
    monkeypatch.setenv("OUTBOARD_LOOP", request.param)


@pytest.fixture(name="source", scope="module")
def fixture_source(tmp_path_factory):
    """A raw and a qcow2 image of the same content."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "full.raw").write_bytes(content(SIZE, 7))
    peer("convert", "-f", "raw", "-O", "raw", folder / "full.raw", folder / "source.raw")
    peer("convert", "-f", "raw", "-O", "qcow2", folder / "full.raw", folder / "source.qcow2")
    return folder / "source.raw"


def qemu(path, image_path, *more, fmt="raw"):
    """The command of a qemu-nbd that outlives its clients."""
    need("qemu-nbd")
    return ["qemu-nbd", "-t", "-f", fmt, "-k", path, *more, image_path]


def nbdkit(path, *more):
    """The command of an nbdkit."""
    need("nbdkit")
    return ["nbdkit", "-U", path, *more]


SERVERS = {
    "qemu-raw": lambda sock, raw: qemu(sock, raw),
    "qemu-qcow2": lambda sock, raw: qemu(sock, raw.with_suffix(".qcow2"), "-x", "an export", fmt="qcow2"),
    "nbdkit": lambda sock, raw: nbdkit(sock, "file", raw),
    "nbdkit-multi": lambda sock, raw: nbdkit(sock, "--filter=multi-conn", "file", raw, "multi-conn-mode=emulate"),
    "nbdkit-plain": lambda sock, raw: nbdkit(sock, "--no-sr", "--filter=nozero", "file", raw),
    "nbdkit-small": lambda sock, raw: nbdkit(sock, "--filter=blocksize-policy", "file", raw, "blocksize-minimum=1",
                                             "blocksize-preferred=4096", "blocksize-maximum=64K",
                                             "blocksize-error-policy=error"),
}


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("server", SERVERS)
def test_data_both_ways(tmp_path, source, server):
    for name in ("source.raw", "source.qcow2"):
        shutil.copy(source.with_name(name), tmp_path / name)
    sock, local, other = tmp_path / "s.sock", tmp_path / "source.raw", tmp_path / "other.raw"
    name = uri(sock, "an%20export" if server == "qemu-qcow2" else "")
    other.write_bytes(content(SIZE, 8))
    with running(SERVERS[server](sock, local), tmp_path):
        assert info(name)["virtual-size"] == SIZE
        image("convert", name, tmp_path / "out.raw")
        assert (tmp_path / "out.raw").read_bytes() == source.read_bytes()
        assert "identical" in image("compare", name, source)
        image("convert", "-n", "-f", "raw", "-O", "raw", other, name)
        assert "identical" in image("compare", name, other)
        options = f"driver=nbd,server.type=unix,server.path={sock},connections=4,export="
        options += "an export" if server == "qemu-qcow2" else ""
        assert "identical" in image("compare", "--image-opts", options,
                                    f"driver=raw,file.filename={other}")
        known = info("--image-opts", options)["format-specific"]["data"]
        assert known["connections"] == (4 if known["multi-conn"] else 1)
    if server == "qemu-qcow2":
        peer("check", tmp_path / "source.qcow2")
        peer("compare", tmp_path / "source.qcow2", other)
    else:
        assert local.read_bytes() == other.read_bytes()


def on_some_port(begin):
    """Calls begin(port) for one port after the other, until it finds one free."""
    for port in range(20809 + os.getpid() % 10000, 60000):
        try:
            return port, begin(port)
        except AssertionError as error:
            if "in use" not in str(error):
                raise
    raise AssertionError("no port is free")


def test_nbd_server_over_tcp(tmp_path, source):
    """The reference server: simple replies only."""
    need("nbd-server")
    target, config, other = tmp_path / "target.raw", tmp_path / "config", tmp_path / "other.raw"
    shutil.copy(source, target)
    other.write_bytes(content(SIZE, 9))

    def begin(port):
        config.write_text(f"[generic]\nallowlist = true\nlistenaddr = 127.0.0.1\nport = {port}\n[disk]\n"
                          f"exportname = {target}\nflush = true\nfua = true\n", encoding="utf-8")
        return start(["nbd-server", "-C", config], tmp_path)

    port, pid = on_some_port(begin)
    try:
        name = f"nbd://localhost:{port}/disk"
        image("convert", "--image-opts", f"driver=nbd,server.type=inet,server.host=127.0.0.1,server.port={port},"
              "export=disk,open-timeout=30", tmp_path / "out.raw")
        assert (tmp_path / "out.raw").read_bytes() == source.read_bytes()
        image("convert", "-n", "-f", "raw", other, name)
        assert "identical" in image("compare", name, other)
        image("info", f"nbd:localhost:{port}:exportname=none", status=1)
    finally:
        stop(pid)
    assert target.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("loop")
def test_server_that_demands_large_blocks(tmp_path):
    """Requests for less are made from larger ones; what lies beside them stays."""
    sock, disk = tmp_path / "s.sock", tmp_path / "disk.raw"
    data = content(3 * MIB, 11)
    disk.write_bytes(bytes(2 * MIB) + data)
    with running(nbdkit(sock, "--filter=blocksize-policy", "file", disk, "blocksize-minimum=4096",
                        "blocksize-preferred=64K", "blocksize-maximum=64K", "blocksize-error-policy=error"), tmp_path):
        image("compare", "-f", "raw", uri(sock), disk)
        window = {"driver": "raw", "offset": 2 * MIB + 513, "size": MIB, "file": json.loads(
            json_name(sock).removeprefix("json:"))["file"]}
        (tmp_path / "part.raw").write_bytes(content(MIB, 12))
        image("convert", "-n", "-f", "raw", tmp_path / "part.raw", "json:" + json.dumps(window))
        assert "identical" in image("compare", "-f", "raw", tmp_path / "part.raw", "json:" + json.dumps(window))
    assert disk.read_bytes() == bytes(2 * MIB) + data[:513] + content(MIB, 12) + data[513 + MIB:]


@pytest.mark.parametrize("server", ["qemu-qcow2", "nbdkit"])
def test_map_is_theirs(tmp_path, source, server):
    """Where there is nothing, as qemu-img sees it over the same server."""
    sock = tmp_path / "s.sock"
    name = uri(sock, "an%20export" if server == "qemu-qcow2" else "")
    with running(SERVERS[server](sock, source), tmp_path):
        ours = json.loads(run(BIN, "image", "map", "--output=json", name))
        theirs = json.loads(run("qemu-img", "map", "--output=json", name))
    zeros = [[(e["start"], e["length"]) for e in m if e["zero"]] for m in (ours, theirs)]
    assert zeros[0] == zeros[1] and len(zeros[0]) > 2
    data = source.read_bytes()
    for at, n in zeros[0]:
        assert not any(data[at:at + n])


def test_formats_over_it(tmp_path, source):
    """A qcow2 file served as it is: probed, read, written; a chain by options over NBD. An export cannot grow."""
    sock, top, other = tmp_path / "s.sock", tmp_path / "top.qcow2", tmp_path / "other.raw"
    copy, full = tmp_path / "copy.qcow2", tmp_path / "full.qcow2"
    shutil.copy(source.with_suffix(".qcow2"), copy)
    other.write_bytes(content(SIZE, 10))
    with running(qemu(sock, copy), tmp_path):
        assert info(uri(sock))["format"] == "qcow2"
        assert "identical" in image("compare", uri(sock), source)
        image("create", "-f", "qcow2", top, SIZE + 512)
        assert "identical" in image(
            "compare", "--image-opts", f"driver=qcow2,file.filename={top},backing.driver=qcow2,backing.file.driver=nbd,"
            f"backing.file.path={sock}", f"driver=raw,file.filename={source}")
        assert "not supported" in image("convert", "-n", "-f", "raw", "-O", "qcow2", other, uri(sock), status=1)
    peer("create", "-f", "qcow2", "-o", "preallocation=full", full, SIZE)
    with running(qemu(sock, full), tmp_path):
        image("convert", "-n", "-f", "raw", "-O", "qcow2", other, uri(sock))
    peer("check", full)
    peer("compare", full, other)


def test_what_is_refused(tmp_path, source):
    sock = tmp_path / "s.sock"
    with running(qemu(sock, source, "-r", "-x", "x"), tmp_path):
        assert "read-only" in image("convert", "-n", "-f", "raw", source, uri(sock, "x"), status=1)
        assert "no export named" in image("info", uri(sock, "y"), status=1)
        assert "-n writes into" in image("convert", source, uri(sock, "x"), status=1)
        assert "identical" in image("compare", f"nbd:unix:{sock}:exportname=x", source)
        assert "colour" in image("info", "--image-opts", f"driver=nbd,path={sock},export=x,colour=red", status=1)
    assert "connect" in image("info", uri(sock, "x"), status=1)
    for name, part in (("nbd://user@host/", "user name"), ("nbd:///x", "no host"), ("nbd+unix:///x", "?socket="),
                       ("nbd+unix://host/x?socket=y", "no host"), ("nbd://host/x?socket=y", "means nothing"),
                       ("nbd://host:port/x", "no address"), ("nbd:host", "neither"), ("nbds://host/x", "tls-certificates")):
        assert part in image("info", name, status=1)
    for options, part in (("path=a,host=b", "either"), ("server.path=a,path=b", "same thing"), ("", "where the server is"),
                          ("path=a,port=1", "no port"), ("path=a,connections=0", "connections"),
                          ("server.type=vsock,path=a", "server.type"),
                          ("path=a,tls-username=x", "tls=off"), ("path=a,tls=on", "tls-certificates"),
                          ("path=a,tls-psk-file=x", "tls-username"), ("host=,port=1", "empty")):
        assert part in image("info", "--image-opts", "driver=nbd," + options, status=1)


def test_errors_of_the_server(tmp_path, source):
    """What it could not write is told as what it was."""
    sock, copy = tmp_path / "s.sock", tmp_path / "copy.raw"
    shutil.copy(source, copy)
    with running(nbdkit(sock, "--filter=error", "file", copy, "error-pwrite=ENOSPC", "error-pwrite-rate=100%"), tmp_path):
        assert "No space left" in image("convert", "-n", "-f", "raw", source, uri(sock), status=1)
        image("compare", uri(sock), source)
    with running(nbdkit(sock, "--filter=error", "file", copy, "error-pread=EIO", "error-pread-rate=100%"), tmp_path):
        assert "reading" in image("convert", "-f", "raw", uri(sock), tmp_path / "out", status=1)
    assert not (tmp_path / "out").exists()


class Counting(Server):
    """Several connections see each other's writes."""

    flags = Server.flags | CAN_MULTI


def test_connections_share_the_work(tmp_path, source):
    with Counting(tmp_path / "s.sock", source.read_bytes()) as server:
        options = f"driver=nbd,path={server.path},connections=4"
        image("convert", "--image-opts", options, tmp_path / "out.raw")
        assert server.connections == 4
        assert (tmp_path / "out.raw").read_bytes() == source.read_bytes()
        image("convert", "-n", "-f", "raw", tmp_path / "out.raw", uri(server.path))
        assert {r.kind for r in server.requests} >= {READ, WRITE, ZERO, STATUS}
        assert server.data == source.read_bytes()


# TLS

def certificates(folder, host="localhost"):
    """An authority, and certificates of a server and a client that it signed."""
    need("certtool")
    folder.mkdir()

    def certtool(*args):
        subprocess.run(["certtool", *args], cwd=folder, check=True, capture_output=True)

    for who in ("ca", "server", "client"):
        certtool("--generate-privkey", "--key-type=ecdsa", "--outfile", f"{who}-key.pem")
    (folder / "ca.info").write_text("cn = test\nca\ncert_signing_key\nexpiration_days = 2\n", encoding="utf-8")
    certtool("--generate-self-signed", "--load-privkey=ca-key.pem", "--template=ca.info", "--outfile=ca-cert.pem")
    (folder / "server.info").write_text(f"cn = {host}\ndns_name = {host}\ntls_www_server\nsigning_key\nencryption_key\n"
                                        "expiration_days = 2\n", encoding="utf-8")
    (folder / "client.info").write_text("cn = client\ntls_www_client\nsigning_key\nencryption_key\nexpiration_days = 2\n",
                                        encoding="utf-8")
    for who in ("server", "client"):
        certtool("--generate-certificate", f"--load-privkey={who}-key.pem", "--load-ca-certificate=ca-cert.pem",
                 "--load-ca-privkey=ca-key.pem", f"--template={who}.info", f"--outfile={who}-cert.pem")
    return folder


def tls_server(source, folder, keys):
    """A qemu-nbd on a TCP port."""
    need("qemu-nbd")
    return on_some_port(lambda port: start(
        ["qemu-nbd", "-t", "-r", "-f", "raw", "-b", "127.0.0.1", "-p", port, "--object",
         f"tls-creds-x509,id=t,dir={keys},endpoint=server,verify-peer=yes", "--tls-creds", "t", source], folder))


def test_tls_with_certificates(tmp_path, source):
    keys, others = certificates(tmp_path / "keys"), certificates(tmp_path / "others")
    wrong = certificates(tmp_path / "wrong", "elsewhere")
    port, pid = tls_server(source, tmp_path, keys)
    try:
        name = f"nbds://localhost:{port}/?tls-certificates="
        assert "identical" in image("compare", name + str(keys), source)
        image("convert", "--image-opts", f"driver=nbd,host=localhost,port={port},tls=on,tls-certificates={keys}",
              tmp_path / "out.raw")
        assert (tmp_path / "out.raw").read_bytes() == source.read_bytes()
        assert "TLS" in image("info", f"nbd://localhost:{port}/", status=1)
        image("info", name + str(others), status=1)
        assert "ca-cert.pem" in image("info", name + str(tmp_path), status=1)
    finally:
        stop(pid)
    # Right authority, wrong name.
    port, pid = tls_server(source, tmp_path, wrong)
    try:
        name = f"nbds://localhost:{port}/?tls-certificates={wrong}"
        assert "certificate" in image("info", name, status=1).lower()
        image("info", name + "&tls-verify-peer=off")
    finally:
        stop(pid)


def test_tls_with_a_shared_key(tmp_path, source):
    keys, sock = tmp_path / "keys.psk", tmp_path / "s.sock"
    keys.write_text("alice:0102030405060708090a0b0c0d0e0f10\nmallory:ffffffffffffffffffffffffffffffff\n", encoding="utf-8")
    good = tmp_path / "good.psk"
    good.write_text("alice:0102030405060708090a0b0c0d0e0f10\n", encoding="utf-8")
    with running(nbdkit(sock, "--tls=require", f"--tls-psk={good}", "file", source), tmp_path):
        name = f"nbds+unix://%s@/?socket={sock}&tls-psk-file={keys}"
        assert "identical" in image("compare", name % "alice", source)
        image("info", name % "mallory", status=1)
        assert "tls-username" in image("info", f"nbds+unix:///?socket={sock}&tls-psk-file={keys}", status=1)
        image("info", uri(sock), status=1)


# Reconnection

class Mortal(Server):
    """Goes away for good instead of answering its third read."""

    flags = Server.flags | CAN_MULTI

    def answer_read(self, sock, r):
        if sum(1 for q in self.requests if q.kind == READ) >= 3:
            self.hang_up()
        else:
            super().answer_read(sock, r)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("connections", [1, 4])
def test_restart_in_mid_copy(tmp_path, source, connections):
    """The server dies over a read; one of QEMU takes its place, and the copy is whole."""
    out = tmp_path / "out.raw"
    with Mortal(tmp_path / "s.sock", source.read_bytes()) as server:
        with subprocess.Popen([BIN, "image", "convert", "-m", "4", "--image-opts",
                               f"driver=nbd,path={server.path},reconnect-delay=60,connections={connections}", out],
                              stderr=subprocess.PIPE, text=True) as client:
            poll_for(lambda: not server.path.exists())
            with running(qemu(server.path, source), tmp_path):
                _, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    assert "is lost" in err
    assert out.read_bytes() == source.read_bytes()


def test_killed_while_written_to(tmp_path, source):
    """A real server is killed over writes; what it took and what it did not is all there in the end."""
    sock, target, log = tmp_path / "s.sock", tmp_path / "target.raw", tmp_path / "log"
    target.write_bytes(bytes(SIZE))
    slow = nbdkit(sock, "--filter=log", "--filter=delay", "file", target, f"logfile={log}", "wdelay=300ms")
    pid = start(slow, tmp_path)
    with subprocess.Popen([BIN, "image", "convert", "-n", "-m", "2", "-f", "raw", source,
                           json_name(sock, **{"reconnect-delay": 60})], stderr=subprocess.PIPE, text=True) as client:
        poll_for(lambda: log.exists() and "Write" in log.read_text(encoding="utf-8"))
        stop(pid, signal.SIGKILL)
        sock.unlink()
        with running(nbdkit(sock, "file", target), tmp_path):
            _, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    assert "connected again" in err or "is lost" in err
    assert target.read_bytes() == source.read_bytes()


def json_name(sock, **more):
    """An image name with options of the NBD driver."""
    return "json:" + json.dumps({"driver": "raw", "file": {"driver": "nbd", "server": {"type": "unix", "path": str(sock)},
                                                           **more}})


def test_without_reconnection(tmp_path, source):
    """The error comes at once and says what happened."""
    with Mortal(tmp_path / "s.sock", source.read_bytes()) as server:
        text = image("convert", "-f", "raw", uri(server.path), tmp_path / "out.raw", status=1)
    assert "is lost" in text and "reconnect-delay" in text and "Input/output error" in text
    assert not (tmp_path / "out.raw").exists()


def test_it_does_not_come_back(tmp_path, source):
    with Mortal(tmp_path / "s.sock", source.read_bytes()) as server:
        text = image("convert", json_name(server.path, **{"reconnect-delay": 1}), tmp_path / "out.raw", status=1)
    assert "cannot connect again" in text and "Input/output error" in text


def test_another_export_is_not_taken(tmp_path, source):
    with Mortal(tmp_path / "s.sock", source.read_bytes()) as server:
        with subprocess.Popen([BIN, "image", "convert", json_name(server.path, **{"reconnect-delay": 2}),
                               tmp_path / "out.raw"], stderr=subprocess.PIPE, text=True) as client:
            poll_for(lambda: not server.path.exists())
            with Server(server.path, bytes(MIB)):
                _, err = client.communicate(timeout=60)
    assert client.returncode == 1
    assert f"the export has {MIB} bytes now, it had {SIZE}" in err


class Mute(Server):
    """Never answers a read."""

    def answer_read(self, sock, r):
        pass


def test_a_server_that_keeps_silent(tmp_path, source):
    with Mute(tmp_path / "s.sock", source.read_bytes()) as server:
        text = image("convert", json_name(server.path, timeout=1), tmp_path / "out.raw", status=1)
    assert "owes an answer" in text


def test_opening_waits_for_the_server(tmp_path, source):
    """open-timeout: the program may be there before its server."""
    with subprocess.Popen([BIN, "image", "convert", json_name(tmp_path / "s.sock", **{"open-timeout": 60}),
                           tmp_path / "out.raw"], stderr=subprocess.PIPE, text=True) as client:
        with running(qemu(tmp_path / "s.sock", source), tmp_path):
            _, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    assert (tmp_path / "out.raw").read_bytes() == source.read_bytes()


# Names in images

@pytest.mark.parametrize("fmt", ["raw", "nbd", "qcow2"])
def test_no_image_makes_us_call_a_server(tmp_path, fmt):
    """Neither as a name nor as a format."""
    with Server(tmp_path / "s.sock", bytes(MIB)) as server:
        for i, name in enumerate((uri(server.path), f"nbd:unix:{server.path}", json_name(server.path),
                                  "json:" + json.dumps({"driver": "nbd", "path": str(server.path)}), "s.sock")):
            path = make(tmp_path / f"{i}.qcow2", name, fmt)
            for command in (["map", path], ["map", "--allow-references", path], ["compare", path, path],
                            ["convert", path, tmp_path / "out"]):
                image(*command, status=1)
        assert server.connections == 0
