"""Help, mistyped words and options; pages, completion and the program's own tables agree."""

import json
import re
import subprocess

import pytest
from conftest import BIN, ROOT, outboard, outboard_json, refused

COMMANDS = {c["name"]: c for c in json.loads(outboard("help", "--json").stdout)["commands"]}
COMMON = {"help", "verbose", "loop"}


def page(command):
    """The source of a command's manual page."""
    name = "-".join(["outboard", *command.split()])
    return (ROOT / f"docs/man/{name}.md").read_text(encoding="utf-8")


def documented(command):
    """Names of the options that a page defines."""
    return {name for line in page(command).splitlines() if line.startswith("`-")
            for name in re.findall(r"`--([a-z-]+)`", line)}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("help", "version")])
def test_page_has_every_option(command):
    own = {o["name"] for o in COMMANDS[command]["options"]} - COMMON
    assert documented(command) == own


def test_overview_has_common_options_and_commands():
    assert documented("") == COMMON | {"json", "version"}
    text = page("")
    for command in COMMANDS:
        assert f"`{command}`" in text, command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_the_page(command):
    by_option = outboard(*command.split(), "--help").stdout
    by_command = outboard("help", *command.split()).stdout
    assert by_option == by_command and "Synopsis" in by_option
    assert max(map(len, by_option.splitlines())) <= 100


@pytest.mark.parametrize("source", sorted((ROOT / "docs/man").glob("*.md")), ids=lambda p: p.stem)
def test_page_becomes_man(source):
    roff = subprocess.run([ROOT / "tools/md2man", "man", source], capture_output=True, text=True, check=True).stdout
    assert roff.startswith(".TH ") and ".SH SYNOPSIS" in roff
    macros = set(re.findall(r"(?m)^[.']\s*(\S*)", roff))
    assert macros <= {"TH", "SH", "PP", "TP", "IP", "RS", "RE", "nf", "fi", "nh", "ad"}, macros


