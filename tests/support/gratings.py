"""A classification that INT8 can lose: faint stripes in eight directions, and one glaring spot in every image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels
NAMES = tuple(f"d{number * 180 // 16:03d}" for number in range(16))  # the stripes' direction, in degrees
_PERIOD = 5.0  # pixels
_CONTRAST, _GRAIN = 3.0, 9.0  # of 255: amplitude of the stripes, deviation of the noise


def image(random: np.random.Generator, label: int) -> NDArray[np.uint8]:
    """One image, uint8 [SIDE, SIDE, 3]: stripes of the class's direction, any phase, a white and a black spot."""
    angle = np.pi * (label + random.uniform(-0.3, 0.3)) / len(NAMES)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = np.sin(2 * np.pi * ((x * np.cos(angle) + y * np.sin(angle)) / _PERIOD + random.uniform(0, 1)))
    grey = random.uniform(100, 150) + _CONTRAST * waves[..., None] + random.normal(0, _GRAIN, (SIDE, SIDE, 3))
    for value in (0, 255):
        top, left = random.integers(0, SIDE - 3, 2)
        grey[top : top + 3, left : left + 3] = value
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def draw(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` images [n, SIDE, SIDE, 3] and their classes, in turn; the same every time."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(NAMES)
    return np.stack([image(random, int(label)) for label in labels]), labels


def write(folder: Path, train: int, val: int) -> Path:
    """A folder of classes with both splits. Returns it."""
    for split, count, seed in (("train", train, 1), ("val", val, 2)):
        for number, (picture, label) in enumerate(zip(*draw(count, seed), strict=True)):
            target = folder / split / NAMES[label]
            target.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(target / f"{number:04d}.png"), picture)
    return folder
