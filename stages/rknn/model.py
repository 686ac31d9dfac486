"""What comes in: the ONNX file and its source document, held against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, inherit, validate
from mcwbuild.contract.artefacts import OnnxFacts, read_onnx
from mcwbuild.contract.documents import Document
from mcwbuild.contract.errors import ContractBroken, InputError, Problem
from stages.families import Decoding, family_of

MAX_OPSET = 19  # RKNN-Toolkit2 refuses newer ones at load_onnx
BLOCK, HEAD = "mcwbuild.contract", "mcwbuild.head"  # keys of the metadata that the onnx phase writes


@dataclass(frozen=True)
class Model:
    """The model to convert.

    `contract` is the critical block, `verified` whether the ONNX file itself holds the same one; `shapes` are
    the outputs', in the order of the head's names.
    """

    path: Path
    sha256: str
    source: Document
    contract: dict[str, Any]
    contract_sha256: str
    verified: bool
    head: dict[str, Any]
    family: Decoding
    shapes: tuple[tuple[int, ...], ...]

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std in 0..255 units, one value a channel; 0 and 1 where the contract normalises nothing."""
        normal, channels = self.contract["preprocessing"]["normalize"], self.contract["input"]["channels"]
        if not normal["enabled"]:
            return (0.0,) * channels, (1.0,) * channels
        return tuple(map(float, normal["mean"])), tuple(map(float, normal["std"]))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """[1, C, H, W]."""
        return (1, self.contract["input"]["channels"], *self.contract["input"]["size"])


def read(path: Path, source_path: Path) -> Model:
    """Read and check both.

    Raises InputError with everything that is wrong with either, ContractBroken where a critical value of the
    document is not the one in the ONNX file's metadata.
    """
    (source,) = validate.require_all([(source_path, "onnx_source")])
    facts = read_onnx(path)
    contract = inherit.critical(inherit.complete(source.value))
    verified = BLOCK in facts.metadata
    if verified:
        inherit.compare(source, _json(path, facts, BLOCK), "onnx", "onnx", path.name)
    head = _head(path, facts, source)
    family = family_of(head)
    problems = [*_input_problems(path, facts, contract), *_graph_problems(path, facts, head)]
    if head.get("anchors") != contract["model"].get("anchors"):
        problems.append(source.problem(("model", "anchors"), "model.anchors are not those of the head"))
    edited = inherit.own_hash(source)
    if edited is not None and not verified:
        raise ContractBroken(
            f"A critical value in {source_path.name} was changed.",
            remedy="Export again from the first, or retrain.",
            kind="contract",
            problems=[edited, *problems],
        )
    fixed = all(tensor.fixed for tensor in (*facts.inputs, *facts.outputs))
    if problems:
        raise validate.refusal([path.name], problems, "document" if fixed else "dynamic-shape")
    by_name = {tensor.name: tuple(int(length or 0) for length in tensor.shape) for tensor in facts.outputs}
    return Model(
        path=path,
        sha256=disk.sha256_of(path),
        source=source,
        contract=contract,
        contract_sha256=inherit.contract_sha256(inherit.complete(source.value)),
        verified=verified,
        head=head,
        family=family,
        shapes=tuple(by_name[name] for name in head["outputs"]),
    )


def _json(path: Path, facts: OnnxFacts, key: str) -> dict[str, Any]:
    """A mapping from the ONNX metadata."""
    try:
        value = json.loads(facts.metadata[key])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        problem = Problem(f"its metadata {key} is not JSON that describes anything", str(path))
        raise validate.refusal([path.name], [problem])
    return value


def _head(path: Path, facts: OnnxFacts, source: Document) -> dict[str, Any]:
    """How the outputs are decoded: the ONNX metadata says it, else the document's `onnx.head`."""
    written = inherit.value_at(source.value, ("onnx", "head"))
    head = _json(path, facts, HEAD) if HEAD in facts.metadata else written
    if isinstance(head, dict) and isinstance(head.get("outputs"), list):
        return head
    raise InputError(
        f"Nothing says how the outputs of {path.name} are decoded.",
        f"Neither its metadata ({HEAD}) nor onnx.head in {source.file} describes its head.",
        "Export it with mcwbuild, or write onnx.head into the document.",
        kind="head",
        problems=[source.problem(("onnx", "head"), "the head's description is missing")],
    )


def _input_problems(path: Path, facts: OnnxFacts, contract: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the network's input."""
    file = str(path)
    if len(facts.inputs) != 1:
        names = ", ".join(ascii(tensor.name) for tensor in facts.inputs)
        return [Problem(f"the network has {len(facts.inputs)} inputs ({names}), and one is supported", file)]
    (given,) = facts.inputs
    problems = []
    wanted = (1, contract["input"]["channels"], *contract["input"]["size"])
    if not all(isinstance(length, int) for length in given.shape):
        shape = list(given.shape)
        problems.append(Problem(f"the input's shape {shape} is not fixed", file, hint="export with fixed sizes"))
    elif given.shape != wanted:
        found = f"the input's shape is {list(given.shape)}, and the contract asks for {list(wanted)}"
        problems.append(Problem(found, file, hint="[1, channels, height, width] in onnx_source.yaml"))
    if given.dtype != "float32":
        hint = "the compiler aborts on others; normalisation is the toolkit's work"
        problems.append(Problem(f"the input is {given.dtype}, and must be float32", file, hint=hint))
    return problems


def _graph_problems(path: Path, facts: OnnxFacts, head: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the rest of the graph."""
    file = str(path)
    problems = []
    if facts.opset > MAX_OPSET:
        message = f"the opset is {facts.opset}, and the toolkit takes {MAX_OPSET} at most"
        problems.append(Problem(message, file, hint="export again with --opset 19"))
    if facts.external:
        message = "its weights lie in other files, which are not read"
        problems.append(Problem(message, file, hint="export to a single file"))
    names = [tensor.name for tensor in facts.outputs]
    if names != list(head["outputs"]):
        message = f"its outputs are {names}, and its head describes {head['outputs']}"
        problems.append(Problem(message, file, hint="export again"))
    problems += [
        Problem(f"the shape {list(tensor.shape)} of the output {tensor.name!a} is not fixed", file)
        for tensor in facts.outputs
        if not all(isinstance(length, int) and length > 0 for length in tensor.shape)
    ]
    return problems
