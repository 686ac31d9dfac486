"""Evaluations of two packages, image by image, laid beside each other in a stage's environment.

The orchestrator has no numerical library; an environment or image that is ready has one, and nothing is installed
for this. What comes back is read as hostile.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcwbuild import gate
from mcwbuild.contract import validate
from mcwbuild.contract.documents import Document
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.phases import ONNX, PT, RKNN, Phase
from mcwbuild.engines import Engine, StageCall

PROGRAM = "common.paired"
PATIENCE = 600.0  # seconds; some are usual
_INTERVALS = "intervals"


def ready(engine: Engine) -> Phase | None:
    """A phase whose environment is ready, the smallest first."""
    return next((phase for phase in (ONNX, RKNN, PT) if engine.health(phase) is None), None)


def run(engine: Engine, phase: Phase, pairs: Sequence[tuple[Path, Path]]) -> list[Mapping[str, Any]]:
    """What `stages.common.paired` says of each pair, in their order. Raises StageFailed, what the engine raises."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-") as scratch:
        folder, staging = Path(scratch, _INTERVALS), Path(scratch, "staging")
        folder.mkdir()
        staging.mkdir(mode=0o700)
        for number, pair in enumerate(pairs):
            for side, path in zip("ab", pair, strict=True):
                shutil.copyfile(path, folder / f"{number}-{side}.npz")
        nonce = secrets.token_hex(8)
        log = Path(scratch, "paired.log")
        call = StageCall(phase, (("--pairs", folder),), (), staging, log, nonce, PATIENCE, PROGRAM)
        code = engine.run(call, lambda _event: None)
        found = gate.outcome(staging)
        if code != 0 or not isinstance(found, dict) or found.get("nonce") != nonce:
            said = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
            raise StageFailed(
                "The evaluations could not be laid beside each other.",
                f"The program ended with code {code}{f': {said[-1][:300]}' if said else ''}.",
                kind="intervals",
            )
        validate.require(Document(found, "intervals"), "intervals")
    by_number = {row["pair"]: row for row in found["pairs"]}
    lost = {"reason": "Nothing was said of it.", "metrics": [], "classes": [], "images": 0}
    return [by_number.get(number, lost) for number in range(len(pairs))]
