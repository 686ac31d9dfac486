"""Damaged inputs: bytes, tokens, structure and types of valid ones changed, the same for the same seed."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

from mcwbuild.contract import yaml as strict_yaml

SPECIAL = b"\x00\x01\x7f\x80\xff().cRobiq}]tusX"  # opcodes of pickles, ends of ranges
TOKENS = (
    *(
        "null",
        "~",
        "true",
        "no",
        "0",
        "-1",
        "010",
        "1e999",
        ".nan",
        "9" * 30,
        "9" * 500,
        "1.5",
        "2026-01-01",
        "''",
        '""',
    ),
    *(
        "[]",
        "{}",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        ": ",
        "- ",
        "? ",
        "|",
        ">",
        "&a ",
        "*a",
        "<<",
        "!!python/object:os.system ",
    ),
    *("!!binary ", "%YAML 1.1\n", "---\n", "...\n", "#", "\t", "\n", "\r", "\\", '"', "'", '"\\u0000"', '"\\ud800"'),
    *("\x1b[31m", "\u202e", "\x85", "\u2028", "e\u0301", "\ufeff", "犬", "\U0001f600", "::error::x", "##[error]x"),
    *("__import__('os').system('id')", "${HOME}", "{{7*7}}", "../../etc/passwd", "/etc/passwd", "a" * 3000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**63, 1.5, -0.0, 1e300, "", "x", "RGB", "\u202e", "a" * 300, "../x", "0" * 64),
    *([], {}, [[]], [None], [0, 0, 0], ["a", "a"], {"a": {"b": {}}}, [1] * 200, "nan", "1e400"),
)
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_DEEP = 40  # levels, twice what a loader takes


def damaged_bytes(rng: random.Random, data: bytes) -> bytes:
    """`data` with one to four bytes or spans changed, removed, repeated or moved."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, other = rng.randrange(len(changed)), rng.randrange(len(changed))
        length = rng.choice((1, 1, 2, 4, 30))
        kind = rng.randrange(5)
        if kind == 0:
            changed[place] = rng.randrange(256)
        elif kind == 1:
            changed[place] = rng.choice(SPECIAL)
        elif kind == 2 and len(changed) > length + 1:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[other : other + length]
        else:
            changed[place : place + length] = changed[other : other + length]
        if not changed:
            changed = bytearray(b"\x00")
    return bytes(changed)


def damaged_tokens(rng: random.Random, data: bytes) -> bytes:
    """The text with one to four tokens replaced, removed, doubled or swapped for another."""
    tokens = _TOKEN.findall(data.decode("utf-8"))
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(tokens))
        kind = rng.randrange(4)
        if kind == 0:
            tokens[place] = rng.choice(TOKENS)
        elif kind == 1:
            tokens[place : place + 1] = [tokens[place], rng.choice(TOKENS)]
        elif kind == 2 and len(tokens) > 1:
            del tokens[place]
        else:
            tokens[place] = rng.choice(tokens)
    return "".join(tokens).encode("utf-8", "surrogatepass")


def damaged_value(rng: random.Random, value: Any, types: bool) -> Any:
    """The value with one to three parts of another type (`types`), or removed, doubled, renamed, moved, nested."""
    whole = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(whole))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        kind = rng.randrange(5)
        if types:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == 0:
            del holder[key]
        elif kind == 1:
            other, source = rng.choice(places)
            holder[key] = copy.deepcopy(other[source])
        elif kind == 2 and isinstance(holder, dict):
            holder[rng.choice(("x", "\u202e", "a" * 1200, "schema", str(key).upper(), f"{key} "))] = holder.pop(key)
        elif kind == 3:
            for _ in range(rng.choice((1, 2, _DEEP))):
                holder[key] = rng.choice(([holder[key]], {"x": holder[key]}))
        elif isinstance(holder, list):
            holder *= rng.choice((2, 3, 50)) if len(holder) < 100 else 1
    return whole


def _places(value: Any) -> Any:
    """Every holder and key of the value, at most a few thousand."""
    waiting = [value]
    for holder in waiting:
        if len(waiting) > 3000:
            return
        for key, part in list(holder.items() if isinstance(holder, dict) else enumerate(holder)) if holder else ():
            yield holder, key
            if isinstance(part, dict | list):
                waiting.append(part)


def damaged_document(rng: random.Random, data: bytes, value: Any, as_json: bool) -> bytes:
    """A valid document, given as text and as value, damaged in one of four ways."""
    kind = rng.randrange(4)
    if kind < 2 or not isinstance(value, dict | list):
        return (damaged_bytes, damaged_tokens)[kind % 2](rng, data)
    changed = damaged_value(rng, value, types=kind == 2)
    text = json.dumps(changed) if as_json else strict_yaml.dump(changed)
    return text.encode("ascii")
