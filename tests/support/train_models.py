"""Train the small checkpoints below tests/models, one for each task, on drawn images; runs in the pt environment.

    PYTHONPATH=. python tests/support/train_models.py [TASK ...]

Each is a YAML of its own, made of the library's modules, with two scales and 0.2 to 0.4 million weights.
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

MODELS = Path(__file__).parents[1] / "models"
IMAGES = 300  # to learn from; a classifier, which sees one object in each, learns from twice as many
_TRUNK: list[list[Any]] = [
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 1, "Conv", [32, 3, 2]],
    [-1, 1, "C2f", [32, True]],
    [-1, 1, "Conv", [64, 3, 2]],
    [-1, 1, "C2f", [64, True]],
    [-1, 1, "Conv", [96, 3, 2]],
    [-1, 1, "C2f", [96, True]],
]
_NECK: list[list[Any]] = [
    [-1, 1, "SPPF", [96, 5]],
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 4], 1, "Concat", [1]],
    [-1, 1, "C2f", [64]],
]
_SCALES = [10, 7]  # layers: 8 and 16 pixels to a cell
# Task: the head, epochs, and what the drawing calls it (outlines are boxes too).
NETWORKS: dict[str, tuple[list[Any], int, str]] = {
    "classify": ([-1, 1, "Classify", ["nc"]], 24, "classify"),
    "detect": ([_SCALES, 1, "Detect", ["nc"]], 20, "segment"),
    "segment": ([_SCALES, 1, "Segment", ["nc", 16, 32]], 16, "segment"),
    "pose": ([_SCALES, 1, "Pose", ["nc", "kpt_shape"]], 20, "pose"),
    "obb": ([_SCALES, 1, "OBB", ["nc", 1]], 18, "obb"),
}
SETTINGS: dict[str, Any] = {
    **{"imgsz": 64, "batch": 10, "nbs": 10, "optimizer": "AdamW", "lr0": 0.003, "lrf": 0.02, "cos_lr": True},
    **{"warmup_epochs": 0.5, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "mosaic": 0.0, "scale": 0.0, "translate": 0.0},
    **{"flipud": 0.5, "cache": "ram", "val": False, "auto_augment": False, "erasing": 0.0},
}


def train(task: str, threads: int) -> None:
    """Train one network and put its best.pt in place, whole."""
    head, epochs, drawn = NETWORKS[task]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        neck = [] if task == "classify" else _NECK
        network = {"nc": 80, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": _TRUNK, "head": [*neck, head]}
        (folder / f"small-{task}.yaml").write_text(yaml.safe_dump(network))
        config = {"model": f"small-{task}.yaml", "epochs": epochs, **SETTINGS}
        config |= {"imgsz": 96} if task == "classify" else {}
        (folder / "train.yaml").write_text(yaml.safe_dump(config))
        data = write(folder / "drawn", drawn, IMAGES * (1 + (task == "classify")), 64, large=True)  # type: ignore[arg-type]
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
