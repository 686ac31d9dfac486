"""How much is done for an INT8 build that passes its gate."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

Effort = Literal["off", "fast", "full"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
BUDGET = 1800.0  # seconds of the search
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: Any) -> float:
    """A span of time in seconds, from minutes as a number, or from `90s`, `20m`, `2h`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([smh]?)", str(value).strip().lower())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"{value} is not a span of time such as 20 (minutes), 90s or 2h")
    return float(found[1]) * _UNITS[found[2] or "m"]
