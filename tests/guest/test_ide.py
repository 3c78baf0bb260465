"""Disks and drives on our PCI IDE controller under Linux: by DMA and by PIO, with two kernels."""

import disk_tests
import pytest
from disk_tests import *  # noqa: F401,F403

# One kernel by DMA in make check, where firmware and GRUB read by PIO too; all pairs with --full.
KINDS = [("ide", disk_tests.NEW),
         *(pytest.param(kind, marks=pytest.mark.full)
           for kind in (("ide", disk_tests.OLD), ("ide-pio", disk_tests.OLD), ("ide-pio", disk_tests.NEW)))]


def pytest_generate_tests(metafunc):
    """Every test of disk_tests.py, for each kind of machine."""
    if "setup" in metafunc.fixturenames:
        metafunc.parametrize("setup", KINDS, indirect=True, scope="module", ids="-".join)


@pytest.mark.parametrize("bus", ["ide", pytest.param("ide-pio", marks=pytest.mark.full)])
@pytest.mark.matrix("unreadable sectors: error and recovery")
def test_medium_error(tmp_path, bus):
    """Sectors that cannot be read."""
    disk_tests.check_medium_error(tmp_path, bus)


@pytest.mark.matrix("a command that takes too long: reset and recovery")
@pytest.mark.parametrize("bus", ["ide"])
def test_timeout(tmp_path, bus):
    """SRST in the middle of a DMA command."""
    disk_tests.check_timeout(tmp_path, bus)


@pytest.mark.matrix("the daemon ends under traffic, the guest lives")
@pytest.mark.parametrize("bus", ["ide"])
def test_end_under_traffic(tmp_path, bus):
    """SIGTERM."""
    disk_tests.check_end_under_traffic(tmp_path, bus)
