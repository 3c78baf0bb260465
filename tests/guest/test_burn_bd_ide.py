"""BD-R, burned through a PCI IDE controller: all that test_burn_bd.py does."""

from test_burn_bd import *  # noqa: F401,F403

BUS = "ide"
