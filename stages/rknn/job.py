"""What the toolkit's child process is asked, and what it answers: plain data that cross as JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from stages.rknn.targets import Variant

Algorithm = Literal["normal", "kl_divergence", "mmse"]
Method = Literal["channel", "layer"]
Finer = Literal["float16", "int16"]

JOB, ANSWER = "job.json", "answer.json"
BUILD = "build.json"  # beside the job: what is read of it before the build


@dataclass(frozen=True)
class Quantization:
    """How an INT8 build is quantized.

    `method`: one scale for each channel of the weights, or one for all; `images`: how many of the calibration set;
    `layers`: tensors, by the toolkit's names, that are computed in a finer type, in hybrid quantization;
    `auto_hybrid`: the cosine below which the toolkit itself computes a layer in float16, 0..1, None where it does not.
    """

    algorithm: Algorithm
    method: Method
    images: int
    layers: tuple[tuple[str, Finer], ...] = ()
    auto_hybrid: float | None = None

    @property
    def mixes(self) -> bool:
        """Whether some layers are in a finer type."""
        return bool(self.layers) or self.auto_hybrid is not None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Quantization:
        """From the plain data that `asdict` gives."""
        return cls(**{**data, "layers": tuple((str(name), kind) for name, kind in data["layers"])})


@dataclass(frozen=True)
class Job:
    """One build and its measurement, which reports call `name`.

    `quantization` and `calibration`, the toolkit's dataset file, are None for FP16; `mean` and `std` are in 0..255
    units, one value a channel; `images` are measured, with labels if `labelled` (none: generated ones are taken),
    `texts` being those of text recognition; `contract` is the critical block, `head` describes the outputs;
    `disabled_rules` are the toolkit's fusion rules that are turned off; `prune_below`: the proxy in dB that it has to
    reach, else its accuracy is not measured; `analyse`: whether each layer's error is wanted; `ranges`: where hybrid
    builds leave each other the ranges that they found; `kept`: where the evaluation's state is kept, empty where it is
    not; `left`: where an earlier run left one, else empty.
    """

    name: str
    variant: Variant
    model: str
    export: str
    platform: str
    optimization_level: int
    quantization: Quantization | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    custom_string: str
    calibration: str | None
    contract: Mapping[str, Any]
    head: Mapping[str, Any]
    images: tuple[str, ...]
    labelled: bool
    confidence: float
    iou: float
    max_detections: int
    threads: int
    texts: tuple[str, ...] = ()
    disabled_rules: tuple[str, ...] = ()
    prune_below: float | None = None
    analyse: bool = False
    ranges: str = "ranges"
    kept: str = ""
    left: str = ""

    def write(self, path: Path) -> None:
        """Store the job as JSON."""
        path.write_text(json.dumps(asdict(self), allow_nan=False), "ascii")

    @classmethod
    def read(cls, path: Path) -> Job:
        """The job that `write` stored."""
        data: dict[str, Any] = json.loads(path.read_text("ascii"))
        for name in ("mean", "std", "images", "texts", "disabled_rules"):
            data[name] = tuple(data[name])
        if data["quantization"] is not None:
            data["quantization"] = Quantization.of(data["quantization"])
        return cls(**data)


@dataclass(frozen=True)
class Measured:
    """What the child found out about its build.

    device, metrics, inference: blocks of the performance record; comparison: a `measure.Comparison`;
    not_finite: images whose outputs held NaN or infinity; seconds: of each call; peak_kb: most memory held;
    kept: the file with the evaluation image by image, empty where accuracy was not measured;
    expected: the file with what a board's outputs are held against;
    shown: what it found in some of the images, as `results.as_data` gives it, None where accuracy was not measured;
    pruned: why its accuracy was not worth measuring, else empty; layers: a `LayerError` each, where asked for.
    """

    device: Mapping[str, Any]
    metrics: Mapping[str, Any]
    inference: Mapping[str, Any]
    comparison: Mapping[str, Any]
    not_finite: list[str]
    seconds: Mapping[str, float]
    peak_kb: int
    kept: str = ""
    expected: str = ""
    shown: Mapping[str, Any] | None = None
    pruned: str = ""
    layers: list[dict[str, Any]] = field(default_factory=list)
