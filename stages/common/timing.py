"""How long each part of the work on one image takes.

The generated board script is made of this file, and `mcwbuild board pack` takes it along: Python 3.8 and numpy only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

PARTS = ("pre", "inference", "post")
PERCENTILES = (50, 90, 99)
_DIGITS = 4  # 0.1 microseconds


@dataclass
class Timer:
    """Milliseconds of each part of each image, by the monotonic clock."""

    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block as the next image's part `name`; a block that raises is not counted."""
        start = time.perf_counter()
        yield
        self.parts[name].append((time.perf_counter() - start) * 1000)

    @property
    def runs(self) -> int:
        """Images timed."""
        return len(self.parts["inference"])

    def latency_ms(self) -> dict[str, dict[str, float | None]]:
        """p50, p90 and p99 of each part and of their sum per image; None where nothing was timed."""
        rows = {**self.parts, "total": [sum(image) for image in zip(*self.parts.values())]}  # noqa: B905 (3.8)
        return {name: _percentiles(values) for name, values in rows.items()}


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {f"p{percent}": None for percent in PERCENTILES}
    found = np.percentile(values, PERCENTILES)
    return {f"p{percent}": round(float(value), _DIGITS) for percent, value in zip(PERCENTILES, found)}  # noqa: B905 (3.8)
