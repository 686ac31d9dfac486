"""`python -m stages.rknn`."""

from __future__ import annotations

from mcwbuild.contract.stage import main
from stages.rknn.phase import STAGE

main(STAGE)
