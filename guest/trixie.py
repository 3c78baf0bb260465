#!/usr/bin/python3
"""QEMU 11.1 of Debian trixie-backports in a tree of its own, run by the tree's own loader.

No root, no chroot: packages are unpacked, and the program is started as
`tree/.../ld-linux-x86-64.so.2 --library-path ... qemu-system-x86_64 -L firmware`.
Called as a program it makes the tree and prints the command line that runs its QEMU.
"""

import os
import shlex
import shutil
import subprocess
import sys

import cache
import debs

SUITES = ("trixie", "trixie-backports")
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios", "qemu-utils",
            "qemu-block-extra", "ovmf")
MAKING = "1"                             # raise when this file builds something else
LIB = "usr/lib/x86_64-linux-gnu"
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var", "etc", "usr/share/perl5",
          "usr/share/info", "usr/lib/x86_64-linux-gnu/perl-base", "usr/share/zoneinfo")


def _build(path):
    work = path / "apt"
    apt = debs.Apt(work, SUITES)
    files = apt.with_dependencies(PACKAGES, release="trixie-backports")
    debs.unpack(files, path / "tree")
    (path / "packages").write_text(debs.versions(files), encoding="ascii")
    for name in UNUSED:
        shutil.rmtree(path / "tree" / name, ignore_errors=True)
    shutil.rmtree(work)
    seen = subprocess.run([*_command(path), "--version"], env=dict(os.environ, **_env(path)),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if seen.returncode != 0:
        raise debs.DebError(f"QEMU of the trixie tree does not start: {seen.stdout.strip()}")


def _command(path, program="qemu-system-x86_64"):
    tree = path / "tree"
    argv = [str(tree / LIB / "ld-linux-x86-64.so.2"), "--library-path",
            f"{tree / LIB}:{tree / LIB}/pulseaudio", "--argv0", program, str(tree / "usr/bin" / program)]
    if program.startswith("qemu-system"):
        argv += ["-L", str(tree / "usr/share/seabios"), "-L", str(tree / "usr/share/qemu"),
                 "-L", str(tree / "usr/lib/ipxe/qemu")]
    return argv


def _env(path):
    return {"QEMU_MODULE_DIR": str(path / "tree" / LIB / "qemu")}


def tree():
    """The cache entry with the tree, made on first use."""
    name = f"trixie-{cache.key(MAKING, *SUITES, *PACKAGES)}"
    path = cache.entry(name, _build)
    cache.forget_old("trixie", name)
    return path


def qemu(program="qemu-system-x86_64"):
    """(argv, environment) that start a program of the tree."""
    path = tree()
    return _command(path, program), _env(path)


if __name__ == "__main__":
    try:
        command, environment = qemu()
    except (debs.DebError, OSError) as err:
        sys.exit(f"trixie-tree: {err}")
    print(" ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items()),
          shlex.join(command))
