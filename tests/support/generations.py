"""Packages that carry a number, published one over the other, and what may be there at any moment.

As a program, `generations.py RAW OUT FIRST COUNT`, it publishes so many and prints the number of each after it is on
disk; `RAW` holds what `prepare` made. Its exit codes are those of the command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from mcwbuild import gate, inspection
from mcwbuild.contract import disk, manifest
from mcwbuild.contract.errors import McwbuildError
from mcwbuild.contract.phases import PT
from mcwbuild.package import Workspace, publish
from tests.support.engines import write_package

SIZE = 96 << 10  # bytes of the model: more than one page, and more than one write of a small buffer
BEGIN = "/mcwbuild-trial-begins"  # what a tracer sees before the first call that counts
WEAKENED = ("in place", "without any sync", "without the last sync of folders")


def prepare(raw: Path, count: int, size: int = SIZE) -> None:
    """Finished outputs of a stage in `raw/<number>`, each whole and with its number in its model."""
    for number in range(count):
        folder = raw / str(number)
        write_package(folder, PT)
        (folder / "best.pt").write_bytes((b"%08d" % number) * (size // 8))
        for name in (PT.evaluation, "manifest.json", "SHA256SUMS"):
            (folder / name).unlink(missing_ok=True)
        manifest.write(folder, PT, {})


def put(workspace: Workspace, raw: Path, number: int) -> None:
    """The way of a stage's output into its place, as the pipeline goes it. Raises McwbuildError."""
    package = workspace.staging(PT)
    gate.admit(raw / str(number), PT, package)
    publish(package, workspace.out / PT.package)


def number_of(package: Path) -> int:
    """The number of a package that is there and whole. Raises AssertionError where it is torn."""
    wrong = [str(problem) for problem in manifest.verify(package)]
    assert not wrong, f"torn: {wrong}"
    return int((package / "best.pt").read_bytes()[:8])


def found(out: Path) -> int | None:
    """The number of what lies in `out`, None where nothing does. Raises AssertionError where it is torn."""
    package = out / PT.package
    return number_of(package) if os.path.lexists(package) else None


def recovered(out: Path) -> int | None:
    """The same after the next run has put right what it found; nothing else of ours may be left."""
    with Workspace(out):
        pass
    left = {path.name for path in out.iterdir()} - {PT.package, ".lock"}
    assert not left, f"left over: {sorted(left)}"
    if (out / PT.package).exists():
        assert inspection.inspect(out / PT.package, PT) == []
    return found(out)


def weakened(protocol: str) -> Callable[[Workspace, Path, int], None]:
    """`put` with a part of the protocol taken out: trials that find nothing wrong with these find nothing at all."""

    def in_place(workspace: Workspace, raw: Path, number: int) -> None:
        target = workspace.out / PT.package
        target.mkdir(exist_ok=True)
        for path in sorted((raw / str(number)).iterdir()):
            (target / path.name).write_bytes(path.read_bytes())

    def without_any_sync(workspace: Workspace, raw: Path, number: int) -> None:
        with patch.object(os, "fsync", lambda _: None):
            put(workspace, raw, number)

    def without_the_last(workspace: Workspace, raw: Path, number: int) -> None:
        exchange = disk.exchange

        def bare(staging: Path, target: Path) -> bool:
            with patch.object(disk, "sync_folder", lambda _: None):
                return exchange(staging, target)

        with patch.object(disk, "exchange", bare):
            put(workspace, raw, number)

    return dict(zip(WEAKENED, (in_place, without_any_sync, without_the_last), strict=True))[protocol]


def main() -> int:
    """Publish, tell, and end as the command line does."""
    raw, out, first, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    import filelock  # noqa: F401 (loaded, as the schemas are, before the first call that counts)

    assert number_of(raw / str(first)) == first
    with suppress(OSError):
        os.stat(BEGIN)  # noqa: PTH116
    try:
        with Workspace(out) as workspace:
            for number in range(first, first + count):
                put(workspace, raw, number)
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
    except McwbuildError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
