"""`python -m stages.pt`: see `--help`."""

from __future__ import annotations

from mcwbuild.contract.stage import main
from stages.pt.stage import STAGE

if __name__ == "__main__":
    main(STAGE)
