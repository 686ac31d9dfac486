"""YAML written for people: block style, ASCII, keys in their order, read the same by every version of YAML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+()-]*( [A-Za-z0-9_./+()-]+)*")
_TYPED_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))  # in YAML 1.1 or 1.2
_SURROGATES = re.compile(r"\\ud([89ab][0-9a-f]{2})\\ud([c-f][0-9a-f]{2})")
_LONG_KEY = 200  # characters; beyond 1,024 a parser wants `? key`, so long ones are written that way


def dump(data: Any) -> str:
    """`data` (mappings, lists, text, numbers, booleans, None) as YAML that `load` reads back exactly.

    Raises TypeError for other types and ValueError for numbers that are not finite.
    """
    if _is_leaf(data):
        return f"{_leaf(data)}\n"
    return "".join(f"{line}\n" for line in _block(data))


def _block(data: Any) -> Iterator[str]:
    yield from _mapping(data) if isinstance(data, Mapping) else _sequence(data)


def _mapping(data: Mapping[str, Any]) -> Iterator[str]:
    for key, value in data.items():
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} is not text")
        written = _text(key)
        if len(written) > _LONG_KEY:
            yield f"? {written}"
            yield from _under(": ", value)
        elif _is_leaf(value):
            yield f"{written}: {_leaf(value)}"
        else:
            yield f"{written}:"
            yield from (f"  {line}" for line in _block(value))


def _sequence(data: list[Any]) -> Iterator[str]:
    for value in data:
        yield from _under("- ", value)


def _under(start: str, value: Any) -> Iterator[str]:
    """The value's lines, the first after `start`, the others below it."""
    lines = iter([_leaf(value)]) if _is_leaf(value) else _block(value)
    yield start + next(lines)
    yield from (f"  {line}" for line in lines)


def _is_leaf(value: Any) -> bool:
    """What fits in one line: scalars, empty collections, lists of numbers."""
    if isinstance(value, Mapping):
        return not value
    if isinstance(value, list | tuple):
        return all(isinstance(item, int | float) for item in value)
    return True


def _leaf(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_number(item) for item in value) + "]"
    if value is None:
        return "null"
    return _text(value) if isinstance(value, str) else _number(value)


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.casefold() not in _TYPED_WORDS:
        return str(value)
    quoted = json.dumps(value, ensure_ascii=True).replace("\x7f", "\\x7f")
    return _SURROGATES.sub(_astral, quoted)


def _astral(pair: re.Match[str]) -> str:
    """JSON writes characters beyond U+FFFF as two halves, which YAML does not know."""
    high, low = (int(f"d{half}", 16) for half in pair.groups())
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, float):
        raise TypeError(f"{type(value).__name__} cannot be written: {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} cannot be written: it is not a finite number")
    mantissa, mark, exponent = float.__repr__(value).partition("e")
    if mark and "." not in mantissa:  # YAML 1.1 reads `1e-05` as text
        mantissa += ".0"
    return mantissa + mark + exponent
