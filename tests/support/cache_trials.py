"""One thing is changed, and the plan has to say which steps it makes stale: no more, no less, and why."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcwbuild import pipeline, plan, staleness
from mcwbuild.contract import dataset, documents
from mcwbuild.contract.phases import Phase
from mcwbuild.options import resolve
from mcwbuild.staleness import Planned
from mcwbuild.store import Store
from tests.support.engines import FakeEngine, contract, write_outcome, write_package

ALL = ("pt", "onnx", "rknn")


class Silent:
    """A reporter that says nothing."""

    def begin(self, step: plan.Step, log: Path) -> None:
        """Nothing."""

    def emit(self, event: object) -> None:
        """Nothing."""

    def end(self, outcome: pipeline.Outcome) -> None:
        """Nothing."""


@dataclass
class Engine(FakeEngine):
    """An engine whose environment can be changed: lock, image, code."""

    environment: dict[str, dict[str, str]] = field(
        default_factory=lambda: {name: {"code": "c" * 64, "requirements.lock": f"{name}" * 8} for name in ALL}
    )

    def identity(self, phase: Phase) -> dict[str, str]:
        """What the phase's environment is said to be."""
        return dict(self.environment[phase.name])


def make(call: Any, emit: Any) -> int:
    """The stage's work."""
    write_package(call.staging / "out", call.phase)
    write_outcome(call, 0)
    return 0


@dataclass(frozen=True)
class World:
    """Files of a run, and the packages made of them."""

    folder: Path
    flags: dict[str, Any]
    engine: Engine

    @property
    def out(self) -> Path:
        """The output folder."""
        return self.folder / "out"

    def steps(self) -> tuple[plan.Step, ...]:
        """The steps of the run as it is asked for now."""
        settings = resolve(self.flags, {}, self.folder)
        found = dataset.read(settings["data"])
        return plan.run_steps(self.folder / "best.pt", "toy", settings, found, self.out)

    def planned(self, store: Store | None = None) -> tuple[Planned, ...]:
        """What the plan says."""
        return staleness.plan(self.steps(), self.engine, store)


def build(folder: Path, store: Store | None = None) -> World:
    """A run with everything that a run can have, made once."""
    folder.mkdir(parents=True)
    (folder / "best.pt").write_bytes(b"weights")
    for split in ("train", "val"):
        for number in range(3):
            for kind, end in (("images", "png"), ("labels", "txt")):
                place = folder / "data" / kind / split
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{number}.{end}").write_text(f"{split}{number}" if end == "png" else "0 .5 .5 .1 .1\n")
    (folder / "data" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b]\n")
    (folder / "list.txt").write_text("".join(f"data/images/train/{number}.png\n" for number in range(2)))
    source = documents.read_yaml(Path(__file__).parents[1] / "contract/examples/valid/training_source/workflow.yaml")
    documents.write_yaml(folder / "training_source.yaml", {**source.value, **contract()})
    flags = {
        "target": "rk3588",
        "data": folder / "data" / "data.yaml",
        "dataset": folder / "list.txt",
        "source": folder / "training_source.yaml",
    }
    world = World(folder, flags, Engine(make))
    world.engine.ready |= set(ALL)
    pipeline.execute(world.steps(), world.engine, world.out, Silent(), store=store)
    return world


Change = Callable[[World, random.Random], None]


def _append(*names: str) -> Change:
    def change(world: World, dice: random.Random) -> None:
        path = world.folder.joinpath(*names)
        path.write_bytes(path.read_bytes() + bytes([dice.choice(b"\n #")]) * dice.randint(1, 3))

    return change


def _listed(world: World, dice: random.Random) -> None:
    """Another image is listed, or one fewer."""
    lines = [f"data/images/train/{number}.png\n" for number in range(3)]
    (world.folder / "list.txt").write_text("".join(dice.choice((lines, lines[:1], lines[1:]))))


def _image(split: str, kind: str = "images") -> Change:
    def change(world: World, dice: random.Random) -> None:
        path = dice.choice(sorted((world.folder / "data" / kind / split).iterdir()))
        deed = dice.choice(("edit", "remove")) if kind == "labels" else "edit"
        path.unlink() if deed == "remove" else path.write_bytes(path.read_bytes() + b"0")

    return change


def _add(split: str) -> Change:
    def change(world: World, dice: random.Random) -> None:
        (world.folder / "data" / "images" / split / f"more{dice.randint(0, 9)}.png").write_bytes(b"more")

    return change


def _option(name: str, *values: Any) -> Change:
    def change(world: World, dice: random.Random) -> None:
        world.flags[name] = dice.choice(values)

    return change


def _environment(*phases: str) -> Change:
    def change(world: World, dice: random.Random) -> None:
        kind = dice.choice(("code", "requirements.lock", "image"))
        for phase in phases:
            world.engine.environment[phase][kind] = f"{dice.getrandbits(64):016x}"

    return change


