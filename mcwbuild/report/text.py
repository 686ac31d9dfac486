"""Words and figures for people."""

from __future__ import annotations


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


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
