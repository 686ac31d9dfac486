"""The heads of Ultralytics' detectors, found in a graph of somebody else's by its structure.

`Detect` in export (ultralytics/nn/modules/head.py, 8.0 to 8.4, TorchScript and dynamo exporter, simplified or not) and
the heads for masks, keypoints and turned boxes, which are made of it, end in

    output0 [1, 4 + nc + more, n] = Concat(boxes * strides, Sigmoid(scores), more)

where the boxes come from one Softmax over `reg_max` bins (distribution focal loss). From the Sigmoid and from
the Softmax only reshaping lies before the last convolutions of each scale. YOLO26 has one bin and no Softmax. `more`
are mask coefficients (with the prototypes as a second output), keypoints, or an angle. A one-to-one head takes
the best of them by TopK at the very end. Names are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.common.segmentation import PROTOTYPE_STRIDE
from stages.onnx.head import Form, Head, Part, declared, in_the_way, maker, shown, stride_of, unknown
from stages.onnx.walk import ARITHMETIC, RESHAPING, Graph

_TURNING = frozenset({"Sin", "Cos", "Sigmoid", "Neg"})  # a turned box's centre lies along its own sides


@dataclass(frozen=True)
class Found:
    """The tensors that the head is made of.

    pairs: for each scale those that the last convolutions give: boxes, scores. more: the third's, one a scale, or
    none. dense: every prediction; best: whether the file gives the best of them only. activated: `more` passes a
    Sigmoid. prototypes: the second output, or empty.
    """

    pairs: tuple[tuple[str, str], ...]
    more: tuple[str, ...]
    dense: str
    best: bool
    activated: bool
    prototypes: str

    @property
    def tensors(self) -> list[str]:
        """All whose shapes have to be known."""
        names = [name for pair in self.pairs for name in pair]
        return [*names, *self.more, self.dense, *([self.prototypes] if self.prototypes else [])]


def convolutions(graph: Graph, file: str) -> Found:
    """The head's last convolutions. Raises InputError, saying what was found instead."""
    outputs = [output.name for output in graph.model.graph.output]
    leaves, dense = _leaves(graph, outputs[0], file)
    boxes, scores, *more = leaves
    several = len(outputs) > 1
    if len(more) > 1 or len(outputs) > 2 or several != (bool(more) and len(declared(graph, -1)) == 4):
        names = ", ".join(shown(name) for name in outputs)
        raise unknown(file, f"It has {len(outputs)} outputs ({names}), made of {len(leaves)} parts.")
    thirds: tuple[str, ...] = ()
    activated = False
    if more:
        trail = graph.back(more[0], RESHAPING | ARITHMETIC | {"Sigmoid"}, "Conv")
        if not trail.found or trail.strange:
            raise unknown(
                file, f"Before its third part stand {len(trail.found)} convolutions{in_the_way(trail.strange)}."
            )
        thirds = tuple(node.output[0] for node in trail.found)
        activated = bool(graph.back(more[0], RESHAPING | ARITHMETIC, "Sigmoid").found)
    pairs = tuple(_pairs(graph, boxes, maker(graph, scores).input[0], thirds, file))
    return Found(pairs, thirds, dense, dense != outputs[0], activated, outputs[1] if several else "")


def _leaves(graph: Graph, output: str, file: str) -> tuple[list[str], str]:
    """What the predictions are joined of (boxes, scores, perhaps a third), and the tensor that they are joined to."""
    last = maker(graph, output)
    shape = declared(graph, 0)
    kind = last.op_type if last is not None else "nothing"
    if kind != "Concat":
        raise unknown(file, f"Its output {shown(output)} {shape} comes from {kind}.")
    for index, node in enumerate(_joining(graph, last)):
        leaves = list(_flat(graph, node, _axis(node)))
        second = maker(graph, leaves[1]) if len(leaves) > 1 else None
        if second is not None and second.op_type == "Sigmoid":
            return leaves, output if index == 0 else node.output[0]
    parts = [maker(graph, name) for name in last.input]
    kinds = [part.op_type if part is not None else "nothing" for part in parts]
    found = (
        f"joins {', '.join(kinds[:4])}"
        if len(kinds) != 2
        else f"has a second part that comes from {kinds[1]}, not Sigmoid"
    )
    raise unknown(file, f"Its output {shown(output)} {shape} {found}.")


