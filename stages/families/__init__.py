"""The model families: one package each, registered here. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint
from stages.families import plain, yolo
from stages.families.family import Decoding, Family

__all__ = ["FAMILIES", "Decoding", "Family", "family_of", "recognise"]

FAMILIES: tuple[Family, ...] = yolo.FAMILIES
DECODINGS: tuple[Decoding, ...] = (*FAMILIES, *plain.DECODINGS)


def recognise(checkpoint: Checkpoint) -> Family:
    """The family of `checkpoint`. Raises InputError, naming the task or architecture, where none supports it."""
    for family in FAMILIES:
        if family.recognise(checkpoint):
            return family
    raise InputError(
        f"{checkpoint.file} holds a network that is not supported.",
        f"Its class is {checkpoint.model_class}.",
        "Export it to ONNX yourself and start there.",
        kind="architecture",
    )


def family_of(head: Mapping[str, Any]) -> Decoding:
    """The family that decodes `head` (its `family` entry). Raises InputError where none does."""
    name = head.get("family")
    for family in DECODINGS:
        if name in family.heads:
            return family
    known = ", ".join(sorted(known for family in DECODINGS for known in family.heads))
    raise InputError(
        "The model's outputs cannot be decoded.",
        f"Its head is {ascii(name)[:80]}, and known are {known}.",
        "Export the model again with this version of mcwbuild.",
        kind="head",
    )
