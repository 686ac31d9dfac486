"""The class names of a `data.yaml`, as Ultralytics reads them, as many as may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcwbuild.contract.bounds import CLASSES
from mcwbuild.contract.marks import shown


def names_in(data: Mapping[str, Any], complain: Callable[[str, str], None]) -> tuple[str, ...]:
    """`names` as a list or by number, or `nc` alone; empty where `complain` (what, where) was told why."""
    names, count = data.get("names"), data.get("nc")
    try:
        nc = None if count is None else int(float(count))
    except (TypeError, ValueError, OverflowError):
        complain(f"nc must be a whole number, found {shown(str(count))}", "$.nc")
        return ()
    claimed = max(nc or 0, len(names) if isinstance(names, list | dict) else 0)
    if claimed > CLASSES.value:
        number = f"{claimed:.3g}" if claimed >= 1e9 else str(claimed)
        complain(f"there are {number} classes, and {CLASSES.value} are taken ({CLASSES.variable})", "$.nc")
        return ()
    if names is None and nc is not None:
        return tuple(f"class_{number}" for number in range(max(nc, 0)))
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        complain("names must list the classes, or give each number its name", "$.names")
        return ()
    return _by_number(names, nc, complain)


def _by_number(names: Mapping[Any, Any], nc: int | None, complain: Callable[[str, str], None]) -> tuple[str, ...]:
    try:
        by_number = {int(key): str(value) for key, value in names.items()}
    except (TypeError, ValueError):
        complain("the keys of names must be class numbers", "$.names")
        return ()
    if sorted(by_number) != list(range(len(names))):
        complain(f"the class numbers must run from 0 to {len(names) - 1}", "$.names")
        return ()
    if nc is not None and nc != len(names):
        complain(f"nc is {nc} but there are {len(names)} names", "$.nc")
    return tuple(by_number[number] for number in range(len(names)))
