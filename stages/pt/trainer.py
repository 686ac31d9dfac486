"""Ultralytics' own trainer, begun from our network, kept after every epoch, and taken up again where it was stopped."""

from __future__ import annotations

import importlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mcwbuild.contract.bench import Bench, Step
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.events import Finished, Measured, Started
from stages.pt.training_state import State, random_state, save, set_random_state

TRAINERS = {  # by task: the class in ultralytics.models.yolo.<task>
    "detect": "DetectionTrainer",
    "segment": "SegmentationTrainer",
    "pose": "PoseTrainer",
    "obb": "OBBTrainer",
    "classify": "ClassificationTrainer",
}
_OF_OBJECTS = {"precision": "precision", "recall": "recall", "mAP50": "map50", "mAP50-95": "map50_95"}
_OF_CLASSES = {"metrics/accuracy_top1": "top1", "metrics/accuracy_top5": "top5"}
_MEASURED_BY = {"segment": "M", "pose": "P"}  # masks, keypoints: what the task is about, boxes (B) beside them
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # CUDA's, and torch's on the CPU
# Recorded in every checkpoint, and of this machine alone.
_IMPERSONAL = {"project": None, "name": None, "save_dir": None, "device": None}


@dataclass
class Job:
    """One training: what it begins from, where its state is kept, and how far it is.

    `architecture` is the library's YAML as data, `weights` a network to take weights from, `images` how many
    images each split has.
    """

    task: str
    names: tuple[str, ...]
    architecture: Mapping[str, Any]
    weights: torch.nn.Module | None
    data: str  # the name that checkpoints record
    images: Mapping[str, int]
    key: str
    state_file: Path
    bench: Bench
    state: State | None = None
    begun: float = field(default=0.0, repr=False)
    step: Step | None = field(default=None, repr=False)
    whole: Step | None = field(default=None, repr=False)
    batches: int = 0
    validations: int = 0


class Kept:
    """Mixed into Ultralytics' trainer: the hooks that it offers for a network and a state of one's own."""

    job: Job

    def setup_model(self: Any) -> None:
        """The network: of the library's architecture, with the weights to begin from where there are any."""
        self.model = self.get_model(cfg=dict(self.job.architecture), weights=self.job.weights, verbose=False)

    def set_model_attributes(self: Any) -> None:
        """As the library, and a classifier's classes by their names: the folders that it sees are numbered."""
        super().set_model_attributes()  # type: ignore[misc]
        self.model.names = dict(enumerate(self.job.names))

    def validate(self: Any) -> Any:
        """Measured by the library; counted, because a classifier's images are measured in another order each time."""
        self.job.validations += 1
        return super().validate()  # type: ignore[misc]

    def resume_training(self: Any, _checkpoint: Any) -> None:
        """Go on from the job's state, if it has one."""
        if self.job.state is not None:
            _restore(self, self.job.state.trainer, self.job.state.epoch + 1)

    def save_model(self: Any) -> bool:
        """Ultralytics' own checkpoint, then the state of the whole training."""
        from ultralytics.utils.patches import override_configs

        with override_configs(self.args, {**_IMPERSONAL, "data": self.job.data}):
            saved = super().save_model()  # type: ignore[misc]
        _keep(self, self.job)
        return bool(saved)

    def final_eval(self: Any) -> None:
        """Nothing: the one evaluator measures the best epoch, as it measures every phase."""


