"""What a running stage tells: one JSON object a line on the wall, one of these five on both sides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Started:
    """A named part of the work began; `detail` says on what, for people."""

    name: str
    detail: str = ""
    event: Literal["started"] = "started"


@dataclass(frozen=True)
class Progressed:
    """`done` of `total` units (images, files, bytes) of the part `name`."""

    name: str
    done: int
    total: int
    event: Literal["progressed"] = "progressed"


@dataclass(frozen=True)
class Finished:
    """The part ended after `seconds`; `detail` is its result in a few words."""

    name: str
    seconds: float
    detail: str = ""
    event: Literal["finished"] = "finished"


@dataclass(frozen=True)
class Noted:
    """One line for people; `level` is `info` or `warning`."""

    text: str
    level: Literal["info", "warning"] = "info"
    event: Literal["noted"] = "noted"


@dataclass(frozen=True)
class Measured:
    """Figures of the part `name`, for programs: an epoch's losses and mAP."""

    name: str
    figures: Mapping[str, float]
    event: Literal["measured"] = "measured"


Event: TypeAlias = "Started | Progressed | Finished | Noted | Measured"
Emit: TypeAlias = Callable[[Event], None]
_KINDS: dict[str, type[Event]] = {
    "started": Started,
    "progressed": Progressed,
    "finished": Finished,
    "noted": Noted,
    "measured": Measured,
}


def to_line(event: Event) -> str:
    """The event as one line of ASCII JSON, without the newline."""
    return json.dumps(asdict(event), ensure_ascii=True, separators=(",", ":"))


def from_line(line: str) -> Event | None:
    """The event in a line of a stage's output, or None: whatever else a library printed there."""
    try:
        data = json.loads(line)
        return _KINDS[data["event"]](**data)
    except (ValueError, KeyError, TypeError):
        return None
