"""A package measured by the archive's own program, with ONNX Runtime behind the stand-in for the board's runtime."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from mcwbuild.contract import documents
from mcwbuild.contract.phases import RKNN
from mcwbuild.engines.local import LocalEngine
from tests.support.board import STANDIN
from tests.support.commands import ROOT, mcwbuild


def on_the_board(out: Path, folder: Path, *words: str | Path) -> dict[str, Any]:
    """The record that `board pack`, the program and `board merge` leave in the package of the run in `out`."""
    packed = mcwbuild("board", "pack", out, *words, "--json", cwd=out)
    assert packed.code == 0, packed.stderr
    with tarfile.open(packed.json["archive"]) as archive:
        archive.extractall(folder)
    python = LocalEngine().python(RKNN)
    done = subprocess.run(
        [python, "mcwbuild-board/run_board.py"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": f"{STANDIN}:{ROOT}",
            "STANDIN_RKNNLITE": str(out / "onnx_package"),
        },
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    merged = mcwbuild("board", "merge", out, folder / RKNN.board, cwd=out)
    assert merged.code in (0, 3), merged.stderr
    assert mcwbuild("verify", out, cwd=out).code == 0
    found: dict[str, Any] = documents.read_json(out / "rknn_package" / RKNN.board).value
    return found
