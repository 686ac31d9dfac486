"""The first phase: train a checkpoint or take one as it is, and measure its baseline."""

from __future__ import annotations

import os

# Before torch is loaded: its threads wait asleep. On a busy machine of 2 cores, spinning took 4 to 30 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
