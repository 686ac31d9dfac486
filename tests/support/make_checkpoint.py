"""Write an Ultralytics checkpoint with untrained weights: runs in the pt stage's environment, no test by itself.

    python make_checkpoint.py best.pt yolov8n.yaml 192,320 "first name" "second name" ...

The weights are random (seeded); batch norms have seen a few images, so that activations have sensible ranges.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from ultralytics.nn import tasks

# By the end of the architecture's name: the task, and the library's class.
KINDS = {
    "-cls": ("classify", tasks.ClassificationModel),
    "-seg": ("segment", tasks.SegmentationModel),
    "-pose": ("pose", tasks.PoseModel),
    "-obb": ("obb", tasks.OBBModel),
}


def main(path: str, architecture: str, size: str, *names: str) -> None:
    """Build, settle the batch norms, save as Ultralytics' trainer does (half precision, `train_args` beside it)."""
    torch.manual_seed(0)
    suffix = architecture.removesuffix(".yaml").partition("-")[1:]
    task, made = KINDS.get("".join(suffix), ("detect", tasks.DetectionModel))
    model = made(architecture, ch=3, nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    model.args = {}
    height, width = (int(side) for side in size.split(","))
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(2, 3, height, width))
    model.eval()
    arguments = {"imgsz": [height, width], "task": task, "epochs": 0, "data": "data.yaml"}
    checkpoint = {"epoch": -1, "model": model.half(), "ema": None, "train_args": arguments, "version": "8.4.190"}
    torch.save(checkpoint, Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
