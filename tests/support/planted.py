"""Planted faults and sound conversions, in the rknn phase's environment: `planted.py NETWORKS SEED KIND START COUNT`.

Every trial draws its network, its images and how far the fault goes, and asks the phase's own code what it finds:
`request.require`, the calibration, the examination, the toolkit's child's work, the contract's doctor. A trial gives
a line of JSON: what was said, what is right, and how it was planted. NETWORKS is
what tests/campaign/faults.py prepares.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from benchmarks import draw_tasks
from examples.shapes import draw
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken
from mcwbuild.contract.stage import parser
from stages.common import contract_doctor
from stages.common.contract_doctor import Patient
from stages.common.evaluate import Settings, evaluate
from stages.families import family_of
from stages.rknn import request, scan, simulate, stage
from stages.rknn.calibrate import calibrate
from stages.rknn.examination import examine
from stages.rknn.outcome import Outcome
from stages.rknn.reference import OnnxRunner
from stages.rknn.toolkit import Toolkit, build
from stages.rknn.workshop import Workshop

# Network -> what its images are drawn as; the size of the input is the package's.
NETWORKS = {
    "example": "shapes",
    "shapes": "shapes",
    "detect": "segment",
    "segment": "segment",
    "pose": "pose",
    "obb": "obb",
    "classify": "classify",
}
LARGE = "example"  # costs ten times as much as the others, and takes part the less often
SMALL = tuple(name for name in NETWORKS if name != LARGE)
# Their images are not square, and their objects look like bars of the wrong colour.
PADDED = (LARGE, "shapes", "shapes", "shapes", "shapes")
STOCK = ("detect", "segment", "pose", "obb", "shapes")  # with the head as their library exports it
SIZES = ((320, 240), (320, 160), (240, 320), (320, 200), (200, 320), (300, 180))  # width and height in pixels
NORMALS: dict[str, tuple[list[float], list[float]]] = {  # what people write for a network that divides by 255
    "ImageNet": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "ImageNet in 0..1": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "signed": ([127.5] * 3, [127.5] * 3),
    "none": ([0.0] * 3, [1.0] * 3),
    "Caffe": ([103.94, 116.78, 123.68], [1.0] * 3),
}
DARKEST_GREY = 30  # of wrong padding: black, or nearly
SETTINGS = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=1, warmup=0)


@dataclass(frozen=True)
class Trial:
    """One trial's own chance, its folder, and its network's package."""

    random: np.random.Generator
    folder: Path
    network: str
    package: Path
    bench: Bench

    def drawn(self, train: int, val: int) -> Path:
        """Freshly drawn images with labels: the data.yaml or folder."""
        task, seed = NETWORKS[self.network], int(self.random.integers(1 << 31))
        if task != "shapes":
            least = len(draw_tasks.KINDS[task])  # type: ignore[index]  # of a classification the folders are the names
            return draw_tasks.write(self.folder / "data", task, max(train, least), val, seed, large=True)  # type: ignore[arg-type]
        sizes = [SIZES[place] for place in self.random.permutation(len(SIZES))[:3]]
        for split, count in (("train", train), ("val", val)):
            draw.write_split(self.folder / "data", split, count, seed, sizes)
        draw.write_data_yaml(self.folder / "data")
        return self.folder / "data" / "data.yaml"

    def asked(self, data: Path | None, *more: str | Path, model: Path | None = None) -> request.Request:
        """The phase's checked request."""
        words = ["--onnx", model or self.package / "best.onnx", "--source", self.package / "onnx_source.yaml"]
        words += ["--target", "rk3588", "--out", self.folder / "out", "--threads", "1", *more]
        words += ["--data", data] if data is not None else []
        return request.require(parser(stage.STAGE).parse_args([str(word) for word in words]))

    def examined(self, asked: request.Request) -> tuple[list[str], Any]:
        """The names of what is found before the build, and the calibration."""
        assert asked.calibration is not None
        made = calibrate(asked.calibration, asked.model, self.folder / "calibration", 1, lambda *_: None)
        return [one.name for one in examine(asked, made, self.bench) if one.level == "warning"], made

    def built(self, asked: request.Request, variant: Any, made: Any) -> Outcome:
        """What the toolkit's child makes and measures, in this process."""
        (self.folder / variant).mkdir()
        workshop = Workshop(asked, made, None, 1, self.folder)  # type: ignore[arg-type]  # without children
        job = workshop.job(variant, variant, workshop.plain(variant))
        Path(job.model).parent.mkdir()
        shutil.copyfile(asked.model.path, job.model)
        with silenced():
            toolkit = Toolkit()
            toolkit.renew()
            build(toolkit, job)
            measured = simulate.measured(toolkit, job, self.bench)
        return Outcome(variant, job.quantization, Built(measured), None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Built:
    """A build as far as its findings need it."""

    measured: Any


Planted = tuple[list[str], dict[str, Any]]  # names that were said, how it was planted


def doctored(trial: Trial, values: Mapping[str, Any], images: int) -> list[str]:
    """What the contract's doctor says where these values are wrong; nothing is changed in a sound contract."""
    asked = trial.asked(trial.drawn(1, images), "--dtype", "fp16")
    model = asked.model
    contract = copy.deepcopy(model.contract)
    for path, value in values.items():
        *above, last = path.split(".")
        part: Any = contract
        for key in above:
            part = part[key]
        part[last] = value
    runner = OnnxRunner(model.path, contract, list(model.head["outputs"]), 1)

    def under(other: Mapping[str, Any]) -> OnnxRunner:
        made = copy.copy(runner)
        made._contract = other
        return made

    def decode(outputs: Any, confidence: float) -> Any:
        return family_of(model.head).decode(outputs, model.head, confidence)

    settings = SETTINGS.of(model.head)
    found = evaluate(runner, decode, asked.images.images, asked.images.labels, contract, settings)
    patient = Patient(under, decode, settings, found, "onnx_source.yaml")
    diagnosis = contract_doctor.examine(patient, asked.images, contract, trial.bench)
    return [one.name for one in contract_doctor.findings(diagnosis, "onnx_source.yaml")]


def colours(trial: Trial) -> Planted:
    images = int(trial.random.integers(48, 81))
    return doctored(trial, {"input.format": "BGR"}, images), {"images": images}


def normalization(trial: Trial) -> Planted:
    images, kind = int(trial.random.integers(48, 81)), str(trial.random.choice(list(NORMALS)))
    mean, std = NORMALS[kind]
    values = {"preprocessing.normalize.mean": mean, "preprocessing.normalize.std": std}
    return doctored(trial, values, images), {"images": images, "normalization": kind}


def padding(trial: Trial) -> Planted:
    images, grey = int(trial.random.integers(64, 97)), int(trial.random.integers(0, DARKEST_GREY + 1))
    return doctored(trial, {"preprocessing.padding.color": [grey] * 3}, images), {"images": images, "grey": grey}


def stock_head(trial: Trial) -> Planted:
    """The real build: whatever is said, its scores have to be dead, or nothing was planted."""
    data = trial.drawn(int(trial.random.integers(20, 41)), 16)
    images = trial.folder / "images.txt"
    chosen = sorted(path for path in data.parent.rglob("*.jpg") if "train" in path.name)
    images.write_text("".join(f"{path}\n" for path in chosen))
    asked = trial.asked(None, "--dataset", images, "--dtype", "int8")
    names, made = trial.examined(asked)
    outcome = trial.built(asked, "int8", made)
    names += [one.name for one in outcome.findings]
    worst = min(row["cosine"] or 0.0 for row in outcome.built.measured.comparison["outputs"])
    return names, {"cosine of the whole tensor": round(worst, 6)}


def overflow(trial: Trial) -> Planted:
    """One convolution's weights, scaled until what comes out passes FP16's largest value."""
    data = trial.drawn(1, 12)
    asked = trial.asked(data, "--dtype", "fp16")
    seen = scan.scan(asked.model.path, asked.model.contract, asked.images.prepared(asked.model.contract, 4), 1)
    convolutions = [one for one in seen.ranges if one.op == "Conv" and one.magnitude > 0]
    chosen = convolutions[int(trial.random.integers(len(convolutions)))]
    reach = float(np.exp(trial.random.uniform(np.log(7e4), np.log(7e6))))
    model = onnx.load(str(asked.model.path))
    node = next(node for node in model.graph.node if scan.layer_of(node) == chosen.layer)
    for weight in model.graph.initializer:
        if weight.name in node.input[1:]:
            values = onnx.numpy_helper.to_array(weight) * np.float32(reach / chosen.magnitude)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(trial.folder / "best.onnx"))
    scaled = trial.asked(data, "--dtype", "fp16", model=trial.folder / "best.onnx")
    found = examine(scaled, None, trial.bench)
    said = [one.evidence["layer"] for one in found if one.name == "fp16-overflow"]
    names = [one.name if one.name != "fp16-overflow" or said == [chosen.layer] else f"at {said}" for one in found]
    return names, {"layer": chosen.layer, "reach": round(reach)}


