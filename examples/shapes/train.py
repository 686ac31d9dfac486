"""Train the YOLO11n of this example from scratch with Ultralytics' own trainer.

Run it in a scratch folder, with the project's folder on PYTHONPATH: the data
set and the results go below it under relative names, which is also how the
checkpoint records them.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch

from stages.pt.torchvision_operators import register_missing


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
    stand_in = register_missing()
    from ultralytics import YOLO

    model = YOLO("yolo11n.yaml")
    # The trainer resets the number of threads when it selects the device.
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(options.threads))
    model.train(**settings(options.data, options.epochs, options.seed))
    print(model.trainer.best, "" if stand_in is None else "(with a stand-in for nms)")


if __name__ == "__main__":
    main()
