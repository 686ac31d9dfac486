"""How far a metric may drop: the limits that were promised, and those that a project sets for itself.

`int8.map50_95=3%` is a drop relative to the reference, in percent; `int8.map50=0.02` one in the metric's own unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mcwbuild.contract.phases import PhaseName

DROPS: dict[str, float] = {"onnx": 0.5, "fp16": 2.0, "int8": 5.0}  # largest relative drop of the main metric, percent
# The same for the cosine, which is 1 where both agree. A sound export has 1 to six digits, FP16 to four.
COSINE_DROPS: dict[str, float] = {"onnx": 0.1, "fp16": 1.0, "int8": 5.0}
KEYS: dict[PhaseName, tuple[str, ...]] = {"pt": (), "onnx": ("onnx",), "rknn": ("fp16", "int8")}
SPEEDUP = "speedup"  # of the NPU over ONNX on the CPU: no drop, but the least factor
COSINE = "cosine"  # of the output that agrees least with the reference's, where 1 is perfect
_WORDS = re.compile(r"(?P<key>[a-z0-9]+)\.(?P<metric>[a-z0-9_.]+) *= *(?P<limit>.+)")
_LIMIT = re.compile(r"(?P<value>[0-9]+(\.[0-9]+)?|\.[0-9]+) *(?P<percent>%?)")


@dataclass(frozen=True)
class Limit:
    """The largest drop that passes: in percent of the reference where `relative`, else in the metric's unit."""

    value: float
    relative: bool

    def __str__(self) -> str:
        """As it is written in flags and files."""
        return f"{self.value:g}{'%' if self.relative else ''}"


@dataclass(frozen=True)
class Override:
    """A limit that somebody set: of which gate (onnx, fp16, int8) and metric."""

    key: str
    metric: str
    limit: Limit

    def __str__(self) -> str:
        """As `--gate` takes it."""
        return f"{self.key}.{self.metric}={self.limit}"


def limit(value: Any) -> Limit:
    """A limit from `3%`, `3 %`, `0.02` or a number. Raises ValueError."""
    found = _LIMIT.fullmatch(str(value).strip())
    if found is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is neither a drop in percent such as 3% nor one in the metric's unit such as 0.02")
    made = Limit(float(found["value"]), bool(found["percent"]))
    most = 100.0 if made.relative else 1.0
    if made.value > most:
        raise ValueError(f"{value} is more than {Limit(most, made.relative)}: write 3% for percent, 0.03 for a share")
    return made


def override(text: str, keys: Sequence[str] = tuple(DROPS)) -> Override:
    """One gate from `int8.map50_95=3%`. Raises ValueError: another form, a gate or a metric that there is not."""
    found = _WORDS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not of the form int8.map50_95=3% or int8.map50=0.02")
    if found["key"] not in keys:
        raise ValueError(f"{found['key']} is no gate of this; there are: {', '.join(keys) or 'none'}")
    if found["metric"] not in metrics():
        raise ValueError(f"{found['metric']} is no metric of the records; there are: {', '.join(metrics())}")
    return Override(
        found["key"], found["metric"], _factor(found) if found["metric"] == SPEEDUP else limit(found["limit"])
    )


def _factor(found: re.Match[str]) -> Limit:
    """The least speed-up, a number above 0. Raises ValueError."""
    number = _LIMIT.fullmatch(found["limit"].strip())
    if found["key"] not in KEYS["rknn"] or number is None or number["percent"] or not float(number["value"]) > 0:
        raise ValueError(f"{found[0]!r} is not of the form int8.{SPEEDUP}=4, which is for fp16 and int8")
    return Limit(float(number["value"]), relative=False)


def overrides(value: Any) -> tuple[Override, ...]:
    """The gates of `mcwbuild.yaml` ({int8: {map50_95: 3 %}}), or of texts as `override` takes them.

    Where one is there several times, the last counts. Raises ValueError.
    """
    if isinstance(value, Mapping):
        value = [f"{key}.{name}={limit}" for key, of_key in value.items() for name, limit in of_key.items()]
    elif isinstance(value, str):
        value = [word for word in value.split(",") if word.strip()]
    return merged(text if isinstance(text, Override) else override(text) for text in value)


def merged(given: Iterable[Override]) -> tuple[Override, ...]:
    """Each gate once: the last word on it."""
    return tuple({(one.key, one.metric): one for one in given}.values())


def limits_of(key: str, main: str, given: Iterable[Override]) -> dict[str, tuple[Limit, Limit | None]]:
    """Each gated metric of `key` with its limit, and the promised one (of the main metric alone)."""
    promised = Limit((COSINE_DROPS if main == COSINE else DROPS)[key], relative=True)
    made: dict[str, tuple[Limit, Limit | None]] = {main: (promised, promised)}
    for one in given:
        if one.key == key and one.metric != SPEEDUP:
            made[one.metric] = (one.limit, promised if one.metric == main else None)
    return made


@cache
def metrics() -> tuple[str, ...]:
    """The names of all metrics that can be gated: the records' numbers from 0 to 1, the outputs' cosine, the speed."""
    from mcwbuild.contract import schemas  # reads files: not for `--help`

    recorded = schemas.schema("performance")["$defs"]["metrics"]["properties"]
    return (*_numbers(recorded, ""), COSINE, SPEEDUP)


def _numbers(properties: Mapping[str, Any], above: str) -> list[str]:
    found = []
    for name, definition in properties.items():
        kinds = definition.get("type", ())
        if "number" in (kinds if isinstance(kinds, list) else [kinds]) and "confidence" not in name:
            found.append(above + name)
        elif "properties" in definition:
            found += _numbers(definition["properties"], f"{above}{name}.")
    return found
