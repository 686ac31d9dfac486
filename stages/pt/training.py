"""A checkpoint trained here: the dataset checked, the trainer run, the source document written from what was used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcwbuild.contract import disk
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import EnvironmentLacking, InputError
from mcwbuild.contract.training import TrainConfig
from stages.common import dataset_check
from stages.common.checkpoint import Checkpoint
from stages.common.dataset_check import Survey
from stages.common.device import cpu_model, versions
from stages.common.evaluate import Settings
from stages.common.keeping import Place
from stages.families import Family
from stages.families.yolo.architectures import TASKS
from stages.families.yolo.stock import Stock

if TYPE_CHECKING:
    from stages.pt.trainer import Job
    from stages.pt.training_state import State

_ANYWHERE = ("device", "workers")  # settings that another run may have otherwise, and go on


@dataclass(frozen=True)
class TrainRequest:
    """Everything that a training was asked for; exactly one of `stock` and `weights` is set.

    `resume` is the state to go on from, if there is one; `state` is where the state is kept, `own_state` says that
    nobody else takes it away when the package is there; `evaluation` is where that of the evaluation is kept.
    """

    config: TrainConfig
    stock: Stock | None
    weights: tuple[Checkpoint, Family] | None
    data: Path
    name: str | None
    settings: Settings
    resume: Path | None
    state: Path
    own_state: bool
    evaluation: Place

    @property
    def task(self) -> str:
        """Ultralytics' word for what the network learns."""
        if self.stock is not None:
            return self.stock.task
        assert self.weights is not None
        return self.weights[0].task

    @property
    def model(self) -> str:
        """What it begins from, for people."""
        return self.stock.name if self.stock else Path(self.config.model).name


@dataclass(frozen=True)
class Trained:
    """What came of it: the best epoch's checkpoint as bytes, and the blocks that only the training knows."""

    best: bytes
    training: dict[str, Any]
    dataset: dict[str, Any]
    warnings: tuple[str, ...]


def train(request: TrainRequest, bench: Bench) -> Trained:
    """Check the dataset and train, or go on training. Raises InputError, EnvironmentLacking, StageFailed, Refused."""
    with bench.step("check", f"{request.data.name}") as step:
        survey = dataset_check.survey(request.data, TASKS[request.task], bench.threads, step.progress)
        step.result = _said(survey)
    doubts = tuple(dataset_check.doubts(survey.warnings))
    for doubt in doubts:
        bench.note(doubt, "warning")
    from stages.pt import trainer, training_state  # loads torch: seconds that a refused dataset need not wait for

    key = _key(request, survey)
    state = None if request.resume is None else training_state.load(request.resume)
    if state is not None and state.key != key:
        bench.note("The state of an earlier training is of another configuration or dataset: begins anew.", "warning")
        state = None
    if state is not None:
        bench.note(f"Goes on after epoch {state.epoch + 1}: an earlier run was stopped there.")
        training_state.save(state, request.state)
    if state is None or not state.finished:
        job = _job(request, survey, bench, key, state)
        with _saying_how_to_go_on(job, bench):
            state = trainer.train(job, _arguments(request, survey, bench))
    return Trained(state.best, _training(request, state), _dataset(survey), doubts)


def _said(survey: Survey) -> str:
    parts = (f"{name}: {split.images} images, {sum(split.objects)} objects" for name, split in survey.splits.items())
    return "; ".join(parts)


