"""What Ultralytics itself says of a checkpoint, beside this project's figures; run it in the pt phase's environment.

    python benchmarks/library_val.py best.pt data.yaml

Prints one JSON document. `val` is the library's validation at the same input size, IoU and limit; `predict` are the
library's own predictions at the low confidence, counted by this project's metric on the images' own pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract import dataset
from stages.common import images as pictures
from stages.common import mask_metrics, tasks
from stages.common.classification import Ranking
from stages.common.detection import Detections
from stages.common.labels import labels_of
from stages.common.poses import Poses
from stages.common.segmentation import Segments
from stages.common.turned import TurnedBoxes
from stages.families.yolo.architectures import TASKS
from stages.families.yolo.network import quiet_ultralytics

SETTINGS: dict[str, Any] = {"batch": 1, "rect": False, "workers": 0, "device": "cpu", "plots": False, "verbose": False}
IOU, LIMIT = 0.7, 300


def result_of(found: Any, task: str) -> Any:
    """A prediction of the library as this project's result."""
    shape = found.orig_shape
    if task == "classification":
        order = found.probs.data.argsort(descending=True).numpy()
        return Ranking(order, found.probs.data.numpy()[order])
    boxes = found.obb if task == "oriented_detection" else found.boxes
    scores, classes = boxes.conf.numpy(), boxes.cls.numpy().astype(np.int64)
    if task == "oriented_detection":
        return TurnedBoxes(boxes.xywhr.numpy(), scores, classes)
    if task == "pose":
        return Poses(boxes.xyxy.numpy(), scores, classes, found.keypoints.data.numpy())
    if task == "segmentation":
        masks = [] if found.masks is None else [(mask.numpy().astype(bool), 0, 0) for mask in found.masks.data]
        return mask_metrics.encoded(Segments(boxes.xyxy.numpy(), scores, classes, tuple(masks), shape))
    return Detections(boxes.xyxy.numpy(), scores, classes)


def head_of(model: Any) -> dict[str, Any]:
    """The option that chooses the one-to-one head, where there is one: what this project deploys."""
    return {"nms": False} if getattr(model.model.model[-1], "one2one_cv2", None) is not None else {}


def predicted(model: Any, data: Path, size: int, task: str, head: dict[str, Any]) -> dict[str, Any]:
    """The library's predictions for the split that is measured on, counted as the evaluator counts."""
    found = dataset.read(data)
    split = found.splits["val"]
    names = list(model.names.values())
    keypoints = list(model.model.kpt_shape) if task == "pose" else None
    contract = {"model": {"task": task}, "classes": {"names": names, "num_classes": len(names), "keypoints": keypoints}}
    own, results, truth = tasks.TASKS[task], [], []
    for image, label in zip(split, labels_of(split, contract), strict=True):
        read = pictures.read(image)
        settings = {"imgsz": size, "conf": tasks.LOW_CONFIDENCE, "iou": IOU, "max_det": LIMIT, "rect": False, **head}
        (one,) = model.predict(read, retina_masks=True, device="cpu", verbose=False, **settings)
        results.append(result_of(one, task))
        truth.append(own.truth(label, read.shape[:2]))
    figures = own.judge(results, truth, names, 0.25).metrics
    return {key: figures.get(key) for key in ("map50_95", "map50", "top1", "top5", "boxes") if key in figures}


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=128)
    given = parser.parse_args()
    quiet_ultralytics()
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    from stages.pt.torchvision_operators import register_missing

    torch.set_num_threads(1)
    held = register_missing()  # the definitions last as long as the object
    from ultralytics import YOLO

    model = YOLO(given.checkpoint)
    with tempfile.TemporaryDirectory() as scratch:
        head = head_of(model)
        options = {**head, "imgsz": given.size, "conf": tasks.LOW_CONFIDENCE, "iou": IOU, "max_det": LIMIT, **SETTINGS}
        said = model.val(data=str(given.data.resolve()), project=scratch, **options).results_dict
    counted = predicted(model, given.data, given.size, TASKS[model.task], head)
    del held
    json.dump({"val": {key: float(value) for key, value in said.items()}, "predict": counted}, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
