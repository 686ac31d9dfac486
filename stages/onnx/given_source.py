"""The contract of a given ONNX file: from the document that came with it, else from its own metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcwbuild.contract import documents, inherit, validate
from mcwbuild.contract.errors import ContractBroken
from mcwbuild.contract.marks import Document
from stages.families.source import possible, read_source
from stages.families.yolo.metadata import source_of_metadata
from stages.onnx.given import Given
from stages.onnx.whole import Whole

_CARRIED = ("checkpoint", "training", "dataset", "architecture", "performance")


def read_document(path: Path) -> Document:
    """The `training_source.yaml` or `onnx_source.yaml` at `path`. Raises InputError."""
    return read_source(path, validate.source_schema(path))


def from_document(document: Document, given: Given) -> dict[str, Any]:
    """The document, completed, with what it has for reference.

    Raises ContractBroken where size, channels, number of classes or task are not those of the graph.
    """
    source = inherit.complete(document.value)
    wanted: dict[tuple[str, ...], Any] = {
        ("model", "task"): "object_detection",
        ("classes", "num_classes"): given.head.num_classes,
        ("input", "size"): list(given.size),
        ("input", "channels"): given.channels,
        ("input", "dtype"): "float32",
        ("input", "layout"): "NCHW",
    }
    return _compared(document, source, wanted, given.file)


def task_of(path: Path | None) -> str | None:
    """The task that the document at `path` names, as far as it can be read."""
    found = None if path is None else documents.examine(path)[0]
    task = None if found is None else inherit.value_at(found.value, ("model", "task"))
    return task if isinstance(task, str) else None


def of_whole(document: Document, whole: Whole) -> dict[str, Any]:
    """As `from_document`, of a file that nothing is cut from: its input is all that its graph tells."""
    wanted: dict[tuple[str, ...], Any] = {
        ("input", "size"): list(whole.size),
        ("input", "channels"): whole.channels,
        ("input", "dtype"): "float32",
        ("input", "layout"): "NCHW",
    }
    return _compared(document, inherit.complete(document.value), wanted, whole.file)


def _compared(
    document: Document, source: dict[str, Any], wanted: dict[tuple[str, ...], Any], file: str
) -> dict[str, Any]:
    """The source, where its values are those that are `wanted`."""
    problems = [
        document.problem(path, f"{'.'.join(path)} is {written}, but the graph of {file} has {found}")
        for path, found in wanted.items()
        if (written := inherit.value_at(source, path)) != found
    ]
    if problems:
        raise ContractBroken(
            f"{document.file} is not the contract of {file}.",
            f"{problems[0].message[0].upper()}{problems[0].message[1:]}.",
            "Give the document that belongs to the model, or export the model again.",
            kind="contract",
            problems=problems,
        )
    possible(source, document)
    kept = {key: source[key] for key in _CARRIED if key in source}
    return {"schema": "training_source/1", **inherit.carry(source), **kept}


def from_metadata(given: Given, name: str) -> dict[str, Any]:
    """The contract that the file's own metadata tell. Raises InputError where they do not."""
    return source_of_metadata(given.metadata, given.file, given.sha256, name, given.size, given.head.described())
