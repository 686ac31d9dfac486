"""`python -m stages.rknn`."""

from __future__ import annotations

from mcwbuild.contract.stage import run
from stages.rknn.phase import STAGE

raise SystemExit(run(STAGE))
