"""Finds the modules that are installed too (guest/); imported before the first of them is."""

import sys
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / "guest"
if str(DIRECTORY) not in sys.path:
    sys.path.append(str(DIRECTORY))
