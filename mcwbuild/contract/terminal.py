"""Text from outside made harmless for a terminal and for a log that a CI runner reads."""

from __future__ import annotations

import re
import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, bidi marks, surrogates, unassigned, separators
# GitHub's runner obeys lines that begin with `::`, white space aside, and lines that hold `##[`; in its comparison
# characters that nobody sees do not count (actions/runner, ActionCommand.cs).
_COMMANDS = re.compile(r"(?P<begin>\A[^!-~]*):(?=:)|(?P<within>#[^!-~]*)#(?=[^!-~]*\[)")


def visible(text: str) -> str:
    """The text as one line, with what could move a cursor, reorder it or command a CI runner written as escapes."""
    shown = "".join(c if c == " " or unicodedata.category(c) not in _UNSAFE else ascii(c)[1:-1] for c in text)
    return _COMMANDS.sub(_broken, shown)


def _broken(found: re.Match[str]) -> str:
    begin, within = found.group("begin", "within")
    return f"{within}\\x23" if begin is None else f"{begin}\\x3a"


def cell_text(text: str) -> str:
    """As `visible`, for a table that may break the line anywhere."""
    return visible(text).replace("::", ":\\x3a")
