"""What INT8 does to each layer: the toolkit's accuracy analysis, and which layers read which.

The analysis runs one image through the float network and through the quantized one. A layer's own error (`single` in
its table) is what that layer alone adds, being fed the float values; the total one (`entire`) is what has gathered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_COSINE = r"(-?\d\.\d{5}|-?nan)"
# Wide figures run together, as `1061.842290.99991`; a cosine always has five decimals.
_NUMBERS = re.compile(rf"{_COSINE} \| (\S+?)\s*{_COSINE} \| (\S+)\s*$")
_ROW = re.compile(r"^\[(?P<op>\w+)\] (?P<tensor>\S+)\s*(?P<rest>.*)$")
_BOUNDARY = ("Input", "exDataConvert")  # conversions at the network's ends, no layers
_AS_INT8 = "_int8"  # what the analysis appends to an output that is converted behind its layer


@dataclass(frozen=True)
class Beside:
    """A tensor's agreement with ONNX Runtime's: cosine, and signal-to-noise ratio in decibels; None: not finite."""

    cosine: float | None
    snr_db: float | None


@dataclass(frozen=True)
class LayerError:
    """One layer as the toolkit fuses it: its tensors by the toolkit's names, the last being its result.

    `nodes` are its operators' names, `reads` the tensors of other layers that it reads; `cosine` and `error`
    (Euclidean) are its own, `total_cosine` and `total_error` those that have gathered; `onnx_cosine` and
    `onnx_snr_db` compare its result with ONNX Runtime's of the ONNX file, `added` is the noise that it adds by them, as
    a share of its signal. None: not finite, or of `onnx_*` and `added`: the ONNX file has no such tensor.
    """

    op: str
    tensors: tuple[str, ...]
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    cosine: float | None
    error: float | None
    total_cosine: float | None
    total_error: float | None
    onnx_cosine: float | None = None
    onnx_snr_db: float | None = None
    added: float | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> LayerError:
        """From the plain data that `asdict` gives."""
        return cls(**{**data, **{name: tuple(data[name]) for name in ("tensors", "nodes", "reads")}})


def parse(text: str, graph: Iterable[tuple[str, Sequence[str], Sequence[str]]]) -> list[LayerError]:
    """The layers in the toolkit's `error_analysis.txt`; `graph` gives each operator's name, inputs and outputs."""
    producers = {out: (name, inputs) for name, inputs, outputs in graph for out in outputs}
    found: list[LayerError] = []
    waiting: list[tuple[str, str]] = []  # rows without numbers are fused into the next one that has some
    for line in text.splitlines():
        row = _ROW.match(line)
        if row is None or row["op"] in _BOUNDARY:
            continue
        tensor = row["tensor"]
        if tensor not in producers and tensor.endswith(_AS_INT8):
            tensor = tensor.removesuffix(_AS_INT8)
        waiting.append((row["op"], tensor))
        numbers = _NUMBERS.search(row["rest"])
        if numbers is None:
            continue
        tensors = tuple(name for _, name in waiting if name in producers)
        nodes = [producers[name] for name in tensors]
        needed = [name for _, inputs in nodes for name in inputs]
        reads = dict.fromkeys(name for name in needed if name in producers and name not in tensors)
        total_cosine, total_error, cosine, error = map(_finite, numbers.groups())
        if tensors:
            found.append(
                LayerError(
                    waiting[0][0], tensors, tuple(name for name, _ in nodes), tuple(reads), cosine, error,
                    total_cosine, total_error,
                )
            )  # fmt: skip
        waiting = []
    return found


def with_reference(layers: Sequence[LayerError], beside: Mapping[str, Beside]) -> list[LayerError]:
    """The layers with their results held against ONNX Runtime's, where `beside` has them."""
    return [
        replace(
            layer,
            onnx_cosine=found.cosine if found else None,
            onnx_snr_db=found.snr_db if found else None,
            added=added_noise(found, [beside.get(name) for name in layer.reads]),
        )
        for layer in layers
        for found in [beside.get(layer.tensors[-1])]
    ]


def added_noise(own: Beside | None, read: Sequence[Beside | None]) -> float | None:
    """How much noise a layer adds, as a share of its signal: what its result holds beyond the noisiest of its inputs.

    None where the layer's own noise is not known.
    """
    if own is None or own.snr_db is None:
        return None
    before = [_noise(one.snr_db) for one in read if one is not None and one.snr_db is not None]
    return max(0.0, _noise(own.snr_db) - max(before, default=0.0))


def _noise(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
