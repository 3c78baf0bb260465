#!/usr/bin/python3
"""The SDK as its users get it: sdk.py SOURCE BUILD TEST_EDU.

The header compiles alone as C99, C11, C17 and C++ without a warning and names nothing but ob_ and OB_; what is
installed (pkg-config, header) is enough to build the edu device as a plug-in; that exports ob_plugin and nothing
else, and passes the device's test; the program itself exports none of our names.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]
EXAMPLE = """#include <outboard.h>
static int on_open(struct ob_dev *dev) { return ob_add_msi(dev, 1, 0); }
static struct ob_class make(void) { struct ob_class c = ob_class(); c.open = on_open; return c; }
static const struct ob_class cls = make();
OB_PLUGIN(&cls);
"""
EXAMPLE_C = """#include <outboard.h>
static int on_open(struct ob_dev *dev) { return ob_add_msi(dev, 1, 0); }
static const struct ob_class cls = { .size = sizeof(cls), .name = "x", .open = on_open };
OB_PLUGIN(&cls);
"""


def run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def install(build, where):
    run("meson", "install", "--no-rebuild", "--tags", "devel", "-C", build, "--destdir", where)
    pcs = list(where.rglob("outboard.pc"))
    if len(pcs) != 1:
        sys.exit(f"outboard.pc is installed {len(pcs)} times")
    env = dict(os.environ, PKG_CONFIG_PATH=str(pcs[0].parent), PKG_CONFIG_SYSROOT_DIR=str(where),
               PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1")
    if run("pkg-config", "--libs", "outboard", env=env).strip():
        sys.exit("a plug-in is told to link to something")
    if run("pkg-config", "--variable=abi", "outboard", env=env).strip() != "1":
        sys.exit("outboard.pc does not tell the ABI")
    return run("pkg-config", "--cflags", "outboard", env=env).split()


def check_languages(tmp, cflags):
    tried = 0
    (tmp / "example.c").write_text(EXAMPLE_C)
    (tmp / "example.cc").write_text(EXAMPLE)
    for compiler in ("gcc", "clang"):
        for std in ("c99", "c11", "gnu17"):
            if shutil.which(compiler):
                run(compiler, f"-std={std}", *WARNINGS, *cflags, "-c", "-o", tmp / "x.o", tmp / "example.c")
                tried += 1
    for compiler in ("g++", "clang++"):
        if shutil.which(compiler):
            run(compiler, "-std=c++11", *WARNINGS, *cflags, "-c", "-o", tmp / "x.o", tmp / "example.cc")
    if not tried:
        sys.exit("no compiler was found")


def exported(path):
    lines = run("nm", "-D", "--defined-only", path).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}


def check_names(header):
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    names = re.findall(r"^(?:static inline [^(]*?\**|struct |enum )(\w+)(?= ?[({;])", text, re.M)
    names += re.findall(r"^#define (\w+)", text, re.M) + re.findall(r"^\t([A-Z]\w+)(?: =|,)", text, re.M)
    wrong = [n for n in names if not n.startswith(("ob_", "OB_", "OUTBOARD_H"))]
    if wrong or len(names) < 100:
        sys.exit(f"names without ob_ in the header: {wrong} (of {len(names)})")


def check_program(build):
    program = build / "src" / "cli" / "outboard"
    if program.exists():
        ours = [n for n in exported(program) if re.match(r"(ob|pci|dma|device|block|disc|scsi|loop|co)_", n)]
        if ours:
            sys.exit(f"the program exports {sorted(ours)}")


def main():
    source, build, test = (Path(a).resolve() for a in sys.argv[1:4])
    with tempfile.TemporaryDirectory() as name:
        tmp = Path(name)
        cflags = install(build, tmp / "root")
        check_names(source / "include" / "outboard.h")
        check_languages(tmp, cflags)
        shutil.copy(source / "src" / "device" / "edu.c", tmp / "mydev.c")
        run("cc", "-shared", "-fPIC", "-fvisibility=hidden", "-DEDU_PLUGIN", *WARNINGS, *cflags, "-o",
            tmp / "mydev.so", tmp / "mydev.c")
        if exported(tmp / "mydev.so") != {"ob_plugin"}:
            sys.exit(f"the plug-in exports {sorted(exported(tmp / 'mydev.so'))}")
        run(test, tmp / "mydev.so")
        check_program(build)


main()
