"""The command line as a user runs it, and small pieces of the example to run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "shapes"
MCWBUILD = (sys.executable, "-m", "mcwbuild")


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.stdout)


def mcwbuild(
    *words: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Done:
    """Run the command line as a user would, in `cwd`; `before` are the words of a command that runs it."""
    done = subprocess.run(
        [*before, *MCWBUILD, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": "1", "MCWBUILD_STORE": "false", **(environment or {})},
        text=True,
        capture_output=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def small_dataset(folder: Path, images: int) -> Path:
    """A data.yaml over the first `images` images of each of the example's splits."""
    names = []
    for split in ("train", "val"):
        listed = sorted((EXAMPLE / "images" / split).iterdir())[:images]
        (folder / f"{split}.txt").write_text("".join(f"{path}\n" for path in listed))
    names = (EXAMPLE / "data.yaml").read_text().partition("names:")
    (folder / "data.yaml").write_text(f"train: train.txt\nval: val.txt\nnames:{names[2]}")
    return folder / "data.yaml"


def replace(path: Path, old: str, new: str) -> None:
    """Edit a text file; the old text must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def package_files(folder: Path) -> Sequence[str]:
    """The names in a folder."""
    return sorted(path.name for path in folder.iterdir())
