"""What the `.rknn` says about itself, held against what it was asked to be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk
from mcwbuild.contract.artefacts import RknnFacts, read_rknn
from mcwbuild.contract.errors import ContractBroken, InputError, Problem, StageFailed
from mcwbuild.contract.readback import rknn_problems
from mcwbuild.contract.targets import Target
from stages.rknn.model import Model
from stages.rknn.targets import Variant

_QUANTIZED = "quantization"
MAX_CUSTOM_STRING = 1023  # bytes that the toolkit takes


@dataclass(frozen=True)
class Artefact:
    """A `.rknn` in the package, and what was read back from its bytes."""

    path: Path
    sha256: str
    size: int
    facts: RknnFacts


def read(path: Path, variant: Variant, model: Model, target: Target, toolkit: str, *, finer: bool = False) -> Artefact:
    """Read the file back and compare it with the contract and the request.

    `finer`: some of its layers are in a finer type than INT8, the first and the last ones perhaps, which is all that
    the file tells of its types.

    Raises ContractBroken with one problem for each difference, StageFailed where the file cannot be read back.
    """
    try:
        facts = read_rknn(path)
    except InputError as error:
        raise StageFailed(
            f"{path.name} cannot be read back.", error.what, "Use RKNN-Toolkit2 2.3.2.", kind="unknown-layout"
        ) from error
    problems = rknn_problems(model.source, facts, target=target.platform)
    problems += [
        Problem(f"{what} is {found} in {path.name} but {wanted} was asked for", path.name)
        for what, found, wanted in _compared(facts, variant, model, toolkit)
        if found != wanted and not (finer and what == _QUANTIZED)
    ]
    if problems:
        raise ContractBroken(
            f"{path.name} is not what was asked for.",
            f"{problems[0].message}.",
            "Convert again; if it stays so, this version of the toolkit cannot be used.",
            kind="contract",
            problems=problems,
        )
    return Artefact(path, disk.sha256_of(path), path.stat().st_size, facts)


def custom_string(model: Model, version: str) -> str:
    """What the `.rknn` carries in clear: version, contract and model, ASCII.

    A model name that is too long when it is written in ASCII is left out, not cut.
    """
    data = {"mcwbuild": version, "contract_sha256": model.contract_sha256}
    named = json.dumps({**data, "model": model.source.value["model"]["name"]}, ensure_ascii=True)
    return named if len(named) <= MAX_CUSTOM_STRING else json.dumps(data)


def _compared(facts: RknnFacts, variant: Variant, model: Model, toolkit: str) -> Iterator[tuple[str, Any, Any]]:
    """What the contract does not say and the request does: each property's name, as found, as wanted."""
    yield "toolkit version", facts.toolkit, toolkit
    yield "swapped channel order", facts.rgb2bgr, False
    yield _QUANTIZED, facts.quantized, variant == "int8"
    yield "outputs", [tensor.name for tensor in facts.outputs], list(model.head["outputs"])
    yield "output shapes", [list(tensor.shape) for tensor in facts.outputs], [list(shape) for shape in model.shapes]
