"""Fixtures of the guest tests, and what a failing one shows."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.register_assert_rewrite("burning", "disk_tests")

import burning  # noqa: E402  (the line above is what finds them)
import harness  # noqa: E402
import matrix  # noqa: E402
import outboard  # noqa: E402

IMAGE_SIZE = 12 << 20


def pytest_addoption(parser):
    """--full adds the long tests; --write-matrix writes what the run shows (matrix.py)."""
    parser.addoption("--full", action="store_true", help="run the tests marked full as well")
    parser.addoption("--write-matrix", metavar="FILE", help="write which controllers passed what")


def pytest_configure(config):
    """Name the markers."""
    config.addinivalue_line("markers", "full: takes long, runs with --full (make check-full)")
    config.addinivalue_line("markers", "matrix(what): a row of docs/controllers.md")
    config.addinivalue_line("markers", "smoke: short, runs against sanitized binaries as well")


    path = config.getoption("--write-matrix")
    if path and not hasattr(config, "workerinput"):     # the workers of xdist only report
        config.pluginmanager.register(MatrixPlugin(path))


class MatrixPlugin:
    """Writes the matrix at the end of the run."""

    def __init__(self, path):
        self.matrix = matrix.Matrix(path, "11.1")

    def pytest_runtest_logreport(self, report):
        """One phase of one test."""
        self.matrix.take(report)

    def pytest_sessionfinish(self):
        """All have ended."""
        self.matrix.write()


def pytest_runtest_call(item):
    """What the guest is told from here on is this test's."""
    matrix.begin(item)


def pytest_collection_modifyitems(config, items):
    """Without --full the long tests are not part of the run at all."""
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full") or
            item.originalname not in getattr(item.module, "CHECK", (item.originalname,))]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the ends of the logs of every guest and daemon with a failure."""
    report = (yield).get_result()
    if call.when == "call":
        item.user_properties += [("matrix", entry) for entry in matrix.entries(item)]
        report.user_properties = list(item.user_properties)
    if not report.failed:
        return
    latest = sorted((path for path in harness.LOGS if path.exists()),
                    key=lambda path: path.stat().st_mtime)[-4:]
    for path in latest:
        text = path.read_text(encoding="utf-8", errors="replace")
        report.sections.append((f"{harness.LOGS[path]}: {path}", "\n".join(text.splitlines()[-60:])))


@pytest.fixture(autouse=True, scope="module")
def fixture_logs():
    """Forget the logs of a module when it ended."""
    yield
    harness.LOGS.clear()


@pytest.fixture(name="guest_dir")
def fixture_guest_dir(tmp_path):
    """A directory for one guest's logs."""
    path = tmp_path / "guest"
    path.mkdir()
    return path


@pytest.fixture(name="image", scope="module")
def fixture_image(request, tmp_path_factory):
    """The image that tests burn, as a file of the host; in the guest of a rig it is /tmp/a.iso."""
    return burning.make_images(tmp_path_factory.mktemp("images"),
                               getattr(request.module, "IMAGE_SIZE", IMAGE_SIZE))


@pytest.fixture(name="rig", scope="module")
def fixture_rig(request, tmp_path_factory, image):
    """A guest with the drives that the module names in DRIVES, on its BUS (see outboard.Rig)."""
    bus = getattr(request.module, "BUS", "scsi")
    with outboard.Rig(tmp_path_factory.mktemp("rig"), request.module.DRIVES, drives=[image],
                      memory=512, bus=bus) as rig:
        burning.prepare_guest(rig.guest)
        yield rig
