"""Untrained Ultralytics detectors, and the files that the trainer would write of them; for the pt environment."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel

torch.set_num_threads(1)  # several threads wait for each other on a busy machine: 2 s instead of 0.2 s a network
NAMES = ("first name", "größer", "third")


def network(architecture: str | dict[str, Any], names: tuple[str, ...] = NAMES) -> DetectionModel:
    """A detector with random weights whose batch norms have seen noise."""
    torch.manual_seed(7)
    model = DetectionModel(architecture, ch=3, nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    model.train()
    with torch.no_grad():
        model(torch.rand(2, 3, 128, 128))
    return model


def untrained(
    architecture: str, names: tuple[str, ...] = NAMES, size: int = 64, keypoints: tuple[int, int] = (5, 3)
) -> torch.nn.Module:
    """A network of any task with random weights whose batch norms have seen noise."""
    torch.manual_seed(7)
    made = {"-cls": tasks.ClassificationModel, "-seg": tasks.SegmentationModel, "-obb": tasks.OBBModel}
    suffix = architecture.removesuffix(".yaml")[-4:]
    if suffix == "pose":
        model = tasks.PoseModel(architecture, ch=3, nc=len(names), data_kpt_shape=keypoints, verbose=False)
    else:
        model = made[suffix](architecture, ch=3, nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    model.train()
    with torch.no_grad():
        model(torch.rand(4, 3, size, size))
    return model


def saved(
    folder: Path, model: torch.nn.Module, imgsz: int | list[int] = 640, task: str = "detect", **more: Any
) -> Path:
    """The file that Ultralytics' trainer would write of the model."""
    path = folder / "best.pt"
    arguments = {"imgsz": imgsz, "task": task, "data": "data.yaml", "epochs": 3}
    model.args = arguments
    whole = {"epoch": -1, "model": None, "ema": deepcopy(model).half(), "train_args": arguments, "version": "8.4.190"}
    torch.save({**whole, "date": "2026-11-22T10:00:00", "train_metrics": {"fitness": 0.5}, **more}, path)
    return path
