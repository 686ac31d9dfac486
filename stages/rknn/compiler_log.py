"""What the toolkit's compiler says and returns nowhere: layer placement, cycles, memory, operators that no board runs.

The log holds both outputs of the toolkit's process: Python's lines (`I`, `W`, `E`, `D`), the compiler's
(`D RKNN: [time] ...`), progress bars with carriage returns, ANSI colours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mcwbuild.contract.failures import lines_of

_CONTROL = re.compile(r"[^\t -~\xa0-\U0010ffff]")
_LAYER = re.compile(
    r"D RKNN: \[[\d:.]+\] (?P<id>\d+)\s+(?P<op>\S+)\s+(?P<dtype>\S+)\s+(?P<unit>CPU|NPU|GPU)\s+.*?"
    r"(?P<ddr>\d+)/(?P<npu>\d+)/(?P<total>\d+)\s+(?P<rw>\d+)\s+(?P<name>\S+)"
)
_MEMORY = re.compile(r"Total (Internal|Weight) Memory Size: ([\d.]+)KB")
_UNSUPPORTED = (
    re.compile(r"No lowering found for: (?P<name>[^,]*), node type = (?P<op>\w+)"),
    re.compile(r"Meet RKNN unsupport Operator: name = '?(?P<name>[^',]*)'?, type = (?P<op>\w+)"),
    # Looked for once from the line's start: tried from every place of every line it took half as long as an FP16 build.
    re.compile(r"^(?=.*\bCustomOperatorLower\b)(?P<name>\S+)?.*\b(?P<op>CustomOperatorLower)\b"),
)
_RULE = re.compile(r"disable_rules=\['(\w+)'\]")
_OVERFLOW = re.compile(r"of '(?P<name>[^']+)' is out of the float16")
# `Unkown op target: 0` stands in builds that work.
_HARMLESS = re.compile(r"Unkown op target: 0")
# The toolkit's own, and what the C library says of a heap that the compiler has destroyed.
_ERROR = re.compile(
    r"^(?:E (?!rknn-toolkit2 version))?(?P<text>(?<=E ).*\S|"
    r"(?:corrupted (?:size|double-linked)|double free|(?:free|malloc)\(\): |munmap_chunk).*)"
)
_BOUNDARY = ("InputOperator", "OutputOperator")  # the graph's inputs and outputs, placed on the CPU by definition


@dataclass(frozen=True)
class Layer:
    """One row of the compiler's table. `cycles` is its own estimate, 0 for what is not convolution-like."""

    id: int
    op: str
    dtype: str
    unit: str
    cycles: int
    traffic_kb: int
    name: str


@dataclass(frozen=True)
class Unsupported:
    """An operator that the build takes and the simulator computes, and that the board's runtime refuses."""

    op: str
    layer: str


@dataclass(frozen=True)
class CompilerLog:
    """The facts in one build's log. Memory is in kB; None where the log does not say.

    rules: the fusion rules that failed, in the toolkit's own words.
    """

    layers: tuple[Layer, ...]
    internal_kb: float | None
    weight_kb: float | None
    unsupported: tuple[Unsupported, ...]
    overflowed: tuple[str, ...]
    errors: tuple[str, ...]
    rules: tuple[str, ...] = ()

    @property
    def cycles(self) -> int:
        """The sum of the layers' cycles: a lower bound, because only convolution-like rows carry any."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def traffic_kb(self) -> int:
        """Bytes that the layers read and write, in kB."""
        return sum(layer.traffic_kb for layer in self.layers)

    def on(self, unit: str) -> tuple[Layer, ...]:
        """The layers placed on `unit` (NPU, CPU, GPU)."""
        return tuple(layer for layer in self.layers if layer.unit == unit)


def readable(text: str) -> str:
    """The log for people and files: plain lines, with what could move a terminal's cursor written as escapes."""
    return "".join(_CONTROL.sub(lambda found: ascii(found[0])[1:-1], line) + "\n" for line in lines_of(text))


def parse(text: str) -> CompilerLog:
    """The facts in the log. Lines of unknown form are passed over: the format is undocumented."""
    lines = lines_of(text)
    memory = {kind: float(size) for line in lines for kind, size in _MEMORY.findall(line)}
    return CompilerLog(
        layers=tuple(layer for line in lines if (layer := _layer(line))),
        internal_kb=memory.get("Internal"),
        weight_kb=memory.get("Weight"),
        unsupported=tuple(dict.fromkeys(found for line in lines if (found := _unsupported(line)))),
        overflowed=tuple(dict.fromkeys(name for line in lines for name in _OVERFLOW.findall(line))),
        errors=tuple(
            dict.fromkeys(
                match["text"] for line in lines if (match := _ERROR.match(line)) and not _HARMLESS.search(line)
            )
        ),
        rules=tuple(dict.fromkeys(rule for line in lines for rule in _RULE.findall(line))),
    )


def _layer(line: str) -> Layer | None:
    match = _LAYER.match(line)
    if match is None or match["op"] in _BOUNDARY:
        return None
    name = match["name"].partition(":")[2] or match["name"]
    return Layer(
        int(match["id"]), match["op"], match["dtype"], match["unit"], int(match["total"]), int(match["rw"]), name
    )


def _unsupported(line: str) -> Unsupported | None:
    for pattern in _UNSUPPORTED:
        match = pattern.search(line)
        if match:
            return Unsupported(match["op"], (match["name"] or "").strip())
    return None
