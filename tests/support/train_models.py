"""Train the small checkpoints below tests/models, one for each task, on drawn images; runs in the pt phase's environment.

    PYTHONPATH=. python tests/support/train_models.py [TASK ...]

Each is a YAML of its own: the library's, at a sixteenth of the width, so that the file has at most 1.5 MB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.draw_tasks import write
from stages.families.yolo.network import quiet_ultralytics

MODELS = Path(__file__).parents[1] / "models"
WIDTH, DEPTH = 0.0625, 0.5
IMAGES = 400  # to learn from
# Task: the library's YAML, epochs, and what the drawing calls it: outlines are boxes too.
NETWORKS = {
    "classify": ("yolo11-cls", 14, "classify"),
    "detect": ("yolo26", 16, "segment"),
    "segment": ("yolov8-seg", 20, "segment"),
    "pose": ("yolo11-pose", 24, "pose"),
    "obb": ("yolo11-obb", 24, "obb"),
}
SETTINGS: dict[str, Any] = {
    **{"imgsz": 128, "batch": 8, "nbs": 8, "optimizer": "AdamW", "lr0": 0.003, "lrf": 0.02, "cos_lr": True},
    **{"warmup_epochs": 0.5, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "mosaic": 0.0, "scale": 0.0, "translate": 0.0},
    **{"flipud": 0.5, "cache": "ram", "val": False, "auto_augment": False, "erasing": 0.0},
}


def train(task: str, threads: int) -> None:
    """Train one network and put its best.pt in place, whole."""
    quiet_ultralytics()
    from ultralytics.nn.tasks import yaml_model_load

    name, epochs, drawn = NETWORKS[task]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        network = {**yaml_model_load(f"{name}.yaml"), "scales": {"n": [DEPTH, WIDTH, 1024]}, "scale": "n"}
        del network["yaml_file"]
        (folder / f"small-{name}.yaml").write_text(yaml.safe_dump(network))
        config = {"model": f"small-{name}.yaml", "epochs": epochs, **SETTINGS}
        (folder / "train.yaml").write_text(yaml.safe_dump(config))
        data = write(folder / "drawn", drawn, IMAGES, 64)  # type: ignore[arg-type]
        out = folder / "package"
        words = ["--train", folder / "train.yaml", "--data", data, "--out", out, "--threads", threads, "--name", task]
        command = [sys.executable, "-m", "stages.pt", *map(str, words), "--progress", "plain"]
        subprocess.run(command, check=True)
        MODELS.mkdir(exist_ok=True)
        shutil.move(out / "best.pt", MODELS / f"{task}.pt")


def main() -> None:
    """Train those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="*", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    for task in given.task or NETWORKS:
        train(task, given.threads)


if __name__ == "__main__":
    main()
