"""DVD, burned through a PCI IDE controller: all that test_burn_dvd.py does."""

import pytest
from test_burn_dvd import *  # noqa: F401,F403

BUS = "ide"
pytestmark = pytest.mark.full
