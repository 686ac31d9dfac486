"""Train a small stock network on drawn images with Ultralytics' own trainer; run it in the pt phase's environment.

Colours are left alone and mosaics are off, for the reasons that `examples/shapes/train.py` gives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

SIZE = 128  # pixels; a minute or two a network on one core
EPOCHS = 4
BATCH = 8


def settings(data: Path, folder: Path, epochs: int) -> dict[str, Any]:
    """The arguments of Ultralytics' trainer."""
    return {
        "data": str(data), "imgsz": SIZE, "epochs": epochs, "batch": BATCH, "seed": 0, "optimizer": "AdamW",
        "nbs": BATCH,  # a step after each batch: a short training needs its steps
        "lr0": 0.002, "lrf": 0.02, "cos_lr": True, "warmup_epochs": 0.5, "weight_decay": 0.0005,
        "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "mosaic": 0.0, "scale": 0.0, "translate": 0.0,
        "fliplr": 0.5, "flipud": 0.5, "cache": "ram", "workers": 0, "device": "cpu", "amp": False, "plots": False,
        "auto_augment": None, "erasing": 0.0,  # of classifiers alone
        "val": False, "project": str(folder), "name": "run", "exist_ok": True, "verbose": False,
    }  # fmt: skip


def main() -> None:
    """Train one architecture and put its best checkpoint in place, whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a stock YAML, for example yolo26n or yolo11n-seg")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="the checkpoint to write")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="0")
    import torch

    from stages.pt.torchvision_operators import register_missing

    register_missing()
    from ultralytics import YOLO

    model = YOLO(f"{given.name}.yaml")
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(given.threads))
    folder = given.out.resolve().with_suffix(".training")
    model.train(**settings(given.data.resolve(), folder, given.epochs))
    best = Path(model.trainer.best)
    shutil.move(best if best.is_file() else Path(model.trainer.last), given.out)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
