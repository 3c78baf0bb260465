"""BD-R, burned through an AHCI controller: all that test_burn_bd.py does."""

import pytest
from test_burn_bd import *  # noqa: F401,F403

BUS = "ahci"
pytestmark = pytest.mark.full
