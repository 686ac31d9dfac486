"""`python -m stages.pt`: see `--help`."""

from __future__ import annotations

from mcwbuild.contract.stage import run
from stages.pt.stage import STAGE

if __name__ == "__main__":
    raise SystemExit(run(STAGE))