def train(job: Job, arguments: Mapping[str, Any]) -> State:
    """Train to the end; returns the last state. `arguments` are the trainer's, by Ultralytics' names.

    Raises StageFailed where the trainer gives up, EnvironmentLacking where the disk is full.
    """
    base = getattr(importlib.import_module(f"ultralytics.models.yolo.{job.task}"), TRAINERS[job.task])
    trainer = type("Trainer", (Kept, base), {})(overrides=dict(arguments))
    trainer.job = job
    for event, told in (
        ("on_pretrain_routine_end", _check_images),
        ("on_train_start", lambda _: torch.set_num_threads(job.bench.threads)),  # choosing the device resets it
        ("on_train_epoch_start", _begin_epoch),
        ("on_train_batch_end", _end_batch),
        ("on_fit_epoch_end", _end_epoch),
    ):
        trainer.add_callback(event, told)
    with job.bench.step("training", f"{trainer.args.epochs} epochs") as job.whole:
        try:
            trainer.train()
        except (RuntimeError, ValueError) as error:
            logging.getLogger(__name__).exception("the trainer failed")  # standard error: the step's log
            raise _failure(error) from error
        job.whole.result = f"{trainer.epoch + 1} epochs"
    assert job.state is not None
    return job.state


def _failure(error: Exception) -> StageFailed:
    text = " ".join(str(error).split())[:300]
    if any(words in text.lower() for words in _NO_MEMORY):
        remedy = "Take a smaller `batch` or `imgsz`, or a smaller model."
        return StageFailed("The training ran out of memory.", f"{text}.", remedy, kind="out-of-memory")
    return StageFailed("The training failed.", f"{type(error).__name__}: {text}.", "See the log.", kind="training")


def _check_images(trainer: Any) -> None:
    """Raise StageFailed where the trainer left images out, which it does with a line in its log."""
    for split, loader in (("train", trainer.train_loader), ("val", trainer.test_loader)):
        found = loader.dataset.samples if trainer.job.task == "classify" else loader.dataset.im_files
        wanted, taken = trainer.job.images[split], len(found)
        if taken != wanted and (split == "val" or trainer.args.fraction == 1.0):
            raise StageFailed(
                "The trainer does not take the whole dataset.",
                f"Of the {wanted} images of {split} it takes {taken}.",
                "Its log names those that it left out.",
                kind="dataset",
            )


def _begin_epoch(trainer: Any) -> None:
    job: Job = trainer.job
    name = f"epoch {trainer.epoch + 1}/{trainer.epochs}"
    job.bench.emit(Started(name, f"{len(trainer.train_loader)} batches"))
    job.begun, job.step, job.batches = time.monotonic(), Step(name, job.bench.emit), 0


def _end_batch(trainer: Any) -> None:
    job: Job = trainer.job
    assert job.step is not None
    job.batches += 1
    job.step.progress(job.batches, len(trainer.train_loader))


def _end_epoch(trainer: Any) -> None:
    job: Job = trainer.job
    assert job.step is not None
    figures = _figures(trainer)
    job.bench.emit(Measured(job.step.name, figures))
    said = ", ".join(f"{name} {figures[name]:.3f}" for name in figures if not name.endswith(("precision", "recall")))
    job.bench.emit(Finished(job.step.name, round(time.monotonic() - job.begun, 3), said))
    if job.whole is not None:
        job.whole.progress(trainer.epoch + 1, trainer.epochs)


def _figures(trainer: Any) -> dict[str, float]:
    """The epoch's losses, and its metrics where it was measured."""
    losses = {name: float(value) for name, value in trainer.tloss.items()}
    measured = trainer.metrics if trainer.fitness is not None else {}
    told = metric_names(trainer.job.task)
    metrics = {ours: float(measured[theirs]) for theirs, ours in told.items() if theirs in measured}
    return {name: value for name, value in {**losses, **metrics}.items() if math.isfinite(value)}


def metric_names(task: str) -> dict[str, str]:
    """What the trainer of a task measures: its own name of each metric, and ours."""
    if task == "classify":
        return _OF_CLASSES
    of = _MEASURED_BY.get(task)
    if of is None:
        return {f"metrics/{theirs}(B)": ours for theirs, ours in _OF_OBJECTS.items()}
    first = {f"metrics/{theirs}({of})": ours for theirs, ours in _OF_OBJECTS.items()}
    return first | {f"metrics/{theirs}(B)": f"boxes_{ours}" for theirs, ours in _OF_OBJECTS.items()}


