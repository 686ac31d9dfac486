"""The contract of a given ONNX file: from the document that came with it, else from its own metadata."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcwbuild.contract import documents, inherit, validate
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.marks import Document
from stages.families import family_of
from stages.families.source import possible, read_source
from stages.families.yolo.metadata import source_of_metadata
from stages.onnx.given import Given
from stages.onnx.whole import Whole

_CARRIED = ("checkpoint", "training", "dataset", "architecture", "performance")


def read_document(path: Path) -> Document:
    """The `training_source.yaml` or `onnx_source.yaml` at `path`. Raises InputError."""
    return read_source(path, validate.source_schema(path))


def with_anchors(given: Given, document: Document) -> Given:
    """The file with the document's anchors in its head: where it gives the maps alone, its graph has none.

    Raises InputError where it needs them and the document has none, or those of another head.
    """
    head = given.head.described
    anchors = inherit.value_at(document.value, ("model", "anchors"))
    if head["family"] != "yolo_anchors" or (given.head.form != "maps" and not _same(anchors, head["anchors"])):
        return given
    classes = len(inherit.value_at(document.value, ("classes", "names")))
    counts = [len(scale) for scale in anchors or ()]
    channels = head.get("channels")
    if channels is not None and counts != [channels / (5 + classes)] * len(head["strides"]):
        has = "has no model.anchors" if anchors is None else f"has {counts} anchors in model.anchors"
        found = f"{document.file} {has}, and {classes} classes"
        raise InputError(
            f"{given.file} gives its raw maps, and nothing says what they mean.",
            f"{found}; its {len(head['strides'])} scales have {channels} channels, anchors times (5 + classes).",
            "Write model.anchors: for each scale, the finest first, [width, height] of each anchor in input pixels.",
            kind="anchors",
            problems=[document.problem(("model", "anchors"), found)],
        )
    whole = {key: value for key, value in head.items() if key != "channels"}
    whole.update(anchors=anchors, num_classes=head.get("num_classes", classes))
    return replace(given, head=replace(given.head, described=whole))


def from_document(document: Document, given: Given) -> dict[str, Any]:
    """The document, completed, with what it has for reference.

    Raises ContractBroken where size, channels, number of classes, task, keypoints or anchors are not the graph's.
    """
    source = inherit.complete(document.value)
    head = given.head.described
    wanted: dict[tuple[str, ...], Any] = {
        ("model", "task"): family_of(head).task,
        ("classes", "num_classes"): head["num_classes"],
        ("input", "size"): list(given.size),
        ("input", "channels"): given.channels,
        ("input", "dtype"): "float32",
        ("input", "layout"): "NCHW",
        **{("classes", key): head[key] for key in ("keypoints",) if key in head},
    }
    anchors = head.get("anchors")
    if anchors is not None:
        source["model"].setdefault("anchors", anchors)
    wanted["model", "anchors"] = anchors
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
    return source_of_metadata(given.metadata, given.file, given.sha256, name, given.size, given.head.described)


def _same(written: Any, found: Any) -> bool:
    """Whether two heads' anchors are the same but for rounding."""
    if [len(scale) for scale in written or ()] != [len(scale) for scale in found]:
        return False
    flat = [[side for scale in each for anchor in scale for side in anchor] for each in (written, found)]
    return all(math.isclose(*pair, rel_tol=1e-4) for pair in zip(*flat, strict=True))
