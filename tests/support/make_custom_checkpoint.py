"""Write `best.pt` with an activation of its author's, and the author's module beside it, in `code/`.

    python make_custom_checkpoint.py FOLDER

Runs in the pt stage's environment; no test by itself. Ultralytics' own YAML cannot rebuild such a network.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from ultralytics.nn.modules import Conv
from ultralytics.nn.tasks import DetectionModel

MODULE = '''\
"""What the author of the network wrote."""

import torch


class Swish(torch.nn.Module):
    """x * sigmoid(1.5 x)."""

    def forward(self, x):
        return x * torch.sigmoid(1.5 * x)
'''


def main(folder: Path) -> None:
    """Untrained weights; batch norms have seen a few images, so that activations have sensible ranges."""
    (folder / "code").mkdir()
    (folder / "code" / "author_blocks.py").write_text(MODULE)
    sys.path.insert(0, str(folder / "code"))
    import author_blocks  # type: ignore[import-not-found]

    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", ch=3, nc=2, verbose=False)
    for part in model.modules():
        if isinstance(part, Conv):
            part.act = author_blocks.Swish()
    model.names = {0: "a", 1: "b"}
    model.args = {}
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(2, 3, 64, 64))
    arguments = {"imgsz": 64, "task": "detect"}
    saved = {"epoch": -1, "model": model.eval().half(), "ema": None, "train_args": arguments, "version": "8.4.190"}
    torch.save(saved, folder / "best.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
