"""Two evaluations of the same images, image by image: `python -m stages.common.paired --pairs DIR --result FILE`.

DIR holds `<n>-a.npz` and `<n>-b.npz` for each pair, as packages keep them. FILE is written last: `intervals/1`, with
NONCE in it, so that it cannot be an older one. For `mcwbuild compare`, which loads no numerical library itself.
"""

from __future__ import annotations

import argparse
import math
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract import documents
from mcwbuild.contract.errors import ExitCode
from stages.common import bootstrap, evaluation_file
from stages.common.bootstrap import LEVEL, RESAMPLES, Interval
from stages.common.per_image import Matches, PerImage, only_class

WITHIN = "evaluation "  # what stands before the arrays' names in a file that holds more than an evaluation
_SAMPLES = 10_000  # at most: the tail of a level that many classes share needs more samples than one
_TAIL = 20  # samples that should lie beyond each end
_MOST = 400_000_000  # results times samples that all classes together may take: some ten seconds


@dataclass(frozen=True)
class Asked:
    """How sure, and from how many samples."""

    level: float = LEVEL
    samples: int = RESAMPLES


def read(path: Path) -> PerImage:
    """The evaluation in a package's file. Raises ValueError and what archives raise."""
    found = evaluation_file.members(path)
    for name in ("model_sha256", "order"):
        found.pop(name, None)
    inner = {name.removeprefix(WITHIN): array for name, array in found.items() if name.startswith(WITHIN)}
    return evaluation_file.restored(inner or found)


def compare(a: PerImage, b: PerImage) -> dict[str, Any]:
    """Each metric that both keep, and each class's; how far it rises from `a` to `b`, and the interval of that."""
    names = [name for name in _values(a) if name in _values(b)]
    if a.count != b.count or not names:
        why = f"They are of {a.count} and {b.count} images." if a.count != b.count else "They keep other metrics."
        return {"images": a.count, "reason": why, "metrics": [], "classes": []}
    metrics = [{"metric": name, **_rise(a, b, name, Asked())} for name in names]
    return {"images": a.count, "reason": None, "metrics": metrics, "classes": list(_classes(a, b, names[0]))}


def _values(kept: PerImage) -> dict[str, Any]:
    return kept.values(np.ones((kept.count, 1), np.int32))


def _rise(a: PerImage, b: PerImage, metric: str, asked: Asked) -> dict[str, Any]:
    before, after = bootstrap.value(a, metric), bootstrap.value(b, metric)
    row: dict[str, Any] = {"a": _finite(before), "b": _finite(after), "interval": None, "reason": None}
    if row["a"] is None or row["b"] is None:
        return {**row, "reason": f"{metric} is not defined for these images."}
    found = bootstrap.interval(a, b, metric, bootstrap.gain, asked.level, asked.samples)
    if isinstance(found, Interval):
        return {**row, "interval": [found.low, found.high]}
    return {**row, "reason": found.reason}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _classes(a: PerImage, b: PerImage, metric: str) -> Iterator[dict[str, Any]]:
    """The same of each class with objects; all their intervals together hold as often as one does (Bonferroni)."""
    if not isinstance(a, Matches) or not isinstance(b, Matches) or len(a.instances) != len(b.instances):
        return
    labels = [int(label) for label in np.flatnonzero(a.instances)]
    level = 1 - (1 - LEVEL) / max(len(labels), 1)
    samples = min(_SAMPLES, max(RESAMPLES, math.ceil(2 * _TAIL / (1 - level))))
    if (len(a.images) + len(b.images)) * samples > _MOST:
        return
    for label in labels:
        yield {"label": label, **_rise(only_class(a, label), only_class(b, label), metric, Asked(level, samples))}


def pairs(folder: Path) -> Iterator[dict[str, Any]]:
    """The comparison of each pair in the folder, with its number."""
    for first in sorted(folder.glob("*-a.npz"), key=lambda path: int(path.name.partition("-")[0])):
        number = int(first.name.partition("-")[0])
        try:
            yield {"pair": number, **compare(read(first), read(folder / f"{number}-b.npz"))}
        except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, NotImplementedError) as error:
            said = str(error).partition("\n")[0][:200]
            yield {"pair": number, "images": 0, "reason": f"It cannot be read: {said}.", "metrics": [], "classes": []}


def main(argv: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser("python -m stages.common.paired", description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--nonce", default="")
    args, _ = parser.parse_known_args(argv)  # engines give every stage --out and --progress
    made = {"schema": "intervals/1", "nonce": args.nonce, "level": LEVEL, "pairs": list(pairs(args.pairs))}
    documents.write_json(args.result, made)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
