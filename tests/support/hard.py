"""The networks that plain INT8 spoils, as a user has them: a TorchScript file, a source document, a folder of classes.

`python -m tests.support.hard FOLDER NETWORK` writes them. For the pt stage's environment, or any with OpenCV.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import yaml

from tests.support import gratings

NETWORKS = Path(__file__).parents[1] / "models" / "hard"
TRAIN, VAL = 64, 320  # images
PIXEL = [127.5, 127.5, 127.5]  # mean and std


def write(folder: Path, network: str) -> Path:
    """Lay out `net.pt`, `training_source.yaml` and `data/` in `folder`. Returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(NETWORKS / f"{network}.pt", folder / "net.pt")
    source = {
        "schema": "training_source/1",
        "model": {"name": network, "type": "CNN", "task": "classification"},
        "classes": {"names": list(gratings.NAMES), "num_classes": len(gratings.NAMES)},
        "input": {"size": [gratings.SIDE, gratings.SIDE], "format": "RGB"},
        "preprocessing": {"resize": {"method": "direct"}, "normalize": {"mean": list(PIXEL), "std": list(PIXEL)}},
    }
    (folder / "training_source.yaml").write_text(yaml.safe_dump(source), "utf-8")
    gratings.write(folder / "data", TRAIN, VAL)
    return folder


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2])
