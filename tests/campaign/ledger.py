"""The campaigns' counts: one JSON file that every campaign adds to, and goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

LEDGER = Path(__file__).with_name("ledger.json")


def read(campaign: str, path: Path = LEDGER) -> dict[str, Any]:
    """What the campaign has counted so far; empty at its beginning."""
    if not path.is_file():
        return {}
    counted: dict[str, Any] = json.loads(path.read_text("ascii")).get(campaign, {})
    return counted


def add(campaign: str, counts: Mapping[str, Any], path: Path = LEDGER) -> dict[str, Any]:
    """Add numbers to numbers and lists to lists, replace all else. Returns the campaign's new state."""
    with FileLock(path.with_suffix(".lock")):
        whole = json.loads(path.read_text("ascii")) if path.is_file() else {}
        whole[campaign] = _sum(whole.get(campaign, {}), counts)
        new = path.with_suffix(".tmp")
        new.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n", "ascii")
        os.replace(new, path)
    state: dict[str, Any] = whole[campaign]
    return state


def _sum(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, Mapping):
        return {**old, **{key: _sum(old[key], value) if key in old else value for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        return old + new
    if isinstance(new, int) and isinstance(old, int) and not isinstance(new, bool):
        return old + new
    return new
