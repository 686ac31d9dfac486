"""Words and figures for people; text from outside made harmless for a terminal."""

from __future__ import annotations

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, bidi marks, surrogates, unassigned, separators


def visible(text: str) -> str:
    """The text with every character that could move a cursor or reorder a line written as its escape."""
    return "".join(c if c == " " or unicodedata.category(c) not in _UNSAFE else ascii(c)[1:-1] for c in text)


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def size_text(size: float) -> str:
    """A size for people, in decimal units: `5.4 MB`."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
