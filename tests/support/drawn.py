"""A small labelled dataset, drawn: grey images of several shapes with one coloured rectangle each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

COLOURS = ((40, 40, 220), (220, 40, 40), (40, 220, 40))  # blue, green, red


def draw(folder: Path, names: Sequence[str], count: int = 4) -> Path:
    """Write images, labels and `data.yaml` below `folder`, the same every time; returns the `data.yaml`."""
    random = np.random.default_rng(11)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        label = number % len(names)
        rows, columns = (int(side) for side in random.integers(90, 260, 2))
        width, height = (
            int(side * share) for side, share in zip((columns, rows), random.uniform(0.2, 0.5, 2), strict=True)
        )
        x, y = int(random.integers(0, columns - width)), int(random.integers(0, rows - height))
        image = random.integers(110, 150, (rows, columns, 3), np.uint8)
        image[y : y + height, x : x + width] = COLOURS[label % len(COLOURS)]
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        box = ((x + width / 2) / columns, (y + height / 2) / rows, width / columns, height / rows)
        (folder / "labels" / f"{number}.txt").write_text(f"{label} {' '.join(map(str, box))}\n")
    listed = "".join(f"  - {name}\n" for name in names)
    (folder / "data.yaml").write_text(f"train: images\nval: images\nnames:\n{listed}")
    return folder / "data.yaml"
