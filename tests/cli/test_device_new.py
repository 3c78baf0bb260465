"""device new and device test: what they write, take and refuse; nothing here starts a guest."""

import os
import shutil
import subprocess

import pytest
from conftest import BIN, outboard, outboard_json, refused

LANGUAGES = ("c", "python", "exec")
BUILD = BIN.resolve().parents[2]


def make(project, *words, path=None):
    """make in a project; the programs that it runs are looked for in `path`."""
    env = dict(os.environ, PATH=path or os.environ["PATH"])
    done = subprocess.run(["make", "-C", project, *words], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_project(project, name):
    """Nothing of the template shows, and programs can be run."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in project.iterdir()}
    assert {"Makefile", "README.md", "guest.sh"} < set(texts)
    assert not [n for n, text in texts.items() if "@NAME@" in text or "@OUTBOARD@" in text or "@INCLUDE@" in text]
    assert os.access(project / "guest.sh", os.X_OK)
    assert name in texts["README.md"] and f"{name}" in texts["Makefile"]
    assert oct(project.stat().st_mode & 0o777) == "0o755"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_project(tmp_path, lang):
    done = outboard("device", "new", "my-dev2", "--lang", lang, cwd=tmp_path, umask=0o022)
    assert "cd my-dev2\n" in done.stdout and "make test" in done.stdout
    assert os.listdir(tmp_path) == ["my-dev2"]
    check_project(tmp_path / "my-dev2", "my-dev2")


@pytest.mark.parametrize("pkg_config", [True, False])
def test_plug_in_builds_and_is_a_device(tmp_path, pkg_config):
    """With what pkg-config says, and without it by the path that was noted."""
    outboard("device", "new", "adder", "-l", "c", cwd=tmp_path)
    if pkg_config:
        make(tmp_path / "adder", "CFLAGS=-Werror")
    else:
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("cc", "as", "ld", "sh", "make"):
            (tools / name).symlink_to(shutil.which(name))
        assert "-I" in make(tmp_path / "adder", path=str(tools))
    info = outboard_json("device", "info", "./adder.so", cwd=tmp_path / "adder")
    assert info["name"] == "adder" and info["identity"]["id"] == "1234:0add"
    assert info["interrupts"] == {"intx": 1, "msi": 1, "msix": 0}
    make(tmp_path / "adder", "clean")
    assert not (tmp_path / "adder/adder.so").exists()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_make_test_runs_this_program(tmp_path, lang):
    """The commands of the README and what they come to; PATH has no other outboard."""
    outboard("device", "new", "adder", "--lang", lang, cwd=tmp_path)
    project = tmp_path / "adder"
    readme = (project / "README.md").read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for line in readme.splitlines() if line.startswith("    make")]
    assert ["make", "test"] in commands
    for words in commands:
        make(project, "-n", *words[1:])
    path = ":".join(p for p in os.environ["PATH"].split(":") if not os.path.exists(f"{p}/outboard"))
    device = {"c": "./adder.so", "python": "./adder.py", "exec": "exec:./adder"}[lang]
    assert f'"{BIN.resolve()}" device test {device} guest.sh\n' in make(project, "-n", "test", path=path)
    for line in readme.splitlines():
        if line.startswith("    outboard"):
            assert line.split()[1] in ("run", "device", "help")


def test_installed(tmp_path):
    """From an installation somewhere else, with its own header and files."""
    done = subprocess.run(["meson", "install", "--no-rebuild", "--tags", "runtime,devel", "-C", BUILD, "--destdir",
                           tmp_path / "root"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program, = (tmp_path / "root").rglob("bin/outboard")
    subprocess.run([program, "device", "new", "adder", "--lang", "c"], cwd=tmp_path, check=True)
    text = (tmp_path / "adder/Makefile").read_text(encoding="utf-8")
    header, = (tmp_path / "root").rglob("outboard.h")
    assert f"-I'{header.parent}'" in text and str(program) in text
    done = subprocess.run([program, "device", "test", "--qemu", "/bin/false", "edu", "/dev/null"], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 1 and "/dev/null is no file" in done.stderr
    done = subprocess.run([program, "device", "test", "--qemu", "/bin/false", "edu", tmp_path / "adder/guest.sh"],
                          check=False, capture_output=True, text=True)
    assert done.returncode == 125 and "this is no QEMU that starts" in done.stderr


@pytest.mark.parametrize("name", ["", "-x", "2x", "Adder", "a_b", "a/b", "../x", "a b", "a" * 33, "ä", "a.b"])
def test_names(tmp_path, name):
    refused("device", "new", "--lang=c", "--", name, status=2, cwd=tmp_path)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_there_is_not_touched(tmp_path, kind):
    path = tmp_path / "adder"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine", encoding="ascii")
    else:
        path.symlink_to("nowhere")
    refused("device", "new", "adder", "--lang", "c", cwd=tmp_path, says="adder is there already")
    assert os.listdir(tmp_path) == ["adder"]
    assert kind != "folder" or not os.listdir(path)


def test_full_disk_leaves_nothing(tmp_path):
    """A file that cannot be written whole: none of them stays."""
    done = subprocess.run(["sh", "-c", 'ulimit -f 1; exec "$0" device new adder --lang c', BIN], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "File too large" in done.stderr, done.stderr
    assert not os.listdir(tmp_path)


def test_place_that_cannot_be_written():
    refused("device", "new", "adder", "--lang", "c", cwd="/proc/self", says="cannot be made here")


def test_path_that_a_makefile_cannot_take(tmp_path):
    """Then it is left to PATH and pkg-config."""
    done = subprocess.run(["meson", "install", "--no-rebuild", "--tags", "runtime", "-C", BUILD, "--destdir",
                           tmp_path / "a $(b)"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program, = (tmp_path / "a $(b)").rglob("bin/outboard")
    subprocess.run([program, "device", "new", "adder", "--lang", "c"], cwd=tmp_path, check=True)
    text = (tmp_path / "adder/Makefile").read_text(encoding="utf-8")
    assert "echo 'outboard'" in text and "(b)" not in text


@pytest.mark.parametrize("words, says", [
    (("device", "new", "x"), "--lang is missing"),
    (("device", "new", "x", "--lang", "pascal"), "one of c|python|exec"),
    (("device", "new", "--lang", "c"), "it needs NAME"),
    (("device", "new", "x", "y", "--lang", "c"), "'y' is too much"),
    (("device", "test", "edu"), "it needs DEVICE TEST"),
    (("device", "test", "--timeout", "0", "edu", "/bin/true"), "--timeout 0"),
    (("device", "test", "--timeout", "soon", "edu", "/bin/true"), "--timeout soon"),
    (("device", "test", "id=x", "/bin/true"), "say which device first"),
])
def test_mistyped(words, says):
    refused(*words, status=2, says=says)


def test_missing_files(tmp_path):
    refused("device", "test", "edu", tmp_path / "none.sh", says="No such file")
    refused("device", "test", "edu", "/bin/true", tmp_path, says="is no file")