def _keep(trainer: Any, job: Job) -> None:
    """Take the state of the whole training after this epoch, and write it."""
    from ultralytics.utils.torch_utils import strip_optimizer, unwrap_model

    best, best_epoch = (b"", 0) if job.state is None else (job.state.best, job.state.best_epoch)
    if trainer.best_fitness == trainer.fitness:
        stripped = job.bench.scratch / "stripped.pt"
        strip_optimizer(trainer.best, s=str(stripped), updates={"git": None})  # whichever repository stands around
        best, best_epoch = stripped.read_bytes(), trainer.epoch
    fitness = trainer.best_fitness
    kept = {
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "best_fitness": None if fitness is None else float(fitness),
        "stopper": {name: _plain(value) for name, value in vars(trainer.stopper).items()},
        "results": trainer.csv.read_text() if trainer.csv.is_file() else "",
        "random": random_state(),
        "validations": job.validations,
        "buffer": list(getattr(trainer.train_loader.dataset, "buffer", ())),
        "transforms": _transforms(trainer) if job.task == "classify" else [],
    }
    job.state = State(job.key, trainer.epoch, bool(trainer.stop), best, best_epoch, kept)
    save(job.state, job.state_file)


def _transforms(trainer: Any) -> list[str]:
    """The augmentations of a classifier's training, each as torchvision shows it."""
    return [" ".join(str(part).split()) for part in trainer.train_loader.dataset.torch_transforms.transforms]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _restore(trainer: Any, kept: Mapping[str, Any], epoch: int) -> None:
    """Put a trainer that is set up where `_keep` found another; `epoch` (from 0) is the next one."""
    from ultralytics.utils.torch_utils import unwrap_model

    model = unwrap_model(trainer.model)
    model.load_state_dict(kept["model"])
    trainer.ema.ema.load_state_dict(kept["ema"])
    trainer.ema.updates = kept["updates"]
    for saved, group in zip(kept["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
        saved["fused"] = group.get("fused")  # the device of this run chooses the kernel, not that of the earlier one
    trainer.optimizer.load_state_dict(kept["optimizer"])
    if kept["scaler"]:
        trainer.scaler.load_state_dict(kept["scaler"])
    trainer.best_fitness = kept["best_fitness"]
    vars(trainer.stopper).update(kept["stopper"])
    trainer.csv.write_text(kept["results"])
    model.criterion = model.init_criterion()
    if hasattr(model.criterion, "update"):  # two heads: the weights of their losses change from epoch to epoch
        model.criterion.updates = epoch - 1
        model.criterion.update()
    trainer.start_epoch = epoch
    trainer.job.validations = kept["validations"]
    _take_up_images(trainer, kept, epoch)
    set_random_state(kept["random"])


def _take_up_images(trainer: Any, kept: Mapping[str, Any], epoch: int) -> None:
    """Put the loaders where they were after `epoch` epochs: the order of the images, and those that mosaics know."""
    closing = max(trainer.epochs - trainer.args.close_mosaic, 0) if trainer.args.close_mosaic else trainer.epochs
    closed, train = epoch > closing, trainer.train_loader
    _skip(train, (closing, epoch - closing) if closed else (epoch,))
    _skip(trainer.test_loader, (trainer.job.validations,))
    if closed and train.num_workers == 0:
        train.reset = lambda: None  # the trainer closes the mosaics once more, and would begin another order
    for index in kept["buffer"]:
        train.dataset.load_image(index)


def _skip(loader: Any, passes: Sequence[int]) -> None:
    """Draw the order of the images of the passes that are done, so that the next ones come in the order they would.

    The trainer takes a new iterator where it closes the mosaics; `passes` are those of each. Where other processes
    load the images they are ahead by then, and the order is that of a new training.
    """
    if loader.num_workers != 0:
        return
    for count in filter(None, passes):
        loader.iterator = loader._get_iterator()
        for _ in range(count * len(loader)):
            next(loader.iterator._sampler_iter)
