"""`training_source.yaml`: generated from the model file, or given and checked against it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcwbuild.contract import inherit, validate
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import Document
from stages.common import images
from stages.families.model import ModelFile, Wanted

GUESSED = ("training", "guessed")  # where a source names the values that are guesses


def read_source(path: Path, schema: str = "training_source") -> Document:
    """The given `training_source.yaml`, valid by its schema and by its own hash. Raises InputError."""
    (document,) = validate.require_all([(path, schema)])
    edited = inherit.own_hash(document)
    if edited is not None:
        raise InputError(
            f"{path.name} was edited after its contract was written.", f"{edited}.", "See the hint.", problems=[edited]
        )
    return document


def against_file(document: Document, model: ModelFile) -> dict[str, Any]:
    """The given source, completed, with its model file written down.

    Raises ContractBroken where a value that the file knows (class names and number, task, channels, size) is
    another one, InputError where the input size does not fit the network or the preprocessing cannot be done.
    """
    source = inherit.complete(document.value)
    own = model.confirm(source)
    inherit.compare(document, own, "training_source", "training", model.file)
    possible(source, document)
    return {
        "schema": "training_source/1",
        "contract_sha256": inherit.contract_sha256(source),
        **{key: value for key, value in source.items() if key not in ("schema", "contract_sha256", "checkpoint")},
        "checkpoint": own["checkpoint"],
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


def generate(model: ModelFile, wanted: Wanted) -> dict[str, Any]:
    """The source that the file itself tells; with its contract's hash, unless somebody has to complete it.

    Raises InputError where the file does not tell it.
    """
    source = model.describe(wanted)
    if guessed(source):
        return source
    return {"schema": source["schema"], "contract_sha256": inherit.contract_sha256(source), **source}


def guessed(source: Mapping[str, Any]) -> list[str]:
    """The dotted names of the values that nobody has confirmed yet."""
    found = inherit.value_at(source, GUESSED)
    return [str(name) for name in found] if isinstance(found, list) else []
