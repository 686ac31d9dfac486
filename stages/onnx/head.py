"""What a head that was found in a graph of somebody else's is: what the cut takes, and how the file itself decodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mcwbuild.contract.errors import InputError
from stages.onnx.walk import Graph

# How a file's own outputs hold its predictions: `dense` [1, 4 + classes + more, n] with boxes as centre and sides;
# `best` the best of them only, with boxes as corners, score and class; `cells` [1, n, 5 + classes]; `maps` as the
# convolutions give them, or after the sigmoid; `classes` probabilities.
Form = Literal["dense", "best", "cells", "maps", "classes"]


@dataclass(frozen=True)
class Part:
    """One output of the cut: the graph's tensor that it is.

    rows: of the convolution that gives the tensor, those that are taken; empty: all. sigmoid: comes behind it.
    linear: the tensor is pooled [1, c, 1, 1], and the operator of this output stands behind it as a convolution.
    """

    name: str
    tensor: str
    rows: tuple[int, ...] = ()
    sigmoid: bool = False
    linear: str = ""


@dataclass(frozen=True)
class Head:
    """A recognised head.

    described: as data, as this project's own export writes it. outputs: the file's own, which it is deployed by.
    dense: the tensor with every prediction, where the outputs hold the best ones only. activated: of `maps`.
    """

    input: str
    form: Form
    described: dict[str, Any]
    parts: tuple[Part, ...]
    outputs: tuple[str, ...]
    dense: str = ""
    activated: bool = True


def maker(graph: Graph, tensor: str) -> Any:
    """The operator that makes `tensor`, through Identity; None where it is a weight or the input."""
    node = graph.makers.get(tensor)
    while node is not None and node.op_type == "Identity":
        node = graph.makers.get(node.input[0])
    return node


def declared(graph: Graph, index: int) -> list[int]:
    """The shape that the graph declares for an output; 0 where it is not fixed."""
    return [dim.dim_value for dim in graph.model.graph.output[index].type.tensor_type.shape.dim]


def stride_of(cells: Sequence[int], size: Sequence[int], file: str) -> int:
    """Pixels to a cell, of [h, w] cells for an input of [H, W]. Raises InputError where there is no whole number."""
    if len(cells) != 2 or min(cells) < 1:
        raise unknown(file, f"A scale has the cells {list(cells)}.")
    height, width = cells
    stride = size[0] // height
    if (height * stride, width * stride) != tuple(size):
        raise unknown(file, f"A scale has {height} x {width} cells, which is no stride of {size[0]} x {size[1]}.")
    return stride


def in_the_way(kinds: Sequence[str]) -> str:
    """Operators that a walk did not expect, as the end of a sentence."""
    return f", with {', '.join(kinds[:4])} in the way" if kinds else ""


def shown(name: str) -> str:
    """A tensor's name in a message."""
    return ascii(name)[:60]


def unknown(file: str, found: str) -> InputError:
    """The refusal of a graph without a head that is known."""
    return InputError(
        f"{file} does not end in a head of Ultralytics' YOLOs or of the original YOLOv5.",
        found,
        "Export the network with raw outputs, nms left at its default: yolo export format=onnx; or give --pt best.pt.",
        kind="head",
    )
