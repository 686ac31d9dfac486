"""A training of every task but detection: its own losses and measure, taken up again bit for bit, its own package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.draw_tasks import KEYPOINTS, KINDS, write
from mcwbuild.contract import documents, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.events import Event, Measured, Started
from mcwbuild.contract.resumable import TRAINING
from mcwbuild.contract.stage import parser
from stages.common import checkpoint
from stages.pt.stage import STAGE
from tests.support.drawn import draw
from tests.support.trained import checkpoint as trained

# A network of somebody's own: two scales, a few thousand weights.
TRUNK: list[list[Any]] = [
    [-1, 1, "Conv", [8, 3, 4]],
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 1, "C2f", [16, True]],
    [-1, 1, "Conv", [16, 3, 2]],
]
HEADS: dict[str, list[Any]] = {
    "classify": [-1, 1, "Classify", ["nc"]],
    "segment": [[2, 3], 1, "Segment", ["nc", 8, 8]],
    "pose": [[2, 3], 1, "Pose26", ["nc", "kpt_shape"]],
    "obb": [[2, 3], 1, "OBB", ["nc", 1]],
}
LOSSES = {
    "classify": {"loss"},
    "segment": {"box_loss", "seg_loss", "cls_loss", "dfl_loss"},
    "pose": {"box_loss", "pose_loss", "kobj_loss", "cls_loss", "rle_loss"},
    "obb": {"box_loss", "cls_loss", "dfl_loss", "angle_loss"},
}
OF_OBJECTS = {"map50", "map50_95", "precision", "recall"}
MEASURED = {
    "classify": {"top1", "top5"},
    "segment": OF_OBJECTS | {"boxes_map50", "boxes_map50_95"},
    "pose": OF_OBJECTS | {"boxes_map50", "boxes_map50_95"},
    "obb": OF_OBJECTS,
}
CONFIG = {"imgsz": 64, "epochs": 2, "batch": 4, "nbs": 4, "optimizer": "AdamW", "warmup_epochs": 0.5}
# Mosaics that end before the training is stopped, when it is, or not at all; images that are kept, and that are not.
MORE = {"segment": {"close_mosaic": 0}, "pose": {"close_mosaic": 1, "cache": "ram"}, "obb": {"close_mosaic": 1}}


class Stopped(Exception):
    """A training that ends in its middle."""


def configure(folder: Path, task: str, **more: Any) -> Path:
    """The task's YAML and train.yaml in a folder."""
    extra = {"end2end": True, "reg_max": 1} if task == "pose" else {}
    network = {"nc": 9, "backbone": TRUNK, "head": [HEADS[task]], **extra}
    (folder / "mine.yaml").write_text(yaml.safe_dump(network))
    (folder / "train.yaml").write_text(yaml.safe_dump({"model": "mine.yaml", **CONFIG, **more}))
    return folder / "train.yaml"


def run(config: Path, data: Path, out: Path, emit: Callable[[Event], None]) -> list[Measured]:
    """The stage's work as it is done in its process; what was measured after each epoch."""
    told: list[Measured] = []

    def hear(event: Event) -> None:
        told.extend([event] if isinstance(event, Measured) else [])
        emit(event)

    words = ["--train", config, "--data", data, "--out", out, "--threads", "1"]
    request = STAGE.require(parser(STAGE).parse_args([str(word) for word in words]))
    scratch = out / f"scratch{len(list(out.glob('scratch*')))}"
    scratch.mkdir(parents=True)
    STAGE.work(request, Bench(out, scratch, 1, hear))
    return told


@pytest.mark.parametrize("task", HEADS)
def test_each_task_is_trained_measured_and_taken_up_again(tmp_path: Path, task: str) -> None:
    data = write(tmp_path / "drawn", task, 12, 6)  # type: ignore[arg-type]
    config = configure(tmp_path, task, **MORE.get(task, {}))
    told = run(config, data, tmp_path / "whole", lambda event: None)
    assert [event.name for event in told] == ["epoch 1/2", "epoch 2/2"]
    assert all(set(event.figures) >= LOSSES[task] | MEASURED[task] for event in told)

    def stop(event: Event) -> None:
        if isinstance(event, Started) and event.name == "epoch 2/2":
            raise Stopped

    with pytest.raises(Stopped):
        run(config, data, tmp_path / "stopped", stop)
    assert (tmp_path / "stopped" / TRAINING.folder / TRAINING.file).is_file()
    assert [event.figures for event in run(config, data, tmp_path / "stopped", lambda event: None)] == [told[1].figures]
    whole, stopped = (checkpoint.read(tmp_path / name / "best.pt") for name in ("whole", "stopped"))
    assert whole.metadata["train_metrics"] == stopped.metadata["train_metrics"]
    assert all(np.array_equal(whole.tensors[name], stopped.tensors[name]) for name in whole.tensors)
    _check_package(tmp_path / "whole", task)


