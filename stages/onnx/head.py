"""The stock YOLO detection head, found in a graph of somebody else's by its structure.

Ultralytics' `Detect` in export (ultralytics/nn/modules/head.py, 8.0 to 8.4, TorchScript and dynamo exporter,
simplified or not) ends in

    output0 [1, 4 + nc, n] = Concat(boxes * strides, Sigmoid(scores))

where the boxes come from one Softmax over `reg_max` bins (distribution focal loss). From the Sigmoid and from
the Softmax only reshaping lies before the last convolutions of each scale. YOLO26 has one bin and no Softmax.
Names are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcwbuild.contract.errors import InputError
from stages.onnx.walk import Graph

_RESHAPING = frozenset(
    ("Concat", "Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Flatten", "Identity")
)
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "ReduceSum"})


@dataclass(frozen=True)
class Scale:
    """One scale: the tensors that its last convolutions give, [1, 4 * reg_max, h, w] and [1, nc, h, w]."""

    stride: int
    boxes: str
    scores: str


@dataclass(frozen=True)
class Head:
    """A recognised head; `scales` in the order in which the cells stand in `output`."""

    input: str
    output: str
    scales: tuple[Scale, ...]
    reg_max: int
    num_classes: int

    def described(self) -> dict[str, Any]:
        """The head as data, as this project's own export writes it."""
        strides = [scale.stride for scale in self.scales]
        return {
            "family": "yolo_dfl",
            "strides": strides,
            "reg_max": self.reg_max,
            "num_classes": self.num_classes,
            "outputs": [f"{part}_{stride}" for stride in strides for part in ("boxes", "scores")],
            "score_activation": "sigmoid",
        }


def convolutions(graph: Graph, file: str) -> list[tuple[str, str]]:
    """For each scale the tensors that its last convolutions give: boxes, scores.

    Raises InputError, saying what was found instead.
    """
    outputs = list(graph.model.graph.output)
    if len(outputs) != 1:
        names = ", ".join(_shown(out.name) for out in outputs)
        raise unknown(file, f"It has {len(outputs)} outputs ({names}), where a detector has one, [1, 4 + classes, n].")
    boxes, scores = _ends(graph, outputs[0].name, file)
    return _pairs(graph, boxes, scores, file)


