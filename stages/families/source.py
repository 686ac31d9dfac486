"""`training_source.yaml`: generated from the checkpoint, or given and checked against it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mcwbuild.contract import inherit, validate
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import Document
from stages.common import images
from stages.common.checkpoint import Checkpoint
from stages.families.family import Family


def read_source(path: Path, schema: str = "training_source") -> Document:
    """The given `training_source.yaml`, valid by its schema and by its own hash. Raises InputError."""
    (document,) = validate.require_all([(path, schema)])
    edited = inherit.own_hash(document)
    if edited is not None:
        raise InputError(
            f"{path.name} was edited after its contract was written.", f"{edited}.", "See the hint.", problems=[edited]
        )
    return document


def against_checkpoint(document: Document, checkpoint: Checkpoint, family: Family) -> dict[str, Any]:
    """The given source, completed, with its checkpoint written down.

    Raises ContractBroken where a value that the checkpoint knows (class names and number, task, anchors, channels) is
    another one, InputError where the input size does not fit the network or the preprocessing cannot be done.
    """
    source = inherit.complete(document.value)
    known = family.describe(checkpoint)
    own = copy.deepcopy(source)
    own["classes"] = known["classes"]
    own["model"].pop("anchors", None)
    own["model"].update({key: known["model"][key] for key in ("task", "anchors") if key in known["model"]})
    own["input"]["channels"] = known["input"]["channels"]
    inherit.compare(document, own, "training_source", "training", checkpoint.file)
    family.describe(checkpoint, imgsz=source["input"]["size"])
    possible(source, document)
    return {
        "schema": "training_source/1",
        "contract_sha256": inherit.contract_sha256(source),
        **{key: value for key, value in source.items() if key not in ("schema", "contract_sha256", "checkpoint")},
        "checkpoint": known["checkpoint"],
    }


def possible(source: dict[str, Any], document: Document) -> None:
    """Raise InputError where the preprocessing that the source asks for cannot be done."""
    try:
        images.place((8, 8), source)
    except ValueError as error:
        line, column = document.place(("preprocessing",))
        problem = Problem(str(error), document.file, line, column, "$.preprocessing")
        raise InputError(
            f"The preprocessing in {document.file} cannot be done.", f"{error}.", "Correct it.", problems=[problem]
        ) from error


def generate(checkpoint: Checkpoint, family: Family, name: str | None, size: list[int] | None) -> dict[str, Any]:
    """The source that the checkpoint itself tells, with its contract's hash. Raises InputError."""
    source = family.describe(checkpoint, name, size)
    return {"schema": source["schema"], "contract_sha256": inherit.contract_sha256(source), **source}
