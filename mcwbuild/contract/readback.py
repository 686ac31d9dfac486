"""Source documents against artefacts: what the bytes of an ONNX file and a `.rknn` file say has to be what is written.

Nothing here believes the document: shape, mean, std, channel order and target come out of the files.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from mcwbuild.contract.artefacts import OnnxFacts, RknnFacts, Tensor
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.inherit import complete, contract_sha256, value_at
from mcwbuild.contract.marks import Document, Path
from mcwbuild.contract.targets import TARGETS, same_build


def onnx_problems(source: Document, facts: OnnxFacts) -> list[Problem]:
    """Where the ONNX file's first input is not the document's: shape, dtype. A free dimension is a difference."""
    whole = complete(source.value)
    problems = _shape(source, whole, facts.inputs[0], str(value_at(whole, ("input", "layout"))))
    dtype = value_at(whole, ("input", "dtype"))
    if facts.inputs[0].dtype != dtype:
        problems.append(_differs(source, ("input", "dtype"), dtype, facts.inputs[0].dtype))
    return problems


def rknn_problems(source: Document, facts: RknnFacts, *, target: str | None = None) -> list[Problem]:
    """Where the .rknn file is not the document's: shape, mean, std, channel order, contract, target.

    `source` is an onnx_source or rknn_source document; `target` defaults to the one written in it. An input
    that is not normalized has mean 0 and std 1. The file's own swap of red and blue concerns its calibration
    images, which are read as RGB: only a BGR model has a use for it.
    """
    whole = complete(source.value)
    normalize: Path = ("preprocessing", "normalize")
    problems = _shape(source, whole, facts.inputs[0], facts.layout)
    neutral = None if value_at(whole, (*normalize, "enabled")) else (0.0, 1.0)
    for index, (name, found) in enumerate((("mean", facts.mean), ("std", facts.std))):
        written = [neutral[index]] * len(found) if neutral else value_at(whole, (*normalize, name), [])
        if not _close(written, found):
            problems.append(_differs(source, (*normalize, name), written, list(found)))
    form = value_at(whole, ("input", "format"))
    if facts.rgb2bgr and form != "BGR":
        message = f"input.format is {form} but the .rknn file was calibrated with red and blue swapped"
        problems.append(source.problem(("input", "format"), message, "make the package again"))
    platform: Path = ("rknn", "platform")
    wanted = target or str(value_at(whole, (*platform, "target"), ""))
    built_for = str(value_at(whole, (*platform, "built_for")) or wanted)
    if built_for != wanted and not same_build(wanted, built_for):
        message = f"{wanted} does not run what is built for {built_for}"
        problems.append(source.problem((*platform, "built_for"), message))
    elif (TARGETS[built_for].platform if built_for in TARGETS else built_for) not in facts.target:
        problems.append(_differs(source, (*platform, "target"), wanted, ", ".join(facts.target)))
    return [*problems, *_contract(source, whole, facts.custom_string)]


def _contract(source: Document, whole: dict[str, Any], custom_string: str | None) -> Iterator[Problem]:
    try:
        found = json.loads(custom_string or "null")
    except ValueError:
        found = None
    hashed = found.get("contract_sha256") if isinstance(found, dict) else None
    if hashed != contract_sha256(whole):
        yield _differs(source, ("contract_sha256",), contract_sha256(whole), hashed)


def _shape(source: Document, whole: dict[str, Any], tensor: Tensor, layout: str) -> list[Problem]:
    """The tensor's shape against [1, channels, H, W], or [1, H, W, channels]; a problem for each part that differs."""
    height_width = value_at(whole, ("input", "size"))
    channels = value_at(whole, ("input", "channels"))
    shape = tensor.shape
    if len(shape) != 4:
        return [_differs(source, ("input", "size"), height_width, list(shape))]
    found_channels, *found_size = (shape[3], shape[1], shape[2]) if layout == "NHWC" else shape[1:]
    problems = []
    if found_size != height_width:
        problems.append(_differs(source, ("input", "size"), height_width, found_size))
    if found_channels != channels:
        problems.append(_differs(source, ("input", "channels"), channels, found_channels))
    if shape[0] != 1:
        problems.append(source.problem(("input", "size"), f"the file takes batches of {shape[0]}, not single images"))
    return problems


def _close(written: Any, found: Iterable[float]) -> bool:
    """Equal as single-precision numbers, which is how exact the toolkit keeps them."""
    numbers = list(found)
    if not isinstance(written, list) or len(written) != len(numbers):
        return False
    return all(struct.pack("f", float(a)) == struct.pack("f", b) for a, b in zip(written, numbers, strict=True))


def _differs(source: Document, path: Path, written: Any, found: Any) -> Problem:
    field = ".".join(str(part) for part in path)
    says = json.dumps(found)
    message = f"{field} is {json.dumps(written)} in the document but {says} in the file's own bytes"
    return source.problem(path, message, "make the package again")
