"""What a guest's initramfs is made of: the archive, the parts of Debian packages, the kernel."""

import lzma
import os
import re
import stat
import struct
import subprocess
from pathlib import Path

import debs


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


def find_in(tree, name, places):
    """The file `name` in one of the places of an unpacked tree."""
    for place in places:
        path = tree / place / name
        if path.is_file():
            return path
    raise debs.DebError(f"{name} is in none of the guest's packages")


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
        self.files = {path.name.split(".")[0].replace("-", "_"): path
                      for pattern in ("*.ko", "*.ko.xz") for path in self.top.rglob(pattern)}
        listed = (self.top / "modules.builtin").read_text(encoding="ascii").split()
        self.builtin = {Path(line).stem.replace("-", "_") for line in listed}

    @staticmethod
    def content(path):
        """The module itself, which newer packages compress."""
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data

    def order(self, names):
        """Files of the modules and what they depend on, in the order to load them."""
        out = []
        for name in names:
            name = name.replace("-", "_")
            if name in self.builtin:
                continue
            if name not in self.files:
                raise debs.DebError(f"the kernel has no module {name}")
            found = re.search(rb"\0depends=([^\0]*)\0", self.content(self.files[name]))
            depends = found.group(1).decode().split(",") if found and found.group(1) else []
            for path in [*self.order(depends), self.files[name]]:
                if path not in out:
                    out.append(path)
        return out

    def pack(self, image, loaded, more=()):
        """Add modules: /modules lists those that the first program loads, in order, and for each of
        `more` /modules.NAME what it needs (one that this kernel has built in, or no more, needs
        nothing).
        """
        lists = {"modules": self.order(loaded)}
        for name in more:
            lists[f"modules.{name}"] = self.order([name] if name in self.files else [])
        for name, files in lists.items():
            places = [f"lib/modules/{path.name.removesuffix('.xz')}" for path in files]
            for path, place in zip(files, places):
                image.add(place, stat.S_IFREG | 0o644, self.content(path))
            image.add(name, stat.S_IFREG | 0o644, "".join(f"/{place}\n" for place in places).encode())


def unpack_kernel(source, dest):
    """Write the ELF kernel inside a bzImage to `dest` (Documentation/arch/x86/boot.rst)."""
    data = source.read_bytes()
    setup_sectors = data[0x1f1]
    offset, length = struct.unpack_from("<2I", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    packed = data[start:start + length - 4]     # the last four bytes are the unpacked length
    if packed.startswith(b"\xfd7zXZ\0"):
        kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed)
    else:
        kernel = subprocess.run(["zstd", "-dcq"], input=packed, stdout=subprocess.PIPE,
                                check=True).stdout
    if not kernel.startswith(b"\x7fELF"):
        raise debs.DebError(f"{source.name}: no ELF kernel inside")
    dest.write_bytes(kernel)
