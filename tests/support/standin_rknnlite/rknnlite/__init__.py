"""A stand-in for rknn-toolkit-lite2, which exists for ARM boards only. See `api`."""

import importlib.util
import sys
from pathlib import Path

__version__ = "2.3.2+standin"

if importlib.util.find_spec("mcwbuild") is None:  # a stage's own environment holds the libraries alone
    sys.path.append(str(Path(__file__).resolve().parents[4]))
