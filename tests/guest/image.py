#!/usr/bin/python3
"""The guest of the tests: Debian's kernel, the modules it needs, busybox and the burning tools.

Everything comes from Debian packages (see debs.py), nothing from the host's own files, and is
packed into an initramfs in the cache.  The kernel is unpacked from its xz image: QEMU starts an
ELF kernel directly, which saves the guest seconds of decompression under TCG.
Called as a program it prints the paths of kernel and initramfs.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import kit  # it finds those that follow
import cache
import debs
from initramfs import Cpio, Modules, find_in, pack_busybox, unpack_kernel

SUITE = "bookworm"
NEW_SUITE = "trixie-backports"
KERNEL = "linux-image-amd64"
PACKAGES = ("busybox-static", "coreutils", "diffutils", "util-linux", "eject", "xorriso", "cdrskin",
            "wodim", "genisoimage", "growisofs", "dvd+rw-tools", "sg3-utils", "udev", "mount",
            "cdrdao", "hdparm", "smartmontools", "e2fsprogs", "xfsprogs")
PROGRAMS = ("xorriso", "cdrskin", "wodim", "readom", "genisoimage", "isoinfo", "growisofs",
            "cdrdao", "hdparm", "smartctl", "mke2fs", "e2fsck",
            "mkfs.xfs", "xfs_repair", "fstrim",
            "dvd+rw-format", "dvd+rw-mediainfo", "dd", "sha256sum", "cmp", "diff", "timeout", "od",
            "mount", "umount", "blockdev", "blkid", "eject", "losetup", "udevadm", "sg_raw", "sg_inq",
            "sg_get_config", "sg_turs", "sg_start", "sg_prevent", "sg_readcap", "sg_luns", "sg_vpd",
            "sg_reset", "sg_requests", "sg_modes", "sg_rbuf", "sg_scan", "sginfo", "sg_persist",
            "sg_opcodes", "sg_unmap", "sg_write_same", "sg_verify", "sg_get_lba_status", "sg_sync",
            "sg_compare_and_write")
LINKS = {"mkisofs": "genisoimage", "xorrisofs": "xorriso", "cdrecord": "wodim", "osirrox": "xorriso",
         "readcd": "readom", "mkfs.ext4": "mke2fs", "fsck.ext4": "e2fsck"}
OWN_PROGRAMS = {"agent": "init", "sgio": "usr/bin/sgio"}
# Loaded at start, with what they depend on.
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_scsi", "sr_mod", "sd_mod", "sg",
           "isofs", "udf", "nls_utf8", "nls_ascii", "loop", "ext4")
# Packed as well, loaded by tests that need them: see Guest.load().
MORE_MODULES = ("ahci", "ata_piix", "ata_generic", "virtio_mmio", "crc32c_generic", "xfs")
LIBRARY_PLACES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib", "lib",
                  "usr/lib/x86_64-linux-gnu/systemd", "lib/systemd")
HERE = Path(__file__).resolve().parent


def needed_libraries(program):
    """Names in the DT_NEEDED entries of an ELF file."""
    seen = subprocess.run(["readelf", "-d", str(program)], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, check=False).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", seen)


def pack_programs(tree, image):
    """Add the programs and every library they need."""
    todo, done = [], set()
    for name in PROGRAMS:
        path = find_in(tree, name, ("usr/bin", "usr/sbin", "bin", "sbin"))
        image.copy(path, f"usr/bin/{name}")
        todo += needed_libraries(path)
    path = find_in(tree, "cdrom_id", ("usr/lib/udev", "lib/udev"))
    image.copy(path, "usr/lib/udev/cdrom_id")
    todo += needed_libraries(path)
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        path = find_in(tree, name, LIBRARY_PLACES)
        image.copy(path, f"usr/lib/{name}")
        todo += needed_libraries(path)
    loader = find_in(tree, "ld-linux-x86-64.so.2", LIBRARY_PLACES)
    image.copy(loader, "usr/lib/ld-linux-x86-64.so.2")
    for name, target in LINKS.items():
        image.link(f"usr/bin/{name}", target)


def _compile(name, dest):
    compiler = os.environ.get("CC", "cc").split()
    done = subprocess.run([*compiler, "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra",
                           "-static", "-o", str(dest), str(HERE / f"{name}.c")],
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise debs.DebError(f"the guest's {name}.c does not compile:\n{done.stderr}")


def _fetch(path):
    """Fill a cache entry with the unpacked packages: `tools` and `kernel`."""
    apt = debs.Apt(path / "apt", (SUITE, f"{SUITE}-updates"))
    files = apt.with_dependencies(PACKAGES)
    debs.unpack(files, path / "tools")
    image = next(name for name in apt.depends(KERNEL) if name.startswith("linux-image-"))
    kernel = apt.alone(image)
    debs.unpack([kernel], path / "kernel")
    (path / "packages").write_text(debs.versions([*files, kernel]), encoding="ascii")
    shutil.rmtree(path / "apt")


def _fetch_new_kernel(path):
    """Fill a cache entry with `kernel` of the newer suite, which comes in several packages."""
    apt = debs.Apt(path / "apt", (NEW_SUITE,))
    meta = next(name for name in apt.depends(KERNEL) if name.startswith("linux-image-"))
    parts = [apt.alone(meta), *(apt.alone(name) for name in apt.depends(meta)
                                if name.startswith("linux-"))]
    debs.unpack(parts, path / "kernel")
    (path / "packages").write_text(debs.versions(parts), encoding="ascii")
    shutil.rmtree(path / "apt")


def _pack(path, source, kernel):
    """Fill a cache entry with `vmlinux` and `initrd` made from unpacked packages."""
    places = [*(kernel / "boot").glob("vmlinuz-*"), *(kernel / "lib/modules").glob("*/vmlinuz")]
    unpack_kernel(places[0], path / "vmlinux")
    shutil.copy(places[0], path / "vmlinuz")
    shutil.copy(source / "packages", path / "packages")
    image = Cpio(path / "initrd")
    for source_name, place in OWN_PROGRAMS.items():
        _compile(source_name, path / source_name)
        image.copy(path / source_name, place)
    image.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    image.add("dev/null", stat.S_IFCHR | 0o666, device=(1, 3))
    for name in ("proc", "sys", "tmp", "run", "root", "mnt", "var/tmp", "var/lock"):
        image.add(name, stat.S_IFDIR | 0o755)
    for name, target in (("bin", "usr/bin"), ("sbin", "usr/bin"), ("usr/sbin", "bin"),
                         ("lib64", "usr/lib"), ("etc/mtab", "/proc/self/mounts")):
        image.link(name, target)
    image.add("etc/passwd", stat.S_IFREG | 0o644, b"root:x:0:0:root:/root:/bin/sh\n")
    image.add("etc/group", stat.S_IFREG | 0o644, b"root:x:0:\ncdrom:x:24:\n")
    image.add("etc/wodim.conf", stat.S_IFREG | 0o644, b"CDR_DEVICE=/dev/sr0\n")
    Modules(kernel).pack(image, MODULES, MORE_MODULES)
    pack_programs(source / "tools", image)
    pack_busybox(source / "tools", image)
    image.close()


def packages():
    """The cache entry with the guest's unpacked Debian packages."""
    name = f"packages-{cache.key(SUITE, KERNEL, *PACKAGES)}"
    path = cache.entry(name, _fetch)
    cache.forget_old("packages", name)
    return path


def new_kernel():
    """The cache entry with the newer kernel's unpacked packages."""
    name = f"newkernel-{cache.key(NEW_SUITE, KERNEL)}"
    path = cache.entry(name, _fetch_new_kernel)
    cache.forget_old("newkernel", name)
    return path


def guest(suite=SUITE):
    """The cache entry with the guest's `vmlinux`, `vmlinuz` and `initrd`, made on first use.

    suite  whose kernel it is: SUITE or NEW_SUITE
    """
    source = packages()
    is_new = suite == NEW_SUITE
    kernel = new_kernel() if is_new else source
    prefix = "newguest" if is_new else "guest"
    name = f"{prefix}-" + cache.key(
        source / "packages", kernel / "packages", HERE / "image.py", kit.DIRECTORY / "initramfs.py",
        *(HERE / f"{source_name}.c" for source_name in OWN_PROGRAMS))
    path = cache.entry(name, lambda fresh: _pack(fresh, source, kernel / "kernel"))
    cache.forget_old(prefix, name)
    return path


if __name__ == "__main__":
    try:
        made = guest()
    except (debs.DebError, OSError) as err:
        sys.exit(f"guest-image: {err}")
    print(made / "vmlinux")
    print(made / "initrd")
