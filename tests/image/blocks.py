"""What the tests of VDI, VHD and VHDX images share: comparing with QEMU, and random operations both ways."""

import random
import resource
import shutil

from conftest import MIB, image, peer, peer_io


class Format:
    """A format and what its peer can do."""

    def __init__(self, name, checked=True):
        self.name, self.checked = name, checked

    def good(self, path):
        """No errors for QEMU (where it has a check) and for us."""
        if self.checked:
            peer("check", "-f", self.name, path)
        image("check", "-f", self.name, path)

    def same(self, path, raw, **more):
        """QEMU and we read in path what is in raw."""
        peer("compare", "-f", self.name, "-F", "raw", path, raw, **more)
        image("compare", "-f", self.name, "-F", "raw", path, raw, **more)

    def ours(self, path, raw, options=""):
        """We make it from raw."""
        image("convert", "-f", "raw", "-O", self.name, *(["-o", options] if options else []), raw, path)

    def theirs(self, path, raw, options=""):
        """QEMU makes it from raw."""
        peer("convert", "-f", "raw", "-O", self.name, *(["-o", options] if options else []), raw, path)

    def overwrite(self, path, raw):
        """We write what raw holds over what path held."""
        image("convert", "-n", "-f", "raw", "-O", self.name, raw, path)


def random_operations(fmt, folder, options, seed, size=6 * MIB, turns=4, make=None):
    """Both write to one image in turn, and it always holds what a raw model holds."""
    rand = random.Random(seed)
    folder.mkdir()
    path, model = folder / f"a.{fmt.name}", folder / "model.raw"
    model.write_bytes(bytes(size))
    (make or image)("create", "-f", fmt.name, *(["-o", options] if options else []), path, size)
    for turn in range(turns):
        ops = []
        for _ in range(6):
            off, n = rand.randrange(size // 512) * 512, rand.choice((512, 5120, 70144, 1500 * 1024))
            n = min(n, size - off)
            ops.append(rand.choice((f"write -P {rand.randrange(1, 255)} {off} {n}", f"write -z {off} {n}",
                                    f"write -P {rand.randrange(1, 255)} {off} {n}")))
        peer_io(model, *ops, fmt="raw")
        if turn % 2:
            fmt.overwrite(path, model)
        else:
            peer_io(path, *ops, fmt=fmt.name)
        fmt.good(path)
        fmt.same(path, model)
    return path, model


def limits():
    """Of memory and time, for a program that reads what lies."""
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))


def broken(path, *patches):
    """A copy of path with bytes changed: (offset, bytes) each."""
    copy = path.with_name("broken-" + path.name)
    shutil.copy(path, copy)
    with open(copy, "r+b") as file:
        for off, data in patches:
            file.seek(off)
            file.write(data)
    return copy