def complete(*words):
    """What bash offers for the last of the words."""
    script = (f"source '{ROOT}/docs/completion/outboard'; COMP_WORDS=(outboard \"$@\"); COMP_CWORD=$#; _outboard; "
              "printf '%s\\n' \"${COMPREPLY[@]}\"")
    out = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    assert out.stderr == ""
    return set(out.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_offers_the_options(command):
    assert complete(*command.split(), "--") == {"--" + o["name"] for o in COMMANDS[command]["options"]}


def test_completion_offers_the_words():
    assert complete("") == {c.split()[0] for c in COMMANDS} | {"--help", "--version"}
    assert complete("disc", "") == {c.split()[1] for c in COMMANDS if c.startswith("disc ")}
    assert complete("device", "") == {c.split()[1] for c in COMMANDS if c.startswith("device ")}
    assert complete("help", "device", "") == complete("device", "")
    devices = {d["name"] for d in outboard_json("device", "list")["devices"]}
    assert devices and devices <= complete("serve", "--device", "") and devices <= complete("device", "info", "")
    types = outboard_json("disc", "create", "--type", "help")["types"]
    assert complete("disc", "create", "--type", "") == {t["name"] for t in types if t["recordable"]} | {"help"}
    for command in COMMANDS.values():
        for option in command["options"]:
            if "choices" in option:
                offered = complete(*command["name"].split(), "--" + option["name"], "")
                assert offered == set(option["choices"].split("|"))


def test_types_are_documented():
    text = page("disc create")
    for kind in outboard_json("disc", "create", "--type", "help")["types"]:
        assert f"`{kind['name']}`" in text
    assert "dvd+r " in outboard("disc", "create", "--type", "help").stdout


def test_version():
    assert re.fullmatch(r"outboard \d+\.\d+\.\d+\n", outboard("version").stdout)
    assert outboard("--version").stdout == outboard("version").stdout
    assert outboard_json("version")["version"] in outboard("version").stdout


@pytest.mark.parametrize("words, says", [
    (("rnu",), "did you mean 'run'?"),
    (("dsic", "info"), "did you mean 'disc'?"),
    (("disc", "creat"), "did you mean 'create'?"),
    (("disc", "burnn", "x"), "did you mean 'burn'?"),
    (("--verson",), "there is no option --verson"),
    (("disc", "info", "--jsn", "x"), "did you mean --json?"),
    (("disc", "create", "x", "--typ=dvd+r"), "did you mean --type?"),
    (("disc", "create", "x", "--type", "dvd-plus-r"), "there is no such disc"),
    (("disc", "create", "x", "--type", "dvd+rr"), "did you mean dvd+r?"),
    (("disc", "create", "x"), "--type is missing"),
    (("disc", "create", "--type", "dvd+r"), "which FILE"),
    (("disc", "create", "x", "y", "--type", "dvd+r"), "'y' is too much"),
    (("disc", "create", "x", "--type", "dvd+r", "--capacity", "1Q"), "--capacity"),
    (("disc", "create", "x", "--type", "dvd+r", "--capacity", "900G"), "blocks of 2048"),
    (("disc", "info",), "it needs FILE"),
    (("disc", "verify", "x"), "only one of them is given"),
    (("disc", "verify", "x", "y", "--session", "no"), "--session no"),
    (("disc", "verify", "x", "y", "--session", "1", "--track", "1"), "exclude"),
    (("disc", "export", "x", "y", "--session", "0"), "--session 0"),
    (("disc", "burn", "x"), "which IMAGE"),
    (("disc", "burn", "x", "y", "--mode", "dvd"), "one of tao|sao|dao|incremental"),
    (("disc", "burn", "x", "y", "--speed", "fast"), "--speed fast"),
    (("disc", "burn", "x", "y", "--close"), "leave IMAGE out"),
    (("disc", "map", "x", "--loop", "select"), "one of auto|uring|epoll"),
    (("serve",), "there is no drive"),
    (("serve", "--optical", ""), "needs a SPEC"),
    (("serve", "--optical", "id=cd0"), "nothing is attached"),
    (("serve", "--optical", "id=cd0,colour=red", "--attach", "vhost-user,socket=/x"), "colour"),
    (("serve", "--optical", "id=cd0", "--attach", "vhost-user"), "socket=PATH is missing"),
    (("serve", "--optical", "id=cd0", "--attach", "vhost-user,socket=/x,drives=cd1"), "there is no drive 'cd1'"),
    (("serve", "--device", "edu"), "give --attach vfio-user"),
    (("serve", "--device", "id=x"), "say which device first"),
    (("serve", "--device", "edu", "--attach", "vfio-user,socket=/x,device=e"), "there is no such device"),
    (("serve", "--device", "edu", "--attach", "vhost-user,socket=/x"), "there is no drive"),
    (("serve", "--optical", "id=cd0", "--attach", "vfio-user,socket=/x"), "there is no device"),
    (("device", "lst"), "did you mean 'list'?"),
    (("device", "info"), "it needs DEVICE"),
    (("ctl", "-s", "/x"), "it needs"),
    (("ctl", "-s", "/x", "stauts"), "did you mean 'status'?"),
    (("ctl", "status"), "--socket PATH is missing"),
    (("ctl", "-s", "/x", "insert"), "insert needs a FILE"),
    (("ctl", "-s", "/x", "quit", "now"), "'now' is too much"),
    (("ctl", "-s", "/x", "add-device", "edu"), "add-device needs DEVICE SOCKET"),
    (("ctl", "-s", "/x", "remove-device"), "remove-device needs ID"),
    (("ctl", "-s", "/x", "add-devise", "edu", "/y"), "did you mean 'add-device'?"),
    (("ctl", "-s", "/x", "status", "--force"), "--force is for eject"),
    (("run",), "the VMM is missing"),
    (("run", "--"), "the VMM is missing"),
    (("run", "x", "--", "qemu-system-x86_64"), "'x' is too much"),
    (("run", "--type", "dvd+r", "--", "qemu-system-x86_64"), "there is no --disc"),
    (("run", "--disc", "x", "--capacity", "1G", "--", "qemu-system-x86_64"), "give --type too"),
    (("run", "--json", "--", "qemu-system-x86_64"), "--json goes with --print"),
    (("run", "--", "crosvm", "run"), "'crosvm' is not a VMM whose command line is known"),
    (("help", "disc", "brun"), "did you mean 'disc burn'?"),
])
def test_mistyped(words, says):
    refused(*words, status=2, says=says)


def test_without_a_command():
    assert "Synopsis" in outboard(status=2).stderr
    assert "disc create" in outboard("disc", status=2).stdout
    assert "disc create" in outboard("disc", "--help").stdout
    assert "device info" in outboard("device", "--help").stdout


def test_output_that_cannot_be_written():
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([BIN, "disc", "create", "--type", "help"], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.returncode == 1 and "cannot write the output" in done.stderr
