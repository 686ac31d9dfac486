"""Draw the shapes data set: coloured discs and triangles, black beams and posts.

The classes are chosen so that the usual mistakes of an inference pipeline show
in the accuracy. Red and blue discs, and yellow and cyan triangles, differ in
hue alone, so that swapping the R and B channels exchanges them. Beams lie, posts
stand, and both are black and mostly touch an image border, so that letterbox
bars of the wrong colour look like them. No image is square unless asked for.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height in pixels."""

NAMES = ("red_disc", "blue_disc", "yellow_triangle", "cyan_triangle", "beam", "post")
BEAM, POST = NAMES.index("beam"), NAMES.index("post")
COLOURS = ((255, 0, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
"""RGB colours of the classes that are not black, in the order of NAMES."""

DEFAULT_SIZES: tuple[Size, ...] = ((320, 240), (320, 160), (240, 320))
JPEG_QUALITY = 85
MIN_VISIBLE = 0.55
"""Smallest share of a shape that has to lie inside the image."""
MAX_COVERED = 0.25
"""Largest share of the smaller of two boxes that the other one may cover."""


@dataclass(frozen=True)
class Box:
    """A box in pixels; x1 and y1 are exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """Area in square pixels."""
        return max(0, self.x1 - self.x0) * max(0, self.y1 - self.y0)

    def covered(self, other: Box) -> float:
        """Return the overlap as a share of the smaller box."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        overlap = max(0, width) * max(0, height)
        return overlap / max(1, min(self.area, other.area))


def background(rng: np.random.Generator, size: Size) -> Image:
    """Return a light, tinted, cloudy RGB image of the given size.

    The values stay well above 114, the grey that letterboxing pads with.
    """
    width, height = size
    base = rng.uniform(165, 225) + rng.uniform(-15, 15, size=3)
    coarse = rng.normal(0, 1, size=(5, 6, 1)) * rng.uniform(4, 12)
    clouds = cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, rng.uniform(1, 4), size=(height, width, 1))
    return np.clip(base + clouds[..., None] + grain, 140, 255).astype(np.uint8)


def disc(rng: np.random.Generator, radius: float) -> NDArray[np.float64]:
    """Return the outline of a slightly squeezed disc about the origin, in pixels."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    squeeze = rng.uniform(0.8, 1.0, size=2)
    return radius * squeeze * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def triangle(rng: np.random.Generator, radius: float) -> NDArray[np.float64]:
    """Return the corners of a turned equilateral triangle about the origin, in pixels."""
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi / 3 * np.arange(3)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def coverage(outline: NDArray[np.float64], size: Size) -> Image:
    """Return how much of each pixel an outline covers, from 0 to 255."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    points = np.round(outline * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, lineType=cv2.LINE_AA, shift=4)
    return mask


def bounds(mask: Image) -> Box:
    """Return the box about the pixels that are at least half covered."""
    rows, columns = np.nonzero(mask > 127)
    if rows.size == 0:
        return Box(0, 0, 0, 0)
    return Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


def paint(image: Image, mask: Image, colour: NDArray[np.float64]) -> None:
    """Blend an RGB colour into the image where the mask covers it."""
    alpha = mask[..., None].astype(np.float32) / 255
    image[:] = np.round(image * (1 - alpha) + colour * alpha).astype(np.uint8)


def slab(rng: np.random.Generator, size: Size) -> tuple[int, Box]:
    """Return the class and box of a beam or post.

    Most lie along a border, and half of those take all of it.
    """
    width, height = size
    lying = bool(rng.random() < 0.5)
    along, across = (width, height) if lying else (height, width)
    flush, whole = rng.random() < 0.8, rng.random() < 0.5
    share = 1.0 if flush and whole else rng.uniform(0.3, 1.0)
    length = round(share * along)
    thickest = round(min(0.35 * across, 0.5 * length))
    thick = int(rng.integers(12, max(13, thickest)))
    ends = (0, across - thick)
    offset = int(rng.choice(ends) if flush else rng.integers(ends[0], ends[1] + 1))
    start = int(rng.integers(0, along - length + 1))
    if lying:
        return BEAM, Box(start, offset, start + length, offset + thick)
    return POST, Box(offset, start, offset + thick, start + length)


def add_slabs(rng: np.random.Generator, image: Image, size: Size, labels: list[tuple[int, Box]]) -> None:
    """Draw no, one or two near-black beams and posts that do not touch each other."""
    for _ in range(int(rng.choice(3, p=(0.4, 0.4, 0.2)))):
        kind, box = slab(rng, size)
        grown = Box(box.x0 - 6, box.y0 - 6, box.x1 + 6, box.y1 + 6)
        if any(grown.covered(other) > 0 for _, other in labels):
            continue
        shade = max(0.0, rng.uniform(-12, 12))
        image[box.y0 : box.y1, box.x0 : box.x1] = round(shade)
        labels.append((kind, box))


def add_shape(rng: np.random.Generator, image: Image, size: Size, labels: list[tuple[int, Box]]) -> None:
    """Draw one disc or triangle, unless it would be hidden or cut too much."""
    kind = int(rng.integers(len(COLOURS)))
    radius = float(np.exp(rng.uniform(np.log(8), np.log(44))))
    outline = disc(rng, radius) if kind < 2 else triangle(rng, radius)
    outline = outline + rng.uniform((-0.3 * radius,) * 2, np.array(size) + 0.3 * radius)
    mask = coverage(outline, size)
    box = bounds(mask)
    spans = outline.max(axis=0) - outline.min(axis=0)
    if box.area < MIN_VISIBLE * spans[0] * spans[1]:
        return
    if any(box.covered(other) > MAX_COVERED for _, other in labels):
        return
    paint(image, mask, np.array(COLOURS[kind]) * rng.uniform(0.8, 1.0))
    labels.append((kind, box))


def add_clutter(rng: np.random.Generator, image: Image, size: Size) -> None:
    """Draw pure white unlabelled strokes; they also give the data its full range."""
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.integers((0, 0), size, size=(2, 2))
        cv2.line(image, ends[0].tolist(), ends[1].tolist(), (255, 255, 255), int(rng.integers(2, 6)))


def draw(rng: np.random.Generator, size: Size) -> tuple[Image, list[tuple[int, Box]]]:
    """Return an RGB image and its labels as (class, box) pairs."""
    image = background(rng, size)
    labels: list[tuple[int, Box]] = []
    add_clutter(rng, image, size)
    add_slabs(rng, image, size, labels)
    for _ in range(int(rng.integers(3, 9))):
        add_shape(rng, image, size, labels)
    return image, labels


def label_line(kind: int, box: Box, size: Size) -> str:
    """Return a YOLO label: class, then centre and extent as shares of the image."""
    width, height = size
    centre = (box.x0 + box.x1) / 2 / width, (box.y0 + box.y1) / 2 / height
    extent = (box.x1 - box.x0) / width, (box.y1 - box.y0) / height
    return " ".join([str(kind), *(f"{value:.6f}" for value in (*centre, *extent))])


def write_split(out: Path, split: str, count: int, seed: int, sizes: list[Size]) -> None:
    """Write the images and labels of one split, the sizes taking turns."""
    images, texts = out / "images" / split, out / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    texts.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        size = sizes[index % len(sizes)]
        # One generator per image: an image stays the same whatever the counts are.
        rng = np.random.default_rng([seed, 0 if split == "train" else 1, index])
        image, labels = draw(rng, size)
        name = f"{split}_{index:04d}"
        cv2.imwrite(
            str(images / f"{name}.jpg"),
            cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        )
        lines = [label_line(kind, box, size) for kind, box in labels]
        (texts / f"{name}.txt").write_text("".join(line + "\n" for line in lines))


def write_data_yaml(out: Path) -> None:
    """Write data.yaml; without `path`, the splits are relative to its own folder."""
    names = "".join(f"  {kind}: {name}\n" for kind, name in enumerate(NAMES))
    (out / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")


def parse_size(text: str) -> Size:
    """Parse WxH in pixels."""
    width, height = (int(part) for part in text.lower().split("x"))
    if min(width, height) < 64:
        raise argparse.ArgumentTypeError("an image needs at least 64 pixels each way")
    return width, height


def main() -> None:
    """Draw both splits into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--train", type=int, default=64, help="number of training images")
    parser.add_argument("--val", type=int, default=128, help="number of validation images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=parse_size, nargs="+", default=list(DEFAULT_SIZES), metavar="WxH")
    options = parser.parse_args()
    write_split(options.out, "train", options.train, options.seed, options.size)
    write_split(options.out, "val", options.val, options.seed, options.size)
    write_data_yaml(options.out)


if __name__ == "__main__":
    main()