def _key(request: TrainRequest, survey: Survey) -> str:
    """SHA-256 of all that the trained weights depend on: a state with another key is of another training."""
    settings = {name: value for name, value in request.config.settings.items() if name not in _ANYWHERE}
    parts = {
        "model": request.model,
        "weights": request.weights[0].sha256 if request.weights else None,
        "yaml": request.stock.sha256 if request.stock else None,
        "settings": settings,
        "names": survey.dataset.names,
        "keypoints": survey.dataset.keypoints,
        "splits": {name: split.sha256 for name, split in survey.splits.items()},
        "versions": versions("ultralytics-opencv-headless", "torch"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _job(request: TrainRequest, survey: Survey, bench: Bench, key: str, state: State | None) -> Job:
    from stages.families.yolo.network import stock_yaml, try_yaml
    from stages.pt.trainer import Job

    if request.stock is not None:
        stock, weights = request.stock, None
        if stock.yaml is not None:
            architecture = dict(stock.yaml)
            try_yaml(architecture, stock.task, stock.name)
        else:
            architecture = stock_yaml(stock.architecture, stock.task, stock.size, stock.name)
    else:
        assert request.weights is not None
        checkpoint, family = request.weights
        weights = family.build(checkpoint)
        architecture = weights.yaml
    images = {name: split.images for name, split in survey.splits.items()}
    return Job(
        request.task, survey.dataset.names, architecture, weights, request.data.name, images, key, request.state, bench,
        state,
    )  # fmt: skip


def _arguments(request: TrainRequest, survey: Survey, bench: Bench) -> dict[str, Any]:
    """The trainer's arguments: those of the configuration, and those that a stage needs."""
    from stages.families.yolo.network import quiet_ultralytics
    from stages.pt import torchvision_operators
    from stages.pt.training_view import lay_out

    quiet_ultralytics()
    device = _device(request, bench)
    if torchvision_operators.register_missing() is not None:
        bench.note(
            "torchvision's compiled operators do not load beside this torch: non-maximum suppression is numpy's."
        )
    chosen = dict(request.config.settings)
    if device == "cpu":
        chosen |= {"workers": 0, "amp": False}
    else:
        chosen["workers"] = min(chosen.get("workers", 8), bench.threads)
    if chosen.get("auto_augment") is False:
        chosen["auto_augment"] = None  # as the library says it
    data = lay_out(survey.dataset, bench.scratch / "dataset")
    return chosen | {
        "model": request.model, "data": str(data), "device": device, "project": str(bench.scratch), "name": "run",
        "exist_ok": True, "plots": False, "save": True, "verbose": False,
    }  # fmt: skip


def _device(request: TrainRequest, bench: Bench) -> int | str:
    """`cpu`, or the number of a GPU; says which. Raises EnvironmentLacking where the one asked for is not there."""
    import torch

    asked, there = request.config.settings.get("device"), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if isinstance(asked, int) and asked >= there:
        raise EnvironmentLacking(
            f"GPU {asked} is asked for, and this machine has {there}.",
            "The environment of the pt phase may be one for the CPU, or the driver is missing.",
            "Leave `device` out to take what there is.",
            kind="gpu",
        )
    if asked == "cpu" or not there:
        bench.note(f"Trains on the CPU ({cpu_model()})" + ("." if asked == "cpu" else ": there is no GPU."))
        return "cpu"
    number = asked or 0
    bench.note(f"Trains on GPU {number} ({torch.cuda.get_device_name(number)}).")
    return int(number)


@contextmanager
def _saying_how_to_go_on(job: Job, bench: Bench) -> Iterator[None]:
    """Whatever ends the training before its end: how far it came is said."""
    ended = False
    try:
        yield
        ended = True
    finally:
        if not ended and job.state is not None:
            bench.note(f"Stopped after epoch {job.state.epoch + 1}; the same command goes on from there.", "warning")


def _training(request: TrainRequest, state: State) -> dict[str, Any]:
    begun = {"weights": request.weights[0].file, "sha256": request.weights[0].sha256} if request.weights else None
    own = {"sha256": request.stock.sha256} if request.stock and request.stock.sha256 else {}
    return {
        "configuration": {"file": request.config.file.name, "sha256": disk.sha256_of(request.config.file)},
        "begun_from": begun or {"architecture": request.model, **own},
        "epochs_run": state.epoch + 1,
        "best_epoch": state.best_epoch + 1,
        **({"augmentations": state.trainer["transforms"]} if state.trainer["transforms"] else {}),
    }


def _dataset(survey: Survey) -> dict[str, Any]:
    found = survey.dataset
    return {
        "file": found.file.name,
        **({} if found.by_folder else {"sha256": disk.sha256_of(found.file)}),
        "splits": {
            name: {
                "images": split.images,
                "without_objects": split.background,
                "objects": sum(split.objects),
                "objects_by_class": list(split.objects),
                "sha256": split.sha256,
            }
            for name, split in survey.splits.items()
        },
    }


def require_offline(weights: Path) -> None:
    """Raise InputError where a checkpoint to begin from is not there: nothing is downloaded."""
    if not weights.is_file():
        raise InputError(
            f"The weights {weights} are not there.",
            "Nothing is downloaded here.",
            "Fetch the file yourself, or name an architecture such as yolo11n.yaml.",
            kind="missing",
        )
