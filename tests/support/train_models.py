"""Train the small checkpoints below tests/models, one for each task, on drawn images; runs in the pt environment.

    PYTHONPATH=. python tests/support/train_models.py [NAME ...]

Each is a YAML of its own, made of the library's modules, with two scales and 0.2 to 0.4 million weights. `shapes` is a
second detector, of the example's images: they are not square, and padding of the wrong colour looks like its objects.
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
from examples.shapes.draw import write_data_yaml, write_split
from tests.support.trained import checkpoint

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
# Name: the head, epochs, and what the drawing calls it (outlines are boxes too).
NETWORKS: dict[str, tuple[list[Any], int, str]] = {
    "classify": ([-1, 1, "Classify", ["nc"]], 24, "classify"),
    "detect": ([_SCALES, 1, "Detect", ["nc"]], 20, "segment"),
    "segment": ([_SCALES, 1, "Segment", ["nc", 16, 32]], 16, "segment"),
    "pose": ([_SCALES, 1, "Pose", ["nc", "kpt_shape"]], 20, "pose"),
    "obb": ([_SCALES, 1, "OBB", ["nc", 1]], 18, "obb"),
    "shapes": ([_SCALES, 1, "Detect", ["nc"]], 24, "shapes"),
}
SETTINGS: dict[str, Any] = {
    **{"imgsz": 64, "batch": 10, "nbs": 10, "optimizer": "AdamW", "lr0": 0.003, "lrf": 0.02, "cos_lr": True},
    **{"warmup_epochs": 0.5, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "mosaic": 0.0, "scale": 0.0, "translate": 0.0},
    **{"flipud": 0.5, "cache": "ram", "val": False, "auto_augment": False, "erasing": 0.0},
}


SIZES = {"classify": 96, "shapes": 160}  # pixels of the input; every other one has 64
_SHAPES_IMAGES = 600
_DRAWN_SIZES = [(320, 240), (320, 160), (240, 320), (240, 240)]  # the example's own training had square ones too


def drawn_set(folder: Path, task: str, drawn: str) -> Path:
    """Draw what a network learns from; what its training is given."""
    if drawn == "shapes":
        for split, count in (("train", _SHAPES_IMAGES), ("val", 64)):
            write_split(folder, split, count, 2, _DRAWN_SIZES)
        write_data_yaml(folder)
        return folder / "data.yaml"
    return write(folder, drawn, IMAGES * (1 + (task == "classify")), 64, large=True)  # type: ignore[arg-type]


def train(task: str, threads: int) -> None:
    """Train one network and put its best.pt in place, whole."""
    head, epochs, drawn = NETWORKS[task]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        neck = [] if task == "classify" else _NECK
        network = {"nc": 80, "depth_multiple": 1.0, "width_multiple": 1.0, "backbone": _TRUNK, "head": [*neck, head]}
        (folder / f"small-{task}.yaml").write_text(yaml.safe_dump(network))
        config = {"model": f"small-{task}.yaml", "epochs": epochs, **SETTINGS}
        config["imgsz"] = SIZES.get(task, config["imgsz"])
        (folder / "train.yaml").write_text(yaml.safe_dump(config))
        data = drawn_set(folder / "drawn", task, drawn)
        out = folder / "package"
        words = ["--train", folder / "train.yaml", "--data", data, "--out", out, "--threads", threads, "--name", task]
        command = [sys.executable, "-m", "stages.pt", *map(str, words), "--progress", "plain"]
        subprocess.run(command, check=True)
        shutil.move(out / "best.pt", checkpoint(task))


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
