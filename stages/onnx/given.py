"""An ONNX file of somebody else's: read, validated, its head found and cut at the convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]  # no stubs

import onnx
from mcwbuild.contract import disk
from mcwbuild.contract.artefacts import OnnxFacts, read_onnx
from mcwbuild.contract.errors import InputError, Problem, StageFailed
from stages.families.shapes import output_shapes
from stages.onnx import head as heads
from stages.onnx.head import Head
from stages.onnx.walk import Graph, graph_of, measured

INPUT = "images"  # what the network's input is called from here on, as Ultralytics calls it
OPSETS = range(12, 20)  # what RKNN-Toolkit2 is proven with; it refuses 20
MAX_BYTES = (2 << 30) - 1  # where protobuf ends
_IR_VERSION = 10  # what PyTorch writes today; the rknn phase's onnx 1.18 reads 11 at most
_OURS = "mcwbuild.contract"


@dataclass(frozen=True)
class Given:
    """The given file: its bytes, its metadata, the size [H, W] and channels of its input, its head."""

    path: Path
    sha256: str
    data: bytes
    metadata: Mapping[str, str]
    opset: int
    producer: tuple[str, str]
    size: tuple[int, int]
    channels: int
    head: Head

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.name


def read(path: Path) -> Given:
    """Read and check the file. Raises InputError: no ONNX, what RKNN does not take, a head that is not known."""
    facts, model, data = validated(path)
    _, channels, height, width = (int(length or 0) for length in facts.inputs[0].shape)
    return Given(
        path=path,
        sha256=disk.sha256_of(path),
        data=data,
        metadata=facts.metadata,
        opset=facts.opset,
        producer=(model.producer_name or "unknown", model.producer_version or "unknown"),
        size=(height, width),
        channels=channels,
        head=_head(path, model, (1, channels, height, width)),
    )


def validated(path: Path) -> tuple[OnnxFacts, Any, bytes]:
    """What the file says about itself, its model checked in full, and its bytes. Raises InputError."""
    facts = read_onnx(path)
    problems = list(_problems(path, facts))
    if problems:
        raise InputError(
            f"{path.name} cannot be taken as it is.",
            f"{problems[0].message[0].upper()}{problems[0].message[1:]}.",
            "Export it again: yolo export format=onnx opset=17, without half, dynamic and int8.",
            kind="onnx",
            problems=problems,
        )
    data = path.read_bytes()
    return facts, _checked(path, data), data


def _problems(path: Path, facts: OnnxFacts) -> Iterator[Problem]:
    """What the file's outside says against it."""
    file = str(path)
    if path.stat().st_size > MAX_BYTES:
        yield Problem(f"the file has {path.stat().st_size} bytes, and {MAX_BYTES} are possible", file)
    if _OURS in facts.metadata:
        hint = "convert it with its onnx_source.yaml: mcwbuild convert"
        yield Problem("it was made by mcwbuild, its head is cut already", file, hint=hint)
    if facts.opset not in OPSETS:
        yield Problem(f"its opset is {facts.opset}, and {OPSETS[0]} to {OPSETS[-1]} are taken", file)
    if facts.external:
        yield Problem("its weights lie in other files, which are not read", file, hint="export to a single file")
    if len(facts.inputs) != 1:
        yield Problem(f"it has {len(facts.inputs)} inputs, and one is taken", file)
        return
    (tensor,) = facts.inputs
    if tensor.dtype != "float32":
        yield Problem(f"its input is {tensor.dtype}, and must be float32", file)
    fixed = len(tensor.shape) == 4 and all(isinstance(length, int) and length > 0 for length in tensor.shape)
    if not fixed or tensor.shape[0] != 1 or tensor.shape[1] not in (1, 3, 4):
        yield Problem(f"its input is {list(tensor.shape)}, and must be a fixed [1, channels, height, width]", file)


def _checked(path: Path, data: bytes) -> Any:
    """The model, checked in full. Other files are never opened: the model comes from bytes."""
    try:
        model = onnx.load_from_string(data)
        external = [tensor.name for tensor in _tensors(model.graph) if tensor.data_location == tensor.EXTERNAL]
        if external:
            raise ValueError(f"the tensor {ascii(external[0])[:60]} lies in another file")
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        said = (str(error).strip().splitlines() or ["it cannot be decoded"])[0][:300]
        raise _invalid(path, f"onnx {onnx.__version__} says: {said}") from error
    return model


def _invalid(path: Path, found: str) -> InputError:
    return InputError(
        f"{path.name} is not a valid ONNX file.",
        f"{found.removesuffix('.')}.",
        "Export it again.",
        kind="onnx",
        problems=[Problem(f"not a valid ONNX file: {found}", str(path))],
    )


def _head(path: Path, model: Any, shape: tuple[int, ...]) -> Head:
    """The head, by the graph's structure and by the shapes that come out of it."""
    graph = graph_of(model)
    pairs = heads.convolutions(graph, path.name)
    tensors = [name for pair in pairs for name in pair]
    try:
        shapes = measured(model, [*tensors, model.graph.output[0].name], shape)
    except StageFailed as error:
        raise _invalid(path, error.found) from error
    return heads.find(graph, pairs, shapes, shape[2:], path.name)


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor that is written out in the graph: weights, constants, those of inner graphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _tensors(inner)


def cut(given: Given) -> bytes:
    """The given model up to the head's convolutions, outputs as this project's own export has them.

    float32 images [1, C, H, W] in; for each scale boxes_<stride> [1, 4 * reg_max, h, w], the distance logits, and
    scores_<stride> [1, nc, h, w] after a Sigmoid of its own. Raises InputError where a tensor has one of these names.
    """
    graph = graph_of(onnx.load_from_string(given.data))
    names = {given.head.input: INPUT, **{scale.boxes: f"boxes_{scale.stride}" for scale in given.head.scales}}
    nodes = list(graph.needed([tensor for scale in given.head.scales for tensor in (scale.boxes, scale.scores)]))
    made = set(names.values()) | {f"scores_{scale.stride}" for scale in given.head.scales}
    taken = made & {name for node in nodes for name in (*node.input, *node.output)} - {INPUT}
    if taken:
        raise heads.unknown(given.file, f"A tensor inside of it is called {min(taken)}, as an output will be.")
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    nodes += [
        onnx.helper.make_node("Sigmoid", [scale.scores], [f"scores_{scale.stride}"], name=f"scores_{scale.stride}")
        for scale in given.head.scales
    ]
    return _model(graph, given, nodes)


def _model(graph: Graph, given: Given, nodes: list[Any]) -> bytes:
    """A model of `nodes` with the weights that they use."""
    used = {name for node in nodes for name in node.input}
    described = given.head.described()
    of_float = onnx.TensorProto.FLOAT
    made = onnx.helper.make_graph(
        nodes,
        graph.model.graph.name or "graph",
        [onnx.helper.make_tensor_value_info(INPUT, of_float, [1, given.channels, *given.size])],
        [
            onnx.helper.make_tensor_value_info(name, of_float, shape)
            for name, shape in zip(described["outputs"], output_shapes(described, given.size), strict=True)
        ],
        [weight for weight in graph.model.graph.initializer if weight.name in used],
    )
    model = onnx.helper.make_model(made, opset_imports=graph.model.opset_import, functions=graph.model.functions)
    model.ir_version = min(graph.model.ir_version, _IR_VERSION)
    model.producer_name, model.producer_version = graph.model.producer_name, graph.model.producer_version
    data: bytes = model.SerializeToString(deterministic=True)
    return data
