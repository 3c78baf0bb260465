"""BD-R, burned through a PCI IDE controller: all that test_burn_bd.py does.

In make check those of CHECK: every program once; the others with --full.
"""

from test_burn_bd import *  # noqa: F401,F403

BUS = "ide"
CHECK = (
    "test_growisofs_formats_for_pseudo_overwrite", "test_xorriso_sessions", "test_cdrskin",
)