def _critical(world: World, dice: random.Random) -> None:
    """One critical value of the source document."""
    path = world.folder / "training_source.yaml"
    value = documents.read_yaml(path).value
    which = dice.choice(("mean", "std", "color", "format", "size", "names"))
    if which in ("mean", "std"):
        value["preprocessing"]["normalize"][which] = [dice.randint(1, 200) + 0.5] * 3
    elif which == "color":
        value["preprocessing"]["padding"]["color"] = [dice.randint(1, 100)] * 3
    elif which == "format":
        value["input"]["format"] = "RGB"
    elif which == "size":
        value["input"]["size"] = [32 * dice.randint(2, 9), 32]
    else:
        value["classes"]["names"] = [*value["classes"]["names"][:-1], f"other{dice.randint(0, 99)}"]
    documents.write_yaml(path, value)


def _package(name: str) -> Change:
    def change(world: World, dice: random.Random) -> None:
        path = dice.choice(sorted(path for path in (world.out / name).iterdir() if path.stat().st_size))
        data = bytearray(path.read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)

    return change


def _gone(name: str) -> Change:
    return lambda world, dice: shutil.rmtree(world.out / name)


def _touch(world: World, dice: random.Random) -> None:
    for path in world.folder.rglob("*"):
        os.utime(path, (dice.randint(1, 1 << 31),) * 2)


def _moved(world: World, dice: random.Random) -> None:
    """The whole folder lies elsewhere."""
    new = world.folder.with_name(f"{world.folder.name}-{dice.getrandbits(32):x}")
    shutil.copytree(world.folder, new)
    shutil.rmtree(world.folder)
    new.rename(world.folder)


AFTER_ONNX, AFTER_RKNN = ("onnx", "rknn"), ("rknn",)
CHANGES: Mapping[str, tuple[Change, tuple[str, ...]]] = {
    "checkpoint": (_append("best.pt"), ALL),
    "source document": (_append("training_source.yaml"), ALL),
    "critical value": (_critical, ALL),
    "data.yaml": (_append("data", "data.yaml"), ALL),
    "validation image": (_image("val"), ALL),
    "validation label": (_image("val", "labels"), ALL),
    "one more validation image": (_add("val"), ALL),
    "training image": (_append("data", "images", "train", "2.png"), AFTER_RKNN),
    "listed image": (_append("data", "images", "train", "0.png"), AFTER_ONNX),
    "list of images": (_listed, AFTER_ONNX),
    "conf": (_option("conf", 0.1, 0.3, 0.5), ALL),
    "iou": (_option("iou", 0.3, 0.5, 0.6), ALL),
    "max_detections": (_option("max_detections", 10, 100), ALL),
    "opset": (_option("opset", 12, 13, 18, 19), AFTER_ONNX),
    "simplify": (_option("simplify", False), AFTER_ONNX),
    "dtype": (_option("dtype", "fp16", "int8"), AFTER_RKNN),
    "algorithm": (_option("algorithm", "mmse", "kl_divergence"), AFTER_RKNN),
    "optimization_level": (_option("optimization_level", 0, 1, 2), AFTER_RKNN),
    "calibration_images": (_option("calibration_images", 1, 2), AFTER_RKNN),
    "tune": (_option("tune", "off", "full"), AFTER_RKNN),
    "layers": (_option("layers", True), AFTER_RKNN),
    "target": (_option("target", "rk3576", "rk3562"), AFTER_RKNN),
    "gate of the onnx phase": (_option("gates", "onnx.map50_95=0.1%", "onnx.map50=0.2%"), AFTER_ONNX),
    "gate of int8": (_option("gates", "int8.map50_95=1%", "int8.map50=0.02"), AFTER_RKNN),
    "environment of pt": (_environment("pt"), ALL),
    "environment of onnx": (_environment("onnx"), AFTER_ONNX),
    "environment of rknn": (_environment("rknn"), AFTER_RKNN),
    "pt package's bytes": (_package("pt_package"), ALL),
    "onnx package's bytes": (_package("onnx_package"), AFTER_ONNX),
    "rknn package's bytes": (_package("rknn_package"), AFTER_RKNN),
    "pt package gone": (_gone("pt_package"), ALL),
    "rknn package gone": (_gone("rknn_package"), AFTER_RKNN),
    "times of files": (_touch, ()),
    "how progress is shown": (_option("progress", "quiet", "json"), ()),
    "undecided gates count": (_option("strict", True), ()),
    "the place of everything": (_moved, ()),
}


def trial(kind: str, seed: int, made: World, folder: Path) -> str:
    """Copy the world, change one thing, ask for the plan. Empty where it is right, else what is wrong."""
    change, expected = CHANGES[kind]
    shutil.copytree(made.folder, folder, symlinks=True)
    flags = {name: _moved_to(value, made.folder, folder) for name, value in made.flags.items()}
    environment = {name: dict(value) for name, value in made.engine.environment.items()}
    world = World(folder, flags, Engine(make, environment=environment))
    try:
        change(world, random.Random(seed))
        planned = world.planned()
        stale = tuple(one.step.name for one in planned if one.state == "stale")
        if stale != expected:
            return f"{kind}: stale are {stale}, not {expected}: {[one.reasons for one in planned]}"
        if any(not one.reasons for one in planned if one.state == "stale"):
            return f"{kind}: a step is stale for no reason"
        if any("does not tell" in reason for one in planned for reason in one.reasons):
            return f"{kind}: the reason is not known: {[one.reasons for one in planned]}"
        return ""
    finally:
        shutil.rmtree(folder)


def _moved_to(value: Any, old: Path, new: Path) -> Any:
    return new / value.relative_to(old) if isinstance(value, Path) else value
