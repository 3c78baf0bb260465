"""NBD over a unix socket: our server, nbdkit and qemu-nbd with the same client and the same file, in turns."""
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

MEGABYTES = 256
BLOCK = 4096
ROUNDS = 5
SECONDS = 1.5
# name: length, depth, connections, order
WORKS = {"4 KiB random, QD 32, 1 connection": (4096, 32, 1, "random"),
         "4 KiB random, QD 32, 4 connections": (4096, 32, 4, "random"),
         "4 KiB random, QD 1": (4096, 1, 1, "random"),
         "256 KiB in order, QD 8": (256 << 10, 8, 1, "linear")}


class Server:
    """A server's process, and its processor time."""

    def __init__(self, argv, socket):
        self.socket = socket
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not Path(socket).exists() and self.process.poll() is None:
            time.sleep(0.01)

    def cpu_s(self):
        """Seconds used by all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, client, export, work):
        """Requests a second, and processor time for each in microseconds."""
        before = self.cpu_s()
        done = subprocess.run([client, self.socket, export, *map(str, work[:3]), str(SECONDS), work[3]],
                              capture_output=True, text=True, check=True)
        rate = float(done.stdout)
        return rate, (self.cpu_s() - before) / (rate * SECONDS) * 1e6

    def close(self):
        self.process.terminate()
        self.process.wait()


def make_image(path):
    """Blocks with their numbers, and nothing that compresses."""
    noise = random.Random(1).randbytes(1 << 20)
    with open(path, "wb") as out:
        for first in range(0, MEGABYTES << 20, len(noise)):
            chunk = bytearray(noise)
            for at in range(0, len(noise), BLOCK):
                chunk[at:at + 8] = ((first + at) // BLOCK).to_bytes(8, "big")
            out.write(chunk)


def start(build, work, raw, qcow2):
    """Servers by name, with the name of their export."""
    sockets = {name: f"{work}/{name}.sock" for name in ("ours", "ours-qcow2", "nbdkit", "qemu-nbd", "qemu-nbd-qcow2")}
    servers = {}
    for name, image, fmt in (("ours", raw, "raw"), ("ours-qcow2", qcow2, "qcow2")):
        if image:
            argv = [build / "src/cli/outboard", "serve", "--disk", f"{image},format={fmt},readonly=on",
                    "--attach", f"nbd,socket={sockets[name]}"]
            servers[name] = (Server(argv, sockets[name]), "hd0")
    if shutil.which("nbdkit"):
        servers["nbdkit"] = (Server(["nbdkit", "-f", "-U", sockets["nbdkit"], "file", raw], sockets["nbdkit"]), "")
    if shutil.which("qemu-nbd"):
        for name, image, fmt in (("qemu-nbd", raw, "raw"), ("qemu-nbd-qcow2", qcow2, "qcow2")):
            argv = ["qemu-nbd", "-r", "-t", "-e", "16", "-f", fmt, "--aio=io_uring", "-k", sockets[name], image]
            servers[name] = (Server(argv, sockets[name]), "")
    return servers


def measure(client, servers, shape):
    """Medians of the rounds for one work."""
    figures = {server: [] for server in servers}
    for _ in range(ROUNDS):
        for server, (process, export) in servers.items():
            figures[server].append(process.measure(client, export, shape))
    return {server: {"rate": statistics.median(f[0] for f in rounds), "cpu_us": statistics.median(f[1] for f in rounds)}
            for server, rounds in figures.items()}


def run(build, folder):
    """Medians of the rounds: {work: {server: {"rate": ..., "cpu_us": ...}}}."""
    results = {}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        raw, qcow2 = Path(work) / "a.raw", Path(work) / "a.qcow2"
        make_image(raw)
        if shutil.which("qemu-img"):
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
        servers = start(build, work, raw, qcow2 if qcow2.exists() else None)
        try:
            for name, shape in WORKS.items():
                results[name] = measure(build / "bench/nbd_read", servers, shape)
        finally:
            for process, _ in servers.values():
                process.close()
    return results


def report(results):
    """Lines for people."""
    lines = []
    for name, servers in results.items():
        ours = servers["ours"]
        text = ", ".join(f"{server} {s['rate']:.0f}/s ({s['cpu_us']:.1f} us)" for server, s in servers.items())
        peers = [s["rate"] for server, s in servers.items() if server in ("nbdkit", "qemu-nbd")]
        ratio = f"; {ours['rate'] / max(peers):.2f} of the best peer (goal 1)" if peers else ""
        lines.append(f"nbd, {name}: {text}{ratio}")
    return lines
