"""Draw a small labelled data set of words: one word an image, in several lettering styles, light on dark or not.

It lies as PaddleOCR and deep-text-recognition-benchmark have theirs: images, and `train.txt` and `val.txt` with
`image<TAB>text` in each line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

# Without I, O, Q: OpenCV's lettering has them too much like 1 and 0.
CHARACTERS = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
LENGTHS = (3, 7)  # characters of a word, both ends included
STYLES = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
SPLITS = ("train", "val")


def word(random: np.random.Generator) -> str:
    """Characters at random: there is no language to guess from."""
    length = int(random.integers(LENGTHS[0], LENGTHS[1] + 1))
    return "".join(random.choice(list(CHARACTERS), length))


def draw(random: np.random.Generator, text: str, grain: float = 1.0) -> NDArray[np.uint8]:
    """The word as an image, uint8 [H, W, 3], tightly around it, with so much grain and a colour of its own."""
    style, scale = STYLES[int(random.integers(len(STYLES)))], random.uniform(0.8, 1.3)
    thick = int(random.integers(1, 3))
    (width, height), below = cv2.getTextSize(text, style, scale, thick)
    left, top = (int(side) for side in random.integers(3, 10, 2))
    rows, columns = height + below + 2 * top, width + 2 * left
    dark, light = random.uniform(0, 90, 3), random.uniform(165, 255, 3)
    paper, ink = (dark, light) if random.random() < 0.5 else (light, dark)
    image = np.empty((rows, columns, 3), np.uint8)
    image[:] = paper
    cv2.putText(image, text, (left, top + height), style, scale, tuple(map(float, ink)), thick, cv2.LINE_AA)
    shear = random.uniform(-0.25, 0.25)
    turned = np.array([[1, shear, -shear * rows / 2], [random.uniform(-0.03, 0.03), 1, 0]], np.float32)
    image = cv2.warpAffine(image, turned, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    noise = random.normal(0, random.uniform(2, 14), image.shape) * grain
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def write(out: Path, train: int, val: int, seed: int = 0, grain: float = 1.0) -> Path:
    """Draw the data set into the folder `out`, the same every time with one version of OpenCV; returns the folder."""
    for split, count in zip(SPLITS, (train, val), strict=True):
        (out / split).mkdir(parents=True, exist_ok=True)
        lines = []
        for number in range(count):
            random = np.random.default_rng([seed, SPLITS.index(split), number])
            text = word(random)
            name = f"{split}/{number:05d}.png"
            cv2.imwrite(str(out / name), draw(random, text, grain))
            lines.append(f"{name}\t{text}\n")
        (out / f"{split}.txt").write_text("".join(lines), "utf-8")
    return out


def main() -> None:
    """Draw both splits into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=200, help="number of training images")
    parser.add_argument("--val", type=int, default=128, help="number of validation images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grain", type=float, default=1.0, help="times the noise that networks are trained with")
    given = parser.parse_args()
    write(given.out, given.train, given.val, given.seed, given.grain)


if __name__ == "__main__":
    main()
