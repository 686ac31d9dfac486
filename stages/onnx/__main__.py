"""`python -m stages.onnx`: see `--help`."""

from __future__ import annotations

from mcwbuild.contract.stage import main
from stages.onnx.stage import STAGE

if __name__ == "__main__":
    main(STAGE)
