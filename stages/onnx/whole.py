"""An ONNX file of somebody else's that nothing is cut from: a classifier, or any other network; outputs as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from mcwbuild.contract import disk
from mcwbuild.contract.artefacts import read_onnx
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import text_problems
from stages.common.image_set import ImageSet
from stages.families.plain.heads import HEADS, Probe
from stages.onnx.cut import INPUT
from stages.onnx.given import validated
from stages.onnx.ort_runner import OrtRunner

_PROBES = 4  # images on which its outputs are looked at
_FLOAT32 = "float32"


@dataclass(frozen=True)
class Whole:
    """The file: its bytes, the size [H, W] and channels of its input, the names of its outputs."""

    path: Path
    sha256: str
    data: bytes
    opset: int
    producer: tuple[str, str]
    size: tuple[int, int]
    channels: int
    input: str
    outputs: tuple[str, ...]

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.name

    def head(self, runner: OrtRunner, images: ImageSet, contract: Mapping[str, Any]) -> dict[str, Any]:
        """How its outputs are taken, found by looking. Raises InputError where they are not those of the task."""
        found = tuple(tuple(runner.run(runner.feed(image))) for image in images.prepared(contract, _PROBES))
        probe = Probe(self.outputs, found, unsoftened=False)
        head = HEADS[contract["model"]["task"]].describe(probe, contract, self.file)
        return {**head, "outputs": list(self.outputs)}

    def renamed(self) -> bytes:
        """The model with its input called as all of ours are. Raises InputError where something else has that name."""
        model = onnx.load_from_string(self.data)
        names = {name for node in model.graph.node for name in (*node.input, *node.output)}
        names |= {weight.name for weight in model.graph.initializer}
        if self.input != INPUT and INPUT in names:
            raise _unusable(self.path, f"a tensor inside of it is called {INPUT}, as its input will be")
        for node in model.graph.node:
            node.input[:] = [INPUT if name == self.input else name for name in node.input]
        weights = {weight.name for weight in model.graph.initializer}
        kept = [value for value in model.graph.input if value.name not in weights]
        kept[0].name = INPUT
        del model.graph.input[:]
        model.graph.input.extend(kept)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def takes(path: Path, task: str | None) -> bool:
    """Whether a file for `task` goes through whole: of Ultralytics' own classifiers, which name it, the head is cut."""
    return task in HEADS and not (task == "classification" and read_onnx(path).metadata.get("task") == "classify")


def read(path: Path) -> Whole:
    """Read and check the file. Raises InputError: no ONNX, or what RKNN does not take."""
    facts, model, data = validated(path)
    problems = [f"the output {tensor.name!a} is {tensor.dtype}" for tensor in facts.outputs if tensor.dtype != _FLOAT32]
    for tensor in facts.outputs:
        problems += [f"the name of an output: {reason}" for _, reason, _ in text_problems(tensor.name)]
    if problems:
        raise _unusable(path, problems[0])
    _, channels, height, width = (int(length or 0) for length in facts.inputs[0].shape)
    return Whole(
        path=path,
        sha256=disk.sha256_of(path),
        data=data,
        opset=facts.opset,
        producer=(model.producer_name or "unknown", model.producer_version or "unknown"),
        size=(height, width),
        channels=channels,
        input=facts.inputs[0].name,
        outputs=tuple(tensor.name for tensor in facts.outputs),
    )


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        f"{path.name} cannot be taken as it is.",
        f"{found[0].upper()}{found[1:]}.",
        "Export it again with float32 outputs under plain names.",
        kind="onnx",
        problems=[Problem(found, str(path))],
    )
