"""DVD, burned through an AHCI controller: all that test_burn_dvd.py does.

In make check those of CHECK: every program once; the others with --full.
"""

from test_burn_dvd import *  # noqa: F401,F403

BUS = "ahci"
CHECK = (
    "test_plus_growisofs_image", "test_plus_wodim", "test_minus_growisofs_dao",
    "test_rw_cdrskin_sao", "test_rw_restricted_overwrite_grows",
)
