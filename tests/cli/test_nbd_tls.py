"""The NBD server under TLS: certificates and keys, required or allowed, with libnbd's and QEMU's clients."""

import json
import shutil
import socket
import struct

import pytest
from nbd_raw import (ABORT, ACK, EXPORT_NAME, GO, INVALID, LIST, SERVER, SET_META, STARTTLS, STRUCTURED, TLS_REQUIRED,
                     Raw, export_data, meta_data, serving)
from test_nbd_server import MIB, connections, content, run

TOOLS = ("certtool", "psktool", "nbdinfo", "nbdcopy", "qemu-img")
pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)),
                                reason="needs Debian's gnutls-bin, libnbd-bin and qemu-utils")


def certificate(folder, name, template, *, ca=None):
    """NAME-cert.pem and NAME-key.pem in the folder, signed by the authority in the folder ca, or by itself."""
    info, key, cert = folder / f"{name}.info", folder / f"{name}-key.pem", folder / f"{name}-cert.pem"
    info.write_text(template)
    run("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile", key)
    signer = ["--load-ca-certificate", ca / "ca-cert.pem", "--load-ca-privkey", ca / "ca-key.pem"] if ca else []
    run("certtool", "--generate-certificate" if ca else "--generate-self-signed", "--load-privkey", key, *signer,
        "--template", info, "--outfile", cert)


@pytest.fixture(name="pki", scope="session")
def fixture_pki(tmp_path_factory):
    """Folders of an authority with a server and a client, and of a stranger; keys of a user."""
    top = tmp_path_factory.mktemp("pki")
    for name in ("good", "stranger"):
        folder = top / name
        folder.mkdir()
        certificate(folder, "ca", f"cn = {name}\nca\ncert_signing_key\n")
        certificate(folder, "server", "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\n"
                    "encryption_key\nsigning_key\n", ca=folder)
        certificate(folder, "client", f"cn = {name}\ntls_www_client\nencryption_key\nsigning_key\n", ca=folder)
    (top / "anonymous").mkdir()
    shutil.copy(top / "good/ca-cert.pem", top / "anonymous")
    # a stranger's client that trusts our server
    shutil.copy(top / "good/ca-cert.pem", top / "stranger/ca-cert.pem")
    for name in ("keys", "wrong"):
        (top / name).mkdir()
        run("psktool", "-u", "alice", "-p", top / name / "keys.psk")
    return top


@pytest.fixture(name="disk", scope="session")
def fixture_disk(tmp_path_factory):
    """A disk of a few MiB."""
    path = tmp_path_factory.mktemp("disk") / "a.raw"
    path.write_bytes(content(5 * MIB, 9))
    return path


def serve(disk, folder, attach):
    """On TCP, for writing."""
    return serving(folder, "--disk", f"{disk},format=raw", where="port=0", attach=attach)


