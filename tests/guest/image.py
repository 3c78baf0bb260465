#!/usr/bin/python3
"""The guest of the tests: Debian's kernel, the modules it needs, busybox and the burning tools.

Everything comes from Debian packages (see debs.py), nothing from the host's own files, and is
packed into an initramfs in the cache.  The kernel is unpacked from its xz image: QEMU starts an
ELF kernel directly, which saves the guest seconds of decompression under TCG.
Called as a program it prints the paths of kernel and initramfs.
"""

import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import cache
import debs

SUITE = "bookworm"
KERNEL = "linux-image-amd64"
PACKAGES = ("busybox-static", "coreutils", "diffutils", "util-linux", "eject", "xorriso", "cdrskin",
            "wodim", "genisoimage", "growisofs", "dvd+rw-tools", "sg3-utils", "udev", "mount")
PROGRAMS = ("xorriso", "cdrskin", "wodim", "readom", "genisoimage", "isoinfo", "growisofs",
            "dvd+rw-format", "dvd+rw-mediainfo", "dd", "sha256sum", "cmp", "diff", "timeout", "od",
            "mount", "umount", "blockdev", "blkid", "eject", "losetup", "udevadm", "sg_raw", "sg_inq",
            "sg_get_config", "sg_turs", "sg_start", "sg_prevent", "sg_readcap", "sg_luns", "sg_vpd",
            "sg_reset", "sg_requests", "sg_modes", "sg_rbuf", "sg_scan", "sginfo", "sg_persist")
LINKS = {"mkisofs": "genisoimage", "xorrisofs": "xorriso", "cdrecord": "wodim", "osirrox": "xorriso",
         "readcd": "readom"}
OWN_PROGRAMS = {"agent": "init", "sgio": "usr/bin/sgio"}
# Loaded at start, with what they depend on.
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_scsi", "sr_mod", "sd_mod", "sg",
           "isofs", "udf", "nls_utf8", "nls_ascii", "loop", "ext4")
# Packed as well, loaded by tests that need them.
MORE_MODULES = ("ahci", "ata_piix", "ata_generic", "virtio_mmio", "crc32c_generic")
LIBRARY_PLACES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib", "lib",
                  "usr/lib/x86_64-linux-gnu/systemd", "lib/systemd")
HERE = Path(__file__).resolve().parent


class Cpio:
    """An initramfs in the "newc" layout; no root is needed to put device nodes or owners into it."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.inode = 0
        self.seen = set()

    def add(self, name, mode, data=b"", device=(0, 0)):
        """Add one entry, and the directories above it."""
        name = str(name).strip("/")
        parent = os.path.dirname(name)
        if parent and parent not in self.seen:
            self.add(parent, stat.S_IFDIR | 0o755)
        if name in self.seen:
            return
        self.seen.add(name)
        self.inode += 1
        self._entry(name, mode, data, device)

    def _entry(self, name, mode, data, device):
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        for part in (head, data):
            self.file.write(part + bytes(-len(part) % 4))

    def copy(self, source, name, mode=0o755):
        """Add a host file's content."""
        self.add(name, stat.S_IFREG | mode, Path(source).read_bytes())

    def link(self, name, target):
        """Add a symbolic link."""
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def close(self):
        """Write the end mark."""
        self.inode = 0
        self._entry("TRAILER!!!", 0, b"", (0, 0))
        self.file.close()


def needed_libraries(program):
    """Names in the DT_NEEDED entries of an ELF file."""
    seen = subprocess.run(["readelf", "-d", str(program)], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, check=False).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", seen)


def find_in(tree, name, places):
    """The file `name` in one of the places of an unpacked tree."""
    for place in places:
        path = tree / place / name
        if path.is_file():
            return path
    raise debs.DebError(f"{name} is in none of the guest's packages")


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


def pack_busybox(tree, image):
    """Add busybox, and links for those of its programs that are not there in full."""
    busybox = find_in(tree, "busybox", ("usr/bin", "bin"))
    image.copy(busybox, "usr/bin/busybox")
    names = subprocess.run([str(busybox), "--list"], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.split()
    for name in names:
        image.link(f"usr/bin/{name}", "busybox")


class Modules:
    """The modules of an unpacked kernel package."""

    def __init__(self, tree):
        self.top = next((tree / "lib/modules").iterdir())
        self.files = {path.stem.replace("-", "_"): path for path in self.top.rglob("*.ko")}
        listed = (self.top / "modules.builtin").read_text(encoding="ascii").split()
        self.builtin = {Path(line).stem.replace("-", "_") for line in listed}

    def order(self, names):
        """Files of the modules and what they depend on, in the order to load them."""
        out = []
        for name in names:
            name = name.replace("-", "_")
            if name in self.builtin:
                continue
            if name not in self.files:
                raise debs.DebError(f"the kernel has no module {name}")
            found = re.search(rb"\0depends=([^\0]*)\0", self.files[name].read_bytes())
            depends = found.group(1).decode().split(",") if found and found.group(1) else []
            for path in [*self.order(depends), self.files[name]]:
                if path not in out:
                    out.append(path)
        return out

    def pack(self, image):
        """Add the modules, and the list of those that the agent loads."""
        loaded = self.order(MODULES)
        for path in [*loaded, *self.order(MORE_MODULES)]:
            image.copy(path, f"lib/modules/{path.name}", 0o644)
        image.add("modules", stat.S_IFREG | 0o644,
                  "".join(f"/lib/modules/{path.name}\n" for path in loaded).encode())


def unpack_kernel(source, dest):
    """Write the ELF kernel inside a bzImage to `dest`."""
    data = source.read_bytes()
    at = data.find(b"\xfd7zXZ\0")
    while at >= 0:
        try:
            kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[at:])
        except lzma.LZMAError:
            kernel = b""
        if kernel.startswith(b"\x7fELF"):
            dest.write_bytes(kernel)
            return
        at = data.find(b"\xfd7zXZ\0", at + 1)
    raise debs.DebError(f"{source.name}: no ELF kernel compressed with xz inside")


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


def _pack(path, source):
    """Fill a cache entry with `vmlinux` and `initrd` made from unpacked packages."""
    unpack_kernel(next((source / "kernel/boot").glob("vmlinuz-*")), path / "vmlinux")
    shutil.copy(next((source / "kernel/boot").glob("vmlinuz-*")), path / "vmlinuz")
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
    Modules(source / "kernel").pack(image)
    pack_programs(source / "tools", image)
    pack_busybox(source / "tools", image)
    image.close()


def packages():
    """The cache entry with the guest's unpacked Debian packages."""
    name = f"packages-{cache.key(SUITE, KERNEL, *PACKAGES)}"
    path = cache.entry(name, _fetch)
    cache.forget_old("packages", name)
    return path


def guest():
    """The cache entry with the guest's `vmlinux`, `vmlinuz` and `initrd`, made on first use."""
    source = packages()
    name = "guest-" + cache.key(source / "packages", HERE / "image.py",
                                  *(HERE / f"{source_name}.c" for source_name in OWN_PROGRAMS))
    path = cache.entry(name, lambda fresh: _pack(fresh, source))
    cache.forget_old("guest", name)
    return path


if __name__ == "__main__":
    try:
        made = guest()
    except (debs.DebError, OSError) as err:
        sys.exit(f"guest-image: {err}")
    print(made / "vmlinux")
    print(made / "initrd")
