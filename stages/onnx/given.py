"""An ONNX file of somebody else's: read, validated, its head found and cut at the convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]  # no stubs

import onnx
from mcwbuild.contract import disk
from mcwbuild.contract.artefacts import OnnxFacts, read_onnx
from mcwbuild.contract.errors import InputError, Problem, StageFailed
from mcwbuild.contract.marks import shown
from stages.common.graph_findings import selection
from stages.onnx import cut as cuts
from stages.onnx import head_anchors, head_classes, head_stock
from stages.onnx.head import Head
from stages.onnx.walk import exposed, graph_of, measured

OPSETS = range(12, 20)  # what RKNN-Toolkit2 is proven with; it refuses 20
MAX_BYTES = (2 << 30) - 1  # where protobuf ends
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

    def exposed(self, tensors: Sequence[str]) -> bytes:
        """The model with `tensors` among its outputs."""
        return exposed(onnx.load_from_string(self.data), tensors)


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
            kind="onnx" if all(tensor.fixed for tensor in facts.inputs) else "dynamic-shape",
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
    if not facts.outputs:
        yield Problem("it has no outputs", file)
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
    try:
        if head_classes.softmax(graph) is not None:
            return head_classes.find(graph, shape, path.name)
        raw = head_anchors.maps(graph)
        if raw is not None:
            return head_anchors.of_maps(graph, *raw, shape, path.name)
        of_anchors = head_anchors.decoded(graph)
        if of_anchors is not None:
            return head_anchors.of_decoded(graph, of_anchors, shape, path.name)
        stock = head_stock.convolutions(graph, path.name)
        return head_stock.find(graph, stock, measured(model, stock.tensors, shape), shape[2:], path.name)
    except StageFailed as error:
        raise _invalid(path, error.found) from error
    except InputError as error:
        raise _selecting(model, error) from error


def _selecting(model: Any, error: InputError) -> InputError:
    """The same error; where the graph selects its results itself, that is why its head is not known."""
    found = selection([(node.op_type, shown(node.name or node.output[0])) for node in model.graph.node])
    if found is None:
        return error
    return InputError(error.what, f"{error.found} {found.what}", found.remedy, kind=found.name)


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
    """The given model up to its head's convolutions; see `cut.cut`. Raises InputError."""
    return cuts.cut(given.data, given.head, given.channels, given.size, given.file)
