"""outboard device test: what a program in its guest prints and returns, and what happens to one that does not end."""

import subprocess

import outboard

GOOD = """#!/bin/sh
. device.sh
echo "a line"
printf '\\001 is not the end\\n'
cat data
device 1234 11e8
(device 1234 11e8 2) || echo "so there is one"
expect id "$(get32 $bar0)" $((0x010000ed))
expect byte "$(get8 $dma_memory)" 0
set16 $((dma_memory + 2)) 0xbeef
expect words "$(get32 $dma_memory)" 0xbeef0000
irq_open
(irq_wait 1)
set32 $((bar0 + 0x60)) 1
irq_wait 20
expect id "$(get32 $bar0)" 5 >&2
"""
SEEN = """a line
\x01 is not the end
some data
there is no device 1234:11e8
so there is one
id is 0x010000ED
byte is 0x00
words is 0xBEEF0000
no interrupt came within 1 seconds
1
id is 0x010000ED, must be 5
"""


def start(work, script, *words):
    """The command, with its outputs as pipes that end when the last of its processes does."""
    path = work / "test.sh"
    path.write_text(script, encoding="ascii")
    return subprocess.Popen([outboard.binary(), "device", "test", *words, "edu", path, *work.glob("data")],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_output_and_status(tmp_path):
    """The helpers of device.sh, a file beside the test, and a test that fails."""
    (tmp_path / "data").write_text("some data\n", encoding="ascii")
    with start(tmp_path, GOOD) as child:
        out, err = child.communicate(timeout=120)
        assert (out, child.returncode) == (SEEN, 1), err


def test_no_end(tmp_path):
    """One is given up, one is killed: no process stays, which the pipes would show."""
    script = "#!/bin/sh\necho up\nexec sleep 1000\n"
    with start(tmp_path, script, "--timeout", "10") as child:
        out, err = child.communicate(timeout=120)
        assert child.returncode == 125 and out == "up\n"
        assert "has not ended after 10" in err
    with start(tmp_path, script) as child:
        assert child.stdout.readline() == "up\n"
        child.kill()
        child.communicate(timeout=60)
