"""Hybrid quantization: some layers in a finer type, and each layer's error, through the toolkit's files.

The toolkit writes into the working folder, which is its process's own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import onnx

from stages.rknn import layer_errors
from stages.rknn.layer_errors import LayerError

_NONE_YET = "custom_quantize_layers: {}"
_GRAPH = "check3_fuse_ops.onnx"  # the graph that is quantized, as a verbose build leaves it
_SNAPSHOT = "snapshot"


class Caller(Protocol):
    """RKNN-Toolkit2's object, as far as it is needed here."""

    def call(self, step: str, *args: Any, **options: Any) -> None:
        """Call its function `step`."""


def first_step(toolkit: Caller, stem: str, calibration: str | None, layers: Sequence[tuple[str, str]]) -> list[Path]:
    """Find the ranges and name the layers; returns the files that the second step takes, by a new object.

    `stem` is the loaded file's name without its suffix, `layers` gives tensors and their types.
    Raises OSError where the toolkit's file is not of the known form; tensors that it does not quantize are left out.
    """
    toolkit.call("hybrid_quantization_step1", dataset=calibration)
    model, data, chosen = (Path(f"{stem}.{end}") for end in ("model", "data", "quantization.cfg"))
    text = chosen.read_text("utf-8")
    if _NONE_YET not in text:
        raise OSError(f"{chosen.name} has no line `{_NONE_YET}`: another version of the toolkit")
    known = {line.strip().rstrip(":").strip("'\"") for line in text.splitlines()}
    # JSON's text of a name is YAML's too, whatever stands in it.
    named = [f"    {json.dumps(name)}: {kind}\n" for name, kind in layers if name in known]
    chosen.write_text(text.replace(_NONE_YET, "custom_quantize_layers:\n" + "".join(named)), "utf-8")
    return [model, data, chosen]


def analysis(toolkit: Caller, calibration: str) -> list[LayerError]:
    """Each layer's error on the first calibration image. Raises OSError where the toolkit left no result."""
    listing = Path(calibration)
    image = listing.with_name(listing.read_text("utf-8").splitlines()[0])
    try:
        toolkit.call("accuracy_analysis", inputs=[str(image)], output_dir=_SNAPSHOT)
        text = Path(_SNAPSHOT, "error_analysis.txt").read_text("utf-8", "replace")
    finally:
        shutil.rmtree(_SNAPSHOT, ignore_errors=True)  # hundreds of MB: every tensor of the network, twice
    return layer_errors.parse(text, _operators())


def _operators() -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Each operator's name, inputs and outputs."""
    for node in onnx.load(_GRAPH).graph.node:
        yield node.name, list(node.input), list(node.output)
