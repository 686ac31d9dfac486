"""`python -m stages.onnx`: see `--help`."""

from __future__ import annotations

from mcwbuild.contract.stage import run
from stages.onnx.stage import STAGE

if __name__ == "__main__":
    raise SystemExit(run(STAGE))
