"""Train the YOLO11n of this example from scratch with Ultralytics' own trainer.

Run it in a scratch folder: the data set and the results go below it under
relative names, which is also how the checkpoint records them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float) -> list[int]:
    """Return the indices that greedy non-maximum suppression keeps, best score first."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = np.clip(high - low, 0, None).prod(axis=1)
        order = order[overlap <= threshold * (areas[best] + areas[order] - overlap)]
    return kept


def keep_by_score(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Stand in for `torchvision::nms` on the CPU."""
    return torch.tensor(suppress(dets.numpy(), scores.numpy(), iou_threshold), dtype=torch.long)


def stand_in_for_torchvision_ops() -> torch.library.Library | None:
    """Define `nms` where torchvision cannot load its compiled operators.

    A torchvision built for CUDA next to a CPU build of torch fails at import,
    because it describes operators that its library did not register.

    The definitions last as long as the object that is returned.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    else:
        return None

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", keep_by_score, "CPU")
    extension = importlib.import_module("torchvision.extension")
    vars(extension)["_has_ops"] = lambda: True
    return library


def settings(images: str, epochs: int, seed: int) -> dict[str, Any]:
    """Return the arguments of Ultralytics' trainer.

    Colours are left alone because two class pairs differ in hue alone, and
    mosaics are off so that the network sees the letterbox bars of inference.
    """
    return {
        "data": images,
        "imgsz": 256,
        "epochs": epochs,
        "batch": 16,
        "seed": seed,
        "optimizer": "AdamW",
        "lr0": 0.002,
        "lrf": 0.02,
        "cos_lr": True,
        "warmup_epochs": 1.0,
        "weight_decay": 0.0005,
        "hsv_h": 0.0,
        "hsv_s": 0.0,
        "hsv_v": 0.0,
        "mosaic": 0.0,
        "scale": 0.0,
        "translate": 0.0,
        "fliplr": 0.5,
        "flipud": 0.5,
        "cache": "ram",
        "workers": 0,
        "device": "cpu",
        "amp": False,
        "plots": False,
        "project": "runs",
        "name": "shapes",
        "exist_ok": True,
    }


def main() -> None:
    """Train and print where the best checkpoint lies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data.yaml", help="data set to train on")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    # Everything that training needs is here, so nothing has to be looked up.
    os.environ.setdefault("YOLO_OFFLINE", "1")
    os.environ.setdefault("YOLO_AUTOINSTALL", "0")
    stand_in = stand_in_for_torchvision_ops()
    from ultralytics import YOLO

    model = YOLO("yolo11n.yaml")
    # The trainer resets the number of threads when it selects the device.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(options.threads))
    model.train(**settings(options.data, options.epochs, options.seed))
    print(model.trainer.best, "" if stand_in is None else "(with a stand-in for nms)")


if __name__ == "__main__":
    main()
