"""A publish onto file systems of one size after the other: the old package whole, or the new one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mcwbuild.contract.errors import McwbuildError
from mcwbuild.package import Workspace
from tests.campaign.series import Made
from tests.support import generations

FIRST, STEP = 120, 4  # kB; a package has 104, and the old one and the new one stand side by side for a moment
ROOM = 4096  # kB, for the first package


def missing() -> str | None:
    """Why no trial can be made on this machine, or None."""
    return None if os.geteuid() == 0 else "mounting a small file system needs root"


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A tmpfs of `ROOM`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}k", "mcwbuild-trial", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def run(numbers: Sequence[int]) -> Made:
    """The trials of these numbers, each a size."""
    made = Made()
    with tempfile.TemporaryDirectory(prefix="mcw-full-") as text:
        generations.prepare(Path(text) / "raw", 2)
        for number in numbers:
            size = FIRST + STEP * number
            try:
                made.outcomes[_one(Path(text), size)] += 1
            except (AssertionError, McwbuildError, OSError) as error:
                made.outcomes["violation"] += 1
                made.violations.append(f"{size} kB: {type(error).__name__}: {error!s:.300}")
    return made


def _one(folder: Path, size: int) -> str:
    with mounted(folder / "disk") as disk:
        out = disk / "out"
        with Workspace(out) as workspace:
            generations.put(workspace, folder / "raw", 0)
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        told = None
        try:
            with Workspace(out) as workspace:
                generations.put(workspace, folder / "raw", 1)
        except McwbuildError as error:
            told = error
        left = {path.name for path in out.iterdir()} - {".lock", "pt_package"}
        assert not left, f"left over: {left}"
        now = generations.found(out)
        assert now == (1 if told is None else 0), f"{now} lies there, and the run said {told}"
        assert told is None or told.kind == "disk", told
        subprocess.run(["mount", "-o", f"remount,size={ROOM}k", str(disk)], check=True)
        assert generations.recovered(out) == now
    (folder / "disk").rmdir()
    return "fits" if told is None else "as before"