def noise(random: np.random.Generator, kind: str, size: tuple[int, int]) -> np.ndarray:
    """An image uint8 of nothing, [H, W, 3]."""
    shape = (size[1], size[0], 3)
    if kind == "uniform":
        return random.integers(0, 256, shape, np.uint8)
    if kind == "normal":
        return np.clip(random.normal(random.uniform(90, 160), random.uniform(25, 70), shape), 0, 255).astype(np.uint8)
    if kind == "grey":
        return np.repeat(random.integers(0, 256, (*shape[:2], 1), np.uint8), 3, axis=2)
    coarse = random.integers(0, 256, (*(max(side // int(random.integers(2, 7)), 1) for side in shape[:2]), 3), np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_NEAREST)


def calibrated_on_noise(trial: Trial) -> Planted:
    kind, count = str(trial.random.choice(["uniform", "normal", "grey", "blocks"])), int(trial.random.integers(20, 61))
    data = trial.drawn(1, int(trial.random.integers(24, 65)))
    folder = trial.folder / "noise"
    folder.mkdir()
    for number in range(count):
        size = SIZES[int(trial.random.integers(len(SIZES)))]
        cv2.imwrite(str(folder / f"{number:03d}.png"), noise(trial.random, kind, size))
    names, _ = trial.examined(trial.asked(data, "--dataset", folder, "--dtype", "int8"))
    return names, {"noise": kind, "images": count}


def other_names(trial: Trial) -> Planted:
    data = trial.drawn(1, 4)
    names = list(trial.asked(data, "--dtype", "fp16").model.contract["classes"]["names"])
    kind = str(trial.random.choice(["two exchanged", "one renamed", "one missing", "one more", "all numbers"]))
    at = int(trial.random.integers(len(names)))
    if kind == "two exchanged":
        other = (at + 1 + int(trial.random.integers(len(names) - 1))) % len(names)
        names[at], names[other] = names[other], names[at]
    elif kind == "one renamed":
        names[at] = names[at].upper()
    elif kind == "one missing":
        names.pop()
    elif kind == "one more":
        names.append("other")
    else:
        names = [str(number) for number in range(len(names))]
    told: dict[str, Any] = {"how": kind, "names": names}
    if data.is_dir():  # of a classification the folders are the names
        folders = sorted(path.name for path in (data / "val").iterdir())
        renamed = folders[at % len(folders)]
        told = {"how": "one folder renamed", "names": [renamed]}
        for split in ("train", "val"):
            (data / split / renamed).rename(data / split / f"{renamed}_2")
    else:
        head, _, _ = data.read_text().partition("names:")
        data.write_text(head + "names:\n" + "".join(f"  {label}: {name}\n" for label, name in enumerate(names)))
    try:
        trial.asked(data, "--dtype", "fp16")
    except ContractBroken as error:
        return [error.kind], told
    return [], told


def sound(trial: Trial) -> Planted:
    """A whole sound conversion: both variants by the real toolkit, and the doctor."""
    names = doctored(trial, {}, int(trial.random.integers(48, 65)))
    shutil.rmtree(trial.folder / "data")
    asked = trial.asked(trial.drawn(int(trial.random.integers(20, 51)), int(trial.random.integers(16, 33))))
    before, made = trial.examined(asked)
    names += before
    for variant in asked.variants:
        names += [f"{variant} {one.name}" for one in trial.built(asked, variant, made).findings]
    return names, {}


@dataclass(frozen=True)
class Kind:
    """A planted fault: the name that has to be said, the networks that it is planted in, how."""

    right: str
    networks: tuple[str, ...]
    plant: Callable[[Trial], Planted]
    stock: bool = False


ALL = (LARGE, *SMALL, *SMALL)
KINDS = {
    "colours": Kind("channel-order", ALL, colours),
    "normalization": Kind("normalization", ALL, normalization),
    "padding": Kind("padding", PADDED, padding),
    "stock head in INT8": Kind("mixed-output", STOCK, stock_head, stock=True),
    "FP16 overflow": Kind("fp16-overflow", ALL, overflow),
    "calibration on noise": Kind("calibration-unlike", ALL, calibrated_on_noise),
    "other names": Kind("class-names", ALL, other_names),
    "sound": Kind("", ALL, sound),
}


@contextmanager
def silenced() -> Any:
    """Without what the toolkit prints from C."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, own in zip((1, 2), kept, strict=True):
            os.dup2(own, number)
            os.close(own)
        os.close(nowhere)


def run(networks: Path, seed: int, name: str, number: int) -> dict[str, Any]:
    """One trial: what was said, what is right, whether that is the same."""
    kind = KINDS[name]
    random = np.random.default_rng([seed, list(KINDS).index(name), number])
    prepared = [one for one in kind.networks if (networks / one).is_dir()]
    network = prepared[number % len(prepared)]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="planted-") as text:
        folder = Path(text)
        bench = Bench(folder / "out", folder, 1, lambda event: None)
        package = networks / f"{network}{'-stock' if kind.stock else ''}"
        said, how = kind.plant(Trial(random, folder, network, package / "onnx_package", bench))
    caught = kind.right in said if kind.right else not said
    found = {"kind": name, "number": number, "network": network, "said": said, "caught": caught}
    return {**found, **how, "seconds": round(time.monotonic() - begun, 2)}


def main() -> None:
    """Print a line of JSON for each trial."""
    networks, seed, name, start, count = sys.argv[1:]
    for number in range(int(start), int(start) + int(count)):
        print(json.dumps(run(Path(networks), int(seed), name, number)), flush=True)


if __name__ == "__main__":
    main()
