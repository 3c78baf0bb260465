"""DVD, burned through an AHCI controller: all that test_burn_dvd.py does."""

from test_burn_dvd import *  # noqa: F401,F403

BUS = "ahci"