def find(
    graph: Graph,
    pairs: Sequence[tuple[str, str]],
    shapes: Mapping[str, tuple[int, ...]],
    size: Sequence[int],
    file: str,
) -> Head:
    """The head of the convolutions `pairs`, by the `shapes` of their tensors and of the output.

    `size` is the input's [H, W]. Raises InputError where the shapes do not fit together.
    """
    scales = tuple(_scale(boxes, scores, shapes, size, file) for boxes, scores in pairs)
    of_boxes, of_scores = ({shapes[name][1] for name in names} for names in zip(*pairs, strict=True))
    if len(of_boxes) != 1 or len(of_scores) != 1 or min(of_boxes) % 4:
        found = f"Its last convolutions give {sorted(of_boxes)} channels of boxes and {sorted(of_scores)} of scores."
        raise unknown(file, found)
    if len({scale.stride for scale in scales}) != len(scales):
        raise unknown(file, f"Its scales have the strides {[scale.stride for scale in scales]}.")
    output = graph.model.graph.output[0].name
    cells = sum(shapes[scale.boxes][2] * shapes[scale.boxes][3] for scale in scales)
    wanted = (1, 4 + min(of_scores), cells)
    if shapes[output] != wanted:
        raise unknown(file, f"Its output is {list(shapes[output])}, where its convolutions mean {list(wanted)}.")
    return Head(graph.model.graph.input[0].name, output, scales, min(of_boxes) // 4, min(of_scores))


def _ends(graph: Graph, output: str, file: str) -> tuple[str, str]:
    """The boxes and the score logits that the output is made of."""
    last = _maker(graph, output)
    kind = last.op_type if last is not None else "nothing"
    info = graph.model.graph.output[0].type.tensor_type.shape
    shape = [dim.dim_value for dim in info.dim]
    if last is None or kind != "Concat" or len(last.input) != 2:
        parts = f" of {len(last.input)} tensors" if kind == "Concat" else ""
        raise unknown(file, f"Its output {_shown(output)} {shape} comes from {kind}{parts}.")
    sigmoid = _maker(graph, last.input[1])
    if sigmoid is None or sigmoid.op_type != "Sigmoid":
        found = sigmoid.op_type if sigmoid is not None else "nothing"
        raise unknown(file, f"The second part of its output {_shown(output)} {shape} comes from {found}, not Sigmoid.")
    return last.input[0], sigmoid.input[0]


def _maker(graph: Graph, tensor: str) -> Any:
    node = graph.makers.get(tensor)
    while node is not None and node.op_type == "Identity":
        node = graph.makers.get(node.input[0])
    return node


def _pairs(graph: Graph, boxes: str, scores: str, file: str) -> list[tuple[str, str]]:
    """For each scale the tensors of boxes and scores as the convolutions give them."""
    plain = graph.back(boxes, _RESHAPING | _ARITHMETIC, "Conv")
    one = plain.found[0].input[0] if len(plain.found) == 1 else boxes  # the convolution that weighs the bins
    bins = graph.back(one, _RESHAPING | _ARITHMETIC, "Softmax")
    if len(bins.found) == 1:
        of_distances = graph.back(bins.found[0].input[0], _RESHAPING, "Conv")
    elif not bins.found and len(plain.found) > 1 and not plain.strange:  # one bin: the convolutions give the distances
        of_distances = plain
    else:
        raise unknown(file, f"Its boxes come from {len(bins.found)} Softmax operators{_in_the_way(plain.strange)}.")
    trails = (of_distances, graph.back(scores, _RESHAPING, "Conv"))
    for trail, what in zip(trails, ("boxes", "scores"), strict=True):
        if not trail.found or trail.strange:
            raise unknown(file, f"Before its {what} stand {len(trail.found)} convolutions{_in_the_way(trail.strange)}.")
    of_boxes, of_scores = ([node.output[0] for node in trail.found] for trail in trails)
    if of_boxes == of_scores:  # up to 8.3 each scale's boxes and scores are joined first, and split after all scales
        of_boxes, of_scores = of_boxes[::2], of_scores[1::2]
    if len(of_boxes) != len(of_scores) or set(of_boxes) & set(of_scores):
        raise unknown(file, f"It has {len(of_boxes)} convolutions for boxes and {len(of_scores)} for scores.")
    return list(zip(of_boxes, of_scores, strict=True))


def _scale(boxes: str, scores: str, shapes: Mapping[str, tuple[int, ...]], size: Sequence[int], file: str) -> Scale:
    """The scale of two convolutions, with its stride from their shapes."""
    ours = [shapes[name] for name in (boxes, scores)]
    if not all(len(shape) == 4 and min(shape) > 0 for shape in ours) or ours[0][2:] != ours[1][2:]:
        raise unknown(file, f"Two of its last convolutions give {list(ours[0])} and {list(ours[1])}.")
    height, width = ours[0][2:]
    stride = size[0] // height
    if (height * stride, width * stride) != tuple(size):
        raise unknown(file, f"A scale has {height} x {width} cells, which is no stride of {size[0]} x {size[1]}.")
    return Scale(stride, boxes, scores)


def _in_the_way(kinds: Sequence[str]) -> str:
    return f", with {', '.join(kinds[:4])} in the way" if kinds else ""


def _shown(name: str) -> str:
    return ascii(name)[:60]


def unknown(file: str, found: str) -> InputError:
    """The refusal of a graph without the stock head."""
    return InputError(
        f"{file} does not end in the detection head of Ultralytics' YOLOs.",
        found,
        "Export the detector with raw outputs, nms left at its default: yolo export format=onnx; or give --pt best.pt.",
        kind="head",
    )
