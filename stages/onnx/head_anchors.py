"""The anchor head of the original YOLOv5 and of YOLOv7, found in a graph of somebody else's.

`export.py` writes one output [1, n, 5 + nc], decoded; older versions the raw maps [1, anchors, h, w, 5 + nc] behind it,
or these alone. Rockchip's fork writes [1, anchors * (5 + nc), h, w] of each scale, after the sigmoid or before it.

Every version writes the arithmetic of its boxes otherwise (ScatterND, Split, Pow, Mul; anchors spread over all cells,
and multiplied by 4 or not). So the anchors are not looked for as constants: a decoded file tells them by what it does.
It is run once on noise, each anchor is its width or height divided by (2 s)^2, and then all its boxes have to
be those of the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.families.yolo.anchors import described as described_head
from stages.families.yolo.anchors import rounded
from stages.families.yolo.decode_anchors import decode_anchors
from stages.onnx.head import Head, Part, declared, shown, stride_of, unknown
from stages.onnx.walk import ARITHMETIC, RESHAPING, Graph, values

_DECODING = RESHAPING | ARITHMETIC | {"Pow", "ScatterND", "ScatterElements", "Expand", "Cast", "Gather"}
_MAX_ERROR = 0.05  # pixels; float32 in another order differs by 0.001


def maps(graph: Graph) -> tuple[list[str], bool] | None:
    """Where all outputs are raw maps: the convolutions' tensors, and whether a sigmoid is behind them; else None."""
    outputs = graph.model.graph.output
    if {len(declared(graph, index)) for index in range(len(outputs))} not in ({4}, {5}):
        return None
    return _convolutions(graph, [output.name for output in outputs])


def decoded(graph: Graph) -> list[str] | None:
    """Where the first output is decoded from maps, and the others are these: the convolutions' tensors; else None."""
    outputs = graph.model.graph.output
    ranks = [len(declared(graph, index)) for index in range(len(outputs))]
    trail = graph.back(outputs[0].name, _DECODING, "Sigmoid")
    if ranks != [3, *([5] * (len(ranks) - 1))] or trail.strange or not trail.found:
        return None
    found = _convolutions(graph, [node.input[0] for node in trail.found])
    return found[0] if found is not None else None


def _convolutions(graph: Graph, tensors: Sequence[str]) -> tuple[list[str], bool] | None:
    """The one convolution before each tensor, and whether all have a Sigmoid between."""
    trails = [graph.back(name, RESHAPING | {"Sigmoid"}, "Conv") for name in tensors]
    if any(len(trail.found) != 1 or trail.strange for trail in trails):
        return None
    activated = {bool(graph.back(name, RESHAPING, "Sigmoid").found) for name in tensors}
    return ([trail.found[0].output[0] for trail in trails], activated.pop()) if len(activated) == 1 else None


def of_maps(graph: Graph, tensors: Sequence[str], activated: bool, shape: tuple[int, ...], file: str) -> Head:
    """The head of a file that gives the maps alone: its anchors and its number of classes stand in no part of it."""
    outputs = [output.name for output in graph.model.graph.output]
    found = values(graph.model, tensors, np.zeros(shape, np.float32))
    pairs = zip(tensors, outputs, strict=True)
    scales = sorted((stride_of(found[tensor].shape[2:], shape[2:], file), tensor, name) for tensor, name in pairs)
    strides = [stride for stride, _, _ in scales]
    channels = {found[name].shape[1] for name in tensors}
    if len(channels) != 1 or len(set(strides)) != len(strides):
        raise unknown(file, f"Its maps have {sorted(channels)} channels, and the strides {strides}.")
    described = {**described_head([], strides, 0), "channels": channels.pop()}
    del described["anchors"], described["num_classes"]
    tensors, outputs = [tensor for _, tensor, _ in scales], [output for _, _, output in scales]
    return _head(graph, described, tensors, outputs, "maps", activated)


def of_decoded(graph: Graph, tensors: Sequence[str], shape: tuple[int, ...], file: str) -> Head:
    """The head of a file that decodes its maps itself. Raises InputError where it does so otherwise."""
    output = graph.model.graph.output[0].name
    noise = np.random.default_rng(0).random(shape, np.float32)
    found = values(graph.model, [*tensors, output], noise)
    rows = found[output]
    if rows.ndim != 3 or rows.shape[2] < 6 or rows.shape[0] != 1:
        raise unknown(file, f"Its output {shown(output)} is {list(rows.shape)}, not [1, n, 5 + classes].")
    strides = [stride_of(found[name].shape[2:], shape[2:], file) for name in tensors]
    counts = [found[name].shape[1] // rows.shape[2] for name in tensors]
    cells = [count * found[name].shape[2] * found[name].shape[3] for count, name in zip(counts, tensors, strict=True)]
    fits = all(found[name].shape[1] == count * rows.shape[2] for count, name in zip(counts, tensors, strict=True))
    if not fits or sum(cells) != rows.shape[1] or sorted(set(strides)) != strides:
        shapes = [list(found[name].shape) for name in tensors]
        raise unknown(file, f"Its output {shown(output)} {list(rows.shape)} comes from maps {shapes}.")
    shares = [1 / (1 + np.exp(-found[name].astype(np.float64))) for name in tensors]
    starts = np.cumsum([0, *cells])
    anchors = [
        _anchors(
            share.reshape(count, rows.shape[2], -1), rows[0, start : start + length].reshape(count, -1, rows.shape[2])
        )
        for share, count, start, length in zip(shares, counts, starts, cells, strict=False)
    ]
    described = described_head(anchors, strides, rows.shape[2] - 5)
    made, *_ = decode_anchors([share.astype(np.float32) for share in shares], described, -1.0)
    box, half = rows[0, :, :2], rows[0, :, 2:4] / 2
    wrong = np.abs(made[:: rows.shape[2] - 5] - np.concatenate([box - half, box + half], axis=1)).max()
    if not wrong <= _MAX_ERROR:
        raise unknown(file, f"Its boxes are not (2 s)^2 times an anchor: the nearest are {wrong:.3g} pixels off.")
    return _head(graph, described, tensors, [output], "cells", True)


def _anchors(shares: NDArray[np.float64], rows: NDArray[np.float32]) -> Any:
    """[count][width, height] in pixels from s [count, 5 + nc, n] and the file's own boxes [count, n, 5 + nc].

    Each by the cell where s is largest, where rounding counts least.
    """
    share = shares[:, 2:4].transpose(0, 2, 1)
    best = share.argmax(axis=1)[:, None]
    sides, s = (np.take_along_axis(one, best, axis=1)[:, 0] for one in (rows[:, :, 2:4].astype(np.float64), share))
    return rounded((sides / (2 * s) ** 2)[None])[0]


def _head(
    graph: Graph, described: dict[str, Any], tensors: Sequence[str], outputs: Sequence[str], form: Any, activated: bool
) -> Head:
    parts = (Part(name, tensor, sigmoid=True) for name, tensor in zip(described["outputs"], tensors, strict=True))
    return Head(graph.model.graph.input[0].name, form, described, tuple(parts), tuple(outputs), activated=activated)