@pytest.mark.parametrize("creds", ["x509", "psk"])
def test_copies(tmp_path, pki, disk, creds):
    copy, port_of = tmp_path / "a.raw", lambda daemon: daemon.ready["port"]
    shutil.copy(disk, copy)
    attach, query, secret = {
        "x509": (f",tls-creds={pki}/good", f"tls-certificates={pki}/good",
                 f"tls-creds-x509,id=t,endpoint=client,dir={pki}/good"),
        "psk": (f",tls-psk={pki}/keys/keys.psk", f"tls-psk-file={pki}/keys/keys.psk",
                f"tls-creds-psk,id=t,endpoint=client,dir={pki}/keys,username=alice")}[creds]
    with serve(copy, tmp_path, attach) as daemon:
        user = "alice@" if creds == "psk" else ""
        [uri] = daemon.ready["uris"]
        uri = uri.replace("nbds://", f"nbds://{user}") + f"?{query}"
        assert uri.startswith("nbds://")
        info = json.loads(run("nbdinfo", "--json", uri))
        assert info["TLS"] is True and info["exports"][0]["export-size"] == 5 * MIB
        run("nbdcopy", "--connections=4", uri, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == disk.read_bytes()
        node = f"driver=nbd,host=localhost,port={port_of(daemon)},export=hd0,tls-creds=t"
        run("qemu-img", "compare", "--object", secret, "--image-opts", node, f"driver=raw,file.filename={disk}")
        new = tmp_path / "new"
        new.write_bytes(content(5 * MIB, 10))
        run("nbdcopy", "--connections=4", "--flush", new, uri)
        run("qemu-img", "compare", "--object", secret, "--image-opts", node, f"driver=raw,file.filename={new}")
    assert copy.read_bytes() == new.read_bytes()


def test_unix_socket(tmp_path, pki, disk):
    with serving(tmp_path, "--disk", f"{disk},format=raw,readonly=on",
                 attach=f",tls-psk={pki}/keys/keys.psk") as daemon:
        assert daemon.ready["uris"] == [f"nbds+unix:///hd0?socket={tmp_path}/nbd.sock"]
        uri = f"nbds+unix://alice@/hd0?socket={tmp_path}/nbd.sock&tls-psk-file={pki}"
        run("nbdcopy", f"{uri}/keys/keys.psk", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == disk.read_bytes()
        run("nbdinfo", f"{uri}/wrong/keys.psk", status=1)
        run("nbdinfo", f"{uri}/keys/keys.psk".replace("alice", "mallory"), status=1)
        run("nbdinfo", f"{uri}/keys/keys.psk")


def test_who_may(tmp_path, pki, disk):
    """A stranger's certificate, or none, will do only where nobody looks at it."""
    def info(daemon, who, status):
        [uri] = daemon.ready["uris"]
        run("nbdinfo", f"{uri}?tls-certificates={pki}/{who}", status=status)
    with serve(disk, tmp_path, f",readonly=on,tls-creds={pki}/good") as daemon:
        info(daemon, "good", 0)
        info(daemon, "stranger", 1)
        info(daemon, "anonymous", 1)
        run("nbdinfo", daemon.ready["uris"][0].replace("nbds", "nbd"), status=1)
        info(daemon, "good", 0)
    with serve(disk, tmp_path, f",readonly=on,tls-creds={pki}/good,tls-verify-peer=off,tls=allow") as daemon:
        info(daemon, "anonymous", 0)
        assert daemon.ready["uris"][0].startswith("nbd://")
        run("nbdinfo", daemon.ready["uris"][0])


def test_nothing_is_said_in_the_clear(tmp_path, pki, disk):
    with serving(tmp_path, "--disk", f"{disk},format=raw,readonly=on", attach=f",tls-psk={pki}/keys/keys.psk"):
        path = tmp_path / "nbd.sock"
        with Raw(path) as bad:
            for number, data in ((LIST, b""), (GO, export_data("hd0")), (STRUCTURED, b""), (77, b""),
                                 (SET_META, meta_data("hd0"))):
                assert [kind for kind, _ in bad.ask(number, data)] == [TLS_REQUIRED]
            assert bad.ask(ABORT) == [(ACK, b"")] and bad.ended()
        with Raw(path) as bad:
            bad.option(EXPORT_NAME, b"hd0")
            assert bad.ended()
        with Raw(path) as bad:
            assert [kind for kind, _ in bad.ask(STARTTLS, b"x")] == [INVALID]
            assert bad.ask(STARTTLS) == [(ACK, b"")]
            bad.send(b"IHAVEOPT" + bytes(100))
            bad.sock.settimeout(60)
            while not bad.ended():  # an alert comes before the end
                pass


def test_bytes_behind_starttls(tmp_path, pki, disk):
    """Options smuggled in before the handshake (CVE-2021-3716) end the connection; others are served."""
    with serving(tmp_path, "--disk", f"{disk},format=raw,readonly=on",
                 attach=f",tls=allow,tls-psk={pki}/keys/keys.psk"):
        with Raw(tmp_path / "nbd.sock") as bad:
            bad.send(struct.pack(">8sII8sII", b"IHAVEOPT", STARTTLS, 0, b"IHAVEOPT", LIST, 0))
            with pytest.raises((EOFError, ConnectionResetError)):
                while True:
                    assert bad.reply()[1] != SERVER
        with Raw(tmp_path / "nbd.sock", "hd0") as good:
            assert good.read(0, 4096) == disk.read_bytes()[:4096]


def test_stalled_handshake(tmp_path, pki, disk):
    """A client that stops in the TLS handshake keeps nobody waiting."""
    with serve(disk, tmp_path, f",readonly=on,tls-creds={pki}/good") as daemon:
        stalled = []
        for _ in range(10):
            sock = socket.create_connection(("127.0.0.1", daemon.ready["port"]))
            sock.sendall(b"\0\0\0\3IHAVEOPT" + (STARTTLS).to_bytes(4, "big") + bytes(4))
            stalled.append(sock)
        run("nbdinfo", f"{daemon.ready['uris'][0]}?tls-certificates={pki}/good")
        assert len(connections(tmp_path)) >= 10
        for sock in stalled:
            sock.close()


def test_credentials_that_do_not_load(tmp_path, pki, disk):
    folder = tmp_path / "creds"
    folder.mkdir()

    def refusal(attach):
        with pytest.raises(AssertionError) as caught:
            with serving(tmp_path, "--disk", f"{disk},format=raw,readonly=on", attach=attach):
                pass
        return str(caught.value)
    assert "ca-cert.pem" in refusal(f",tls-creds={folder}")
    shutil.copy(pki / "good/ca-cert.pem", folder)
    assert "server-cert.pem" in refusal(f",tls-creds={folder}")
    shutil.copy(pki / "good/server-cert.pem", folder)
    shutil.copy(pki / "stranger/server-key.pem", folder)
    assert "server-key.pem" in refusal(f",tls-creds={folder}")
    assert "no-such" in refusal(f",tls-psk={tmp_path}/no-such")
