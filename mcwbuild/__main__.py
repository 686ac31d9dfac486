"""`python -m mcwbuild`."""

from __future__ import annotations

from mcwbuild.cli import script

script()