def _check_package(package: Path, task: str) -> None:
    """What the package says of that task."""
    document = documents.read_yaml(package / "training_source.yaml")
    validate.require(document, "training_source")
    source = document.value
    record = documents.read_json(package / "performance_pt.json").value
    assert source["classes"]["names"] == sorted(kind.name for kind in KINDS[task]) or task != "classify"  # type: ignore[index]
    assert source["training"]["begun_from"]["architecture"] == "mine.yaml"
    assert source["dataset"]["splits"]["train"]["images"] == 12
    assert ("top1" if task == "classify" else "map50_95") in record["accuracy_metrics"]
    if task == "pose":
        assert source["classes"]["keypoints"] == [len(KEYPOINTS), 3]
    if task == "classify":
        assert source["preprocessing"]["resize"]["method"] == "center_crop"
        assert source["preprocessing"]["normalize"]["std"] == [255.0] * 3
        assert source["training"]["auto_augment"] == "randaugment"
        assert [part.partition("(")[0] for part in source["training"]["augmentations"]][:2] == [
            "RandomResizedCrop", "RandomHorizontalFlip",
        ]  # fmt: skip
        assert any("RandAugment" in part for part in source["training"]["augmentations"])
    else:
        assert source["preprocessing"]["resize"]["method"] == "letterbox"


def test_a_classifier_s_names_are_the_folders_whatever_they_look_like(tmp_path: Path) -> None:
    """`n01440764` is a name that the library replaces by another, and a class of one digit is none to it."""
    folder = write(tmp_path / "drawn", "classify", 12, 12)
    names = ("n01440764", "1", "größer als", "0000001", "class0000002", "z")
    for split in ("train", "val"):
        for old, new in zip(sorted((folder / split).iterdir()), names, strict=True):
            old.rename(old.with_name(new))
    run(configure(tmp_path, "classify", epochs=1), folder, tmp_path / "out", lambda event: None)
    source = documents.read_yaml(tmp_path / "out" / "training_source.yaml").value
    assert source["classes"]["names"] == sorted(names)
    assert source["model"]["name"] == "drawn"


@pytest.mark.parametrize("task", ["classify", "pose"])
def test_a_trained_network_of_another_task_than_detection_is_a_beginning(tmp_path: Path, task: str) -> None:
    """With steps that change next to nothing it still knows what it knew."""
    data = write(tmp_path / "drawn", task, 8, 24, large=True)  # type: ignore[arg-type]
    (tmp_path / "old.pt").symlink_to(trained(task))
    config = {**CONFIG, "model": "old.pt", "epochs": 1, "optimizer": "SGD", "lr0": 1e-6, "warmup_epochs": 0}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    (told,) = run(tmp_path / "train.yaml", data, tmp_path / "out", lambda event: None)
    assert told.figures["top1" if task == "classify" else "map50"] > 0.6
    source = documents.read_yaml(tmp_path / "out" / "training_source.yaml").value
    assert source["training"]["begun_from"]["weights"] == "old.pt"


def require(folder: Path, config: dict[str, Any], data: Path) -> Any:
    (folder / "train.yaml").write_text(yaml.safe_dump(config))
    words = ["--train", folder / "train.yaml", "--data", data, "--out", folder / "out"]
    return STAGE.require(parser(STAGE).parse_args([str(word) for word in words]))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("yolo11n-seg.yaml", "Its label files are those of object detection"),
        ("yolov8s-obb.yaml", "Its label files are those of object detection"),
        ("yolo26n-pose.yaml", "Its label files are those of object detection"),
        ("yolo11n-cls.yaml", "this is a data.yaml with label files"),
    ],
)
def test_another_task_than_the_dataset_s_is_refused_before_anything_starts(
    tmp_path: Path, model: str, told: str
) -> None:
    data = draw(tmp_path / "drawn", ("one", "two"))
    request = require(tmp_path, {"model": model}, data)
    events: list[Event] = []
    with pytest.raises(InputError, match=told):
        STAGE.work(request, Bench(tmp_path, tmp_path, 1, events.append))
    assert not [event for event in events if isinstance(event, Started) and event.name.startswith("epoch")]
    assert not request.state.exists()


def test_a_yaml_that_names_what_is_not_known_is_refused(tmp_path: Path) -> None:
    configure(tmp_path, "obb")
    text = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("C2f", "exec"))
    with pytest.raises(InputError, match="layer 2 is exec"):
        require(tmp_path, {"model": "mine.yaml"}, tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match="Its task is obb"):
        require(tmp_path, {"model": "mine.yaml", "task": "segment"}, tmp_path)
    assert require(tmp_path, {"model": "mine.yaml", "task": "obb"}, tmp_path).task == "obb"


def test_layers_that_do_not_fit_together_are_told_before_the_training(tmp_path: Path) -> None:
    data = write(tmp_path / "drawn", "obb", 4, 2)
    configure(tmp_path, "obb")
    text = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("C2f", "Concat"))
    request = require(tmp_path, {"model": "mine.yaml"}, data)
    with pytest.raises(InputError, match="Its layers do not fit together"):
        STAGE.work(request, Bench(tmp_path, tmp_path, 1, lambda event: None))