def _joining(graph: Graph, last: Any) -> Iterator[Any]:
    """`last`, and where TopK chooses among predictions every Concat before it, the nearest first."""
    yield last
    chosen = graph.back(last.output[0], _CHOOSING, "TopK")
    waiting, seen = list(last.input), set()
    while waiting and chosen.found:
        node = maker(graph, waiting.pop(0))
        if node is None or id(node) in seen or node.op_type in ("Conv", "Softmax"):
            continue
        seen.add(id(node))
        if node.op_type == "Concat":
            yield node
        waiting += node.input


_CHOOSING = RESHAPING | ARITHMETIC | {"Gather", "GatherElements", "Cast", "Mod", "Expand", "Tile", "Floor"}


def _axis(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _flat(graph: Graph, node: Any, axis: int) -> Iterator[str]:
    """The tensors that a Concat joins; those of a Concat that it joins along the same axis one by one."""
    for name in node.input:
        inner = maker(graph, name)
        if inner is not None and inner.op_type == "Concat" and _axis(inner) % 3 == axis % 3:
            yield from _flat(graph, inner, axis)
        else:
            yield name


def _pairs(graph: Graph, boxes: str, scores: str, thirds: Sequence[str], file: str) -> Iterator[tuple[str, str]]:
    """For each scale the tensors of boxes and scores as the convolutions give them."""
    plain = graph.back(boxes, RESHAPING | ARITHMETIC | _TURNING if thirds else RESHAPING | ARITHMETIC, "Conv")
    own = [node for node in plain.found if node.output[0] not in thirds]
    one = own[0].input[0] if len(own) == 1 else boxes  # the convolution that weighs the bins
    bins = graph.back(one, RESHAPING | ARITHMETIC, "Softmax")
    if len(bins.found) == 1:
        found = graph.back(bins.found[0].input[0], RESHAPING, "Conv")
        of_boxes, strange = list(found.found), found.strange
    elif not bins.found and len(own) > 1 and not plain.strange:  # one bin: the convolutions give the distances
        of_boxes, strange = own, ()
    else:
        raise unknown(file, f"Its boxes come from {len(bins.found)} Softmax operators{in_the_way(plain.strange)}.")
    trail = graph.back(scores, RESHAPING, "Conv")
    for nodes, odd, what in ((of_boxes, strange, "boxes"), (trail.found, trail.strange, "scores")):
        if not nodes or odd:
            raise unknown(file, f"Before its {what} stand {len(nodes)} convolutions{in_the_way(odd)}.")
    first, second = ([node.output[0] for node in nodes] for nodes in (of_boxes, trail.found))
    if first == second:  # up to 8.3 each scale's boxes and scores are joined first, and split after all scales
        first, second = first[::2], second[1::2]
    if len(first) != len(second) or set(first) & set(second) or len(thirds) not in (0, len(first)):
        counts = f"{len(first)} convolutions for boxes and {len(second)} for scores"
        raise unknown(file, f"It has {counts}{f', {len(thirds)} for the rest' if thirds else ''}.")
    return iter(zip(first, second, strict=True))


def find(graph: Graph, found: Found, shapes: Mapping[str, tuple[int, ...]], size: Sequence[int], file: str) -> Head:
    """The head of the convolutions `found`, by the `shapes` of its tensors.

    `size` is the input's [H, W]. Raises InputError where the shapes do not fit together.
    """
    strides = [
        _stride([*pair, *found.more[index : index + 1]], shapes, size, file) for index, pair in enumerate(found.pairs)
    ]
    of_boxes, of_scores = ({shapes[name][1] for name in names} for names in zip(*found.pairs, strict=True))
    of_more = {shapes[name][1] for name in found.more}
    if len(of_boxes) != 1 or len(of_scores) != 1 or len(of_more) > 1 or min(of_boxes) % 4:
        counts = f"{sorted(of_boxes)} channels of boxes and {sorted(of_scores)} of scores"
        raise unknown(
            file, f"Its last convolutions give {counts}{f', {sorted(of_more)} of the rest' if of_more else ''}."
        )
    if len(set(strides)) != len(strides):
        raise unknown(file, f"Its scales have the strides {strides}.")
    cells = sum(shapes[boxes][2] * shapes[boxes][3] for boxes, _ in found.pairs)
    wanted = (1, 4 + min(of_scores) + sum(of_more), cells)
    if shapes[found.dense] != wanted:
        raise unknown(file, f"Its output is {list(shapes[found.dense])}, where its convolutions mean {list(wanted)}.")
    family, names, more = _task(found, sum(of_more), min(of_boxes) // 4, shapes, size, file)
    described = {
        "family": family,
        "strides": strides,
        "reg_max": min(of_boxes) // 4,
        "num_classes": min(of_scores),
        **more,
        "outputs": [f"{name}_{stride}" for stride in strides for name in ("boxes", "scores", *names)]
        + (["prototypes"] if found.prototypes else []),
        "score_activation": "sigmoid",
        **({"nms": False} if found.best else {}),
    }
    outputs = tuple(output.name for output in graph.model.graph.output)
    form: Form = "best" if found.best else "dense"
    return Head(graph.model.graph.input[0].name, form, described, tuple(_parts(found, described)), outputs, found.dense)


def _task(
    found: Found, channels: int, bins: int, shapes: Mapping[str, tuple[int, ...]], size: Sequence[int], file: str
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """The head's family, the names of a scale's outputs beside boxes and scores, and what describes them."""
    if found.prototypes:
        wanted = (1, channels, *(side // PROTOTYPE_STRIDE for side in size))
        if shapes[found.prototypes] != wanted:
            raise unknown(file, f"Its prototypes are {list(shapes[found.prototypes])}, not {list(wanted)}.")
        return "yolo_masks", ("coefficients",), {"prototypes": channels}
    if not found.more:
        return "yolo_dfl", (), {}
    if channels == 1:
        return "yolo_turned", ("angles",), {"angle": "sigmoid" if found.activated else "radians"}
    numbers = 3 if found.activated else 2
    if channels % numbers:
        raise unknown(file, f"It has {channels} channels of keypoints, which are {numbers} numbers each.")
    # YOLO26 counts in cells from a cell's centre, the others in double cells from its corner.
    described = {"keypoints": [channels // numbers, numbers], "keypoint_unit": 1 if bins == 1 else 2}
    return "yolo_poses", ("keypoints", "visible")[: numbers - 1], described


def _parts(found: Found, described: Mapping[str, Any]) -> Iterator[Part]:
    """The cut's outputs in the head's order."""
    names = iter(described["outputs"])
    for index, (boxes, scores) in enumerate(found.pairs):
        yield Part(next(names), boxes)
        yield Part(next(names), scores, sigmoid=True)
        if described["family"] == "yolo_poses":
            count, numbers = described["keypoints"]
            rows = range(count * numbers)
            yield Part(next(names), found.more[index], tuple(row for row in rows if row % numbers < 2))
            if numbers == 3:
                yield Part(next(names), found.more[index], tuple(row for row in rows if row % 3 == 2), sigmoid=True)
        elif found.more:
            yield Part(next(names), found.more[index], sigmoid=found.activated)
    if found.prototypes:
        yield Part(next(names), found.prototypes)


def _stride(tensors: Sequence[str], shapes: Mapping[str, tuple[int, ...]], size: Sequence[int], file: str) -> int:
    """The stride of a scale's convolutions, from their shapes."""
    ours = [shapes[name] for name in tensors]
    if not all(len(shape) == 4 and min(shape) > 0 for shape in ours) or len({shape[2:] for shape in ours}) != 1:
        raise unknown(file, f"Some of its last convolutions give {' and '.join(str(list(shape)) for shape in ours)}.")
    return stride_of(ours[0][2:], size, file)
