"""Words and figures for people."""

from __future__ import annotations

import time

LEAST_MEASURED = 2.0  # seconds of progress, below which the rest is not estimated


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def remaining(advanced: float, total: float, done: float, began: float, now: float | None = None) -> float | None:
    """How many seconds the rest takes at the pace since `began` (of the monotonic clock), when `advanced` units less
    were done; None before two seconds have passed or two units are through: what is not measured is not told.
    """
    spent = (time.monotonic() if now is None else now) - began
    if spent < LEAST_MEASURED or advanced < 2:
        return None
    return max(0.0, (total - done) * spent / advanced)


def count_text(count: float) -> str:
    """A large number for people, in powers of a thousand: `2.59 M`, `1.05 G`."""
    for unit in ("", "k", "M", "G"):
        if count < 1000:
            return f"{count:.0f}" if not unit else f"{count:.2f} {unit}"
        count /= 1000
    return f"{count:.2f} T"


def size_text(size: float) -> str:
    """A size for people, in decimal units: `5.4 MB`."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
