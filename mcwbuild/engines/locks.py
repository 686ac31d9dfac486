"""The locks of a stage's environment: read, weighed, hashed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcwbuild.contract import assets
from mcwbuild.contract.phases import Phase

TorchBuild = Literal["cpu", "cuda"]
PYTHON = "3.11"  # exactly: RKNN-Toolkit2 2.3.2 has wheels for it, and all stages share one
_FORMAT = "1"  # of an environment's folder: a change makes every environment anew


@dataclass(frozen=True)
class Locks:
    """One stage's locks: all but torch, and torch's CPU or CUDA build."""

    phase: Phase
    torch: TorchBuild

    @property
    def files(self) -> tuple[Path, Path]:
        """The two lock files."""
        folder = assets.locks_dir() / self.phase.name
        return folder / "requirements.lock", folder / f"torch-{self.torch}.lock"

    @property
    def name(self) -> str:
        """The environment's folder name: the phase, and 12 digits of a hash over the locks."""
        digest = hashlib.sha256(f"{_FORMAT} {PYTHON}".encode())
        for file in self.files:
            digest.update(b"\0" + file.read_bytes())
        return f"{self.phase.name}-{digest.hexdigest()[:12]}"

    def sizes(self) -> dict[str, int]:
        """Package -> bytes of its wheel on the index, as `.ci/lock` wrote them down."""
        table = json.loads((self.files[0].parent / "sizes.json").read_text("utf-8"))
        return {name: size for file in self.files for name, size in table[file.name].items()}

    def identity(self) -> dict[str, str]:
        """The locks' SHA-256, by file name, and the Python version."""
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in self.files}
        return {"python": PYTHON, **hashes}
