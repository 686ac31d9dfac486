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

from stages.common.images import normalise
from stages.rknn import calibration, layer_errors
from stages.rknn.job import Job
from stages.rknn.layer_errors import LayerError
from stages.rknn.layer_reference import beside_onnx

_NONE_YET = "custom_quantize_layers: {}"
_GRAPH = "check3_fuse_ops.onnx"  # the graph that is quantized, as a verbose build leaves it
_SNAPSHOT = "snapshot"
_STEM, _ENDS = "hybrid", ("model", "data", "quantization.cfg")  # of the first step's files


class Caller(Protocol):
    """RKNN-Toolkit2's object, as far as it is needed here."""

    def call(self, step: str, *args: Any, **options: Any) -> None:
        """Call its function `step`."""


def ranges_of(job: Job) -> Path:
    """Where the files of the first step lie: those of one way to find ranges, whatever layers are made finer."""
    chosen = job.quantization
    assert chosen is not None
    words = (chosen.algorithm, chosen.method, str(chosen.images), *job.disabled_rules)
    return Path(job.ranges, "-".join(words))


def find_ranges(toolkit: Caller, stem: str, calibration: str | None, kept: Path) -> None:
    """The first step: find the ranges of the loaded network, whose file's name is `stem`; its files go to `kept`."""
    toolkit.call("hybrid_quantization_step1", dataset=calibration)
    whole = kept.with_name(f"{kept.name}.partial")
    shutil.rmtree(whole, ignore_errors=True)  # of a build that was killed
    whole.mkdir(parents=True)
    for end in _ENDS:
        shutil.move(f"{stem}.{end}", whole / f"{_STEM}.{end}")
    whole.rename(kept)


def name_layers(kept: Path, layers: Sequence[tuple[str, str]]) -> list[Path]:
    """The files that the second step takes, in the working folder: those of `kept` with the layers named.

    `layers` gives tensors and their types; tensors that the toolkit does not quantize are left out. Raises OSError
    where the toolkit's file is not of the known form.
    """
    model, data, chosen = (Path(shutil.copy(kept / f"{_STEM}.{end}", ".")) for end in _ENDS)
    text = chosen.read_text("utf-8")
    if _NONE_YET not in text:
        raise OSError(f"{chosen.name} has no line `{_NONE_YET}`: another version of the toolkit")
    known = {line.strip().rstrip(":").strip("'\"") for line in text.splitlines()}
    # JSON's text of a name is YAML's too, whatever stands in it.
    named = [f"    {json.dumps(name)}: {kind}\n" for name, kind in layers if name in known]
    chosen.write_text(text.replace(_NONE_YET, "custom_quantize_layers:\n" + "".join(named)), "utf-8")
    return [model, data, chosen]


def analysis(toolkit: Caller, job: Job) -> list[LayerError]:
    """Each layer's error on the first calibration image. Raises OSError where the toolkit left no result."""
    assert job.calibration is not None
    listing = Path(job.calibration)
    image = listing.with_name(listing.read_text("utf-8").splitlines()[0])
    try:
        toolkit.call("accuracy_analysis", inputs=[str(image)], output_dir=_SNAPSHOT)
        text = Path(_SNAPSHOT, "error_analysis.txt").read_text("utf-8", "replace")
        feed = normalise(calibration.load(image), job.contract)
        beside = beside_onnx(Path(job.model), feed, _dumped(Path(_SNAPSHOT)))
    finally:
        shutil.rmtree(_SNAPSHOT, ignore_errors=True)  # hundreds of MB: every tensor of the network, twice
    return layer_errors.with_reference(layer_errors.parse(text, _operators()), beside)


def _dumped(snapshot: Path) -> dict[str, Path]:
    """The NumPy file of each tensor that the simulator computed, by the tensor's name."""
    rows = (line.split() for line in (snapshot / "map_name_to_file.txt").read_text("utf-8", "replace").splitlines())
    named = {row[0]: snapshot / "simulator" / "npy" / Path(row[1]).with_suffix(".npy") for row in rows if len(row) == 2}
    return {name: file for name, file in named.items() if file.is_file()}


def _operators() -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Each operator's name, inputs and outputs."""
    for node in onnx.load(_GRAPH).graph.node:
        yield node.name, list(node.input), list(node.output)
