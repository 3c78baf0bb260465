"""CD-R, burned through a PCI IDE controller: all that test_burn_cd.py does."""

from test_burn_cd import *  # noqa: F401,F403

BUS = "ide"
