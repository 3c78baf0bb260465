"""CD-R, burned through a PCI IDE controller: all that test_burn_cd.py does.

In make check those of CHECK: every program once; the others with --full.
"""

from test_burn_cd import *  # noqa: F401,F403

BUS = "ide"
CHECK = (
    "test_wodim_tao", "test_cdrskin_sao", "test_xorriso_as_cdrecord", "test_cdrdao",
    "test_cdrskin_sessions",
)
