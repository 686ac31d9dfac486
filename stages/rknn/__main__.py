"""`python -m stages.rknn`; with `--board-record` it judges what a board measured."""

from __future__ import annotations

import sys

from mcwbuild.contract.stage import main

if "--board-record" in sys.argv[1:]:
    from stages.rknn.judge import STAGE
else:
    from stages.rknn.stage import STAGE  # type: ignore[assignment]

main(STAGE)
