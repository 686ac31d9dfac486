"""Findings: what is known to go wrong in conversions, each with a name, evidence in figures, a cause and a remedy.

`docs/findings.md` tells each of them with its threshold. Detectors are pure functions of figures; the phases collect
the figures, tell what is found in one line, and write it into the `issues` of their records. A finding by itself
fails nothing: gates and checks do. What makes work impossible (`dynamic-shape`, `class-names`) is an error instead,
of the kind of that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from mcwbuild.contract.bench import Bench

Name = Literal[
    "dead-scores",
    "saturated-output",
    "mixed-output",
    "concat-range",
    "fp16-overflow",
    "confidence-compression",
    "not-finite",
    "dynamic-shape",
    "selection-in-graph",
    "input-size",
    "channel-order",
    "normalization",
    "resize-method",
    "padding",
    "class-names",
    "calibration-unlike",
    "calibration-leak",
    "calibration-few",
    "calibration-range",
]
NAMES: tuple[Name, ...] = get_args(Name)


@dataclass(frozen=True)
class Finding:
    """One finding: `what` in a sentence, `evidence` in figures (JSON data), why it is so, what to do.

    level: `info` where nothing has to be done about it.
    """

    name: Name
    what: str
    cause: str
    remedy: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    level: Literal["info", "warning"] = "warning"

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON data."""
        return asdict(self)

    def issue(self, phase: str) -> dict[str, Any]:
        """The finding as an entry of a record's `issues`."""
        told = {key: value for key, value in self.as_dict().items() if key != "level"}
        return {"phase": phase, **told}

    @property
    def line(self) -> str:
        """The finding in one line, for people."""
        return f"{self.name}: {self.what} {self.remedy}"


def tell(findings: Iterable[Finding], bench: Bench) -> None:
    """One line for each of them."""
    for finding in findings:
        bench.note(finding.line, finding.level)
