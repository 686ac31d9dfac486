"""Draw a small labelled data set for a task: turned, coloured arrows, wedges and bars on cloudy grey.

Every object is told by its colour and its outline, so that a network learns it in minutes; all of them are turned at
random, so that a box that is not turned with its object, a mask that is its box, or keypoints in another order show.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Task = Literal["classify", "segment", "pose", "obb"]
Points = NDArray[np.float64]

SIZES = ((144, 112), (128, 128), (112, 144))  # width and height in pixels: letterboxed one way, the other, not at all
MAX_OBJECTS = 4
_FINE = 4  # bits of a pixel in OpenCV's fixed-point coordinates
# Outlines of length 2 about the origin, pointing right. An arrow has four points that a pose can name.
_ARROW = ((1, 0), (0.1, 0.75), (0.1, 0.3), (-1, 0.3), (-1, -0.3), (0.1, -0.3), (0.1, -0.75))
_WEDGE = ((1, 0), (-1, 0.6), (-0.6, 0), (-1, -0.6))
_BAR = ((1, 0.35), (-1, 0.35), (-1, -0.35), (1, -0.35))
KEYPOINTS = ((1, 0), (0.1, 0.75), (-1, 0), (0.1, -0.75))  # tip, left wing, tail, right wing


@dataclass(frozen=True)
class Kind:
    """A class of objects: its name, its outline, its colour in red, green, blue."""

    name: str
    outline: tuple[tuple[float, float], ...]
    colour: tuple[int, int, int]


_RED, _BLUE, _YELLOW = (220, 30, 30), (30, 60, 220), (220, 200, 20)
KINDS: dict[Task, tuple[Kind, ...]] = {
    "classify": tuple(
        Kind(f"{colour}_{shape}", outline, value)
        for colour, value in (("red", _RED), ("blue", _BLUE))
        for shape, outline in (("arrow", _ARROW), ("bar", _BAR), ("wedge", _WEDGE))
    ),
    "segment": (
        Kind("arrow", _ARROW, _RED),
        Kind("wedge", _WEDGE, _BLUE),
        Kind("bar", _BAR, _YELLOW),
    ),
    "pose": (Kind("red_arrow", _ARROW, _RED), Kind("blue_arrow", _ARROW, _BLUE)),
    "obb": (Kind("bar", _BAR, _YELLOW), Kind("arrow", _ARROW, _RED), Kind("wedge", _WEDGE, _BLUE)),
}


@dataclass(frozen=True)
class Object:
    """One object of an image: its class and, in pixels, its outline, keypoints and turned box, [n, 2] each."""

    label: int
    outline: Points
    keypoints: Points
    corners: Points


def background(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Cloudy grey, uint8 [height, width, 3], with grain."""
    clouds = random.normal(0, 18, (4, 5, 1)).astype(np.float32)
    grown = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    grain = random.normal(0, 4, (height, width, 1))
    return np.clip(random.uniform(110, 170) + grown + grain + np.zeros(3), 0, 255).astype(np.uint8)


def place(random: np.random.Generator, label: int, kind: Kind, width: int, height: int, large: bool) -> Object:
    """An object of that kind, somewhere in the image, turned and sized at random, all of it inside."""
    reach = random.uniform(0.3, 0.42) if large else random.uniform(0.11, 0.24)
    reach *= min(width, height)
    angle = random.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = random.uniform((reach, reach), (width - reach, height - reach))

    def moved(points: Sequence[tuple[float, float]]) -> Points:
        found: Points = np.array(points) / 1.25 * reach @ turn + centre
        return found

    low, high = np.min(kind.outline, axis=0), np.max(kind.outline, axis=0)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    return Object(label, moved(kind.outline), moved(KEYPOINTS), moved(corners))


def apart(one: Object, others: Sequence[Object]) -> bool:
    """Whether the upright box around an object touches no other's."""
    low, high = one.corners.min(axis=0), one.corners.max(axis=0)
    return not any(
        (low < other.corners.max(axis=0)).all() and (other.corners.min(axis=0) < high).all() for other in others
    )


def draw(
    random: np.random.Generator, task: Task, label: int, large: bool = False
) -> tuple[NDArray[np.uint8], list[Object]]:
    """An image, blue-green-red, and its objects, or one `large` one; for `classify` one, of the class `label`."""
    large = large or task == "classify"
    width, height = SIZES[int(random.integers(len(SIZES)))]
    image = background(random, width, height)
    kinds, objects = KINDS[task], []
    for _ in range(1 if large else int(random.integers(1, MAX_OBJECTS + 1))):
        chosen = label if task == "classify" else int(random.integers(len(kinds)))
        found = place(random, chosen, kinds[chosen], width, height, large)
        if not apart(found, objects):
            continue
        objects.append(found)
        shade = np.array(kinds[chosen].colour[::-1]) * random.uniform(0.7, 1.1)
        fine = np.round(found.outline * (1 << _FINE)).astype(np.int32)
        colour = tuple(float(part) for part in np.clip(shade, 0, 255))
        cv2.fillPoly(image, [fine], colour, lineType=cv2.LINE_AA, shift=_FINE)
    return image, objects


def line(task: Task, one: Object, width: int, height: int) -> str:
    """The object's label in Ultralytics' format."""
    share = np.array([width, height])
    low, high = one.outline.min(axis=0) / share, one.outline.max(axis=0) / share
    box = [*((low + high) / 2), *(high - low)]
    seen = [value for x, y in one.keypoints / share for value in (x, y, 2)]
    values = {
        "segment": (one.outline / share).ravel(),
        "pose": [*box, *seen],
        "obb": (one.corners / share).ravel(),
    }[task]
    return " ".join([str(one.label), *(f"{value:.6g}" for value in values)])


def write_split(out: Path, task: Task, split: str, count: int, seed: int, large: bool = False) -> None:
    """Write one split: folders of classes for `classify`, else images and labels."""
    for number in range(count):
        random = np.random.default_rng([seed, 0 if split == "train" else 1, number])
        image, objects = draw(random, task, number % len(KINDS[task]), large)
        name = f"{split}_{number:04d}"
        if task == "classify":
            folder = out / split / KINDS[task][objects[0].label].name
        else:
            folder, labels = out / "images" / split, out / "labels" / split
            labels.mkdir(parents=True, exist_ok=True)
            lines = [line(task, one, image.shape[1], image.shape[0]) for one in objects]
            (labels / f"{name}.txt").write_text("".join(f"{text}\n" for text in lines), "ascii")
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])


def write(out: Path, task: Task, train: int, val: int, seed: int = 0, large: bool = False) -> Path:
    """Draw the data set of `task` below `out`; what a training is given: its data.yaml, for `classify` the folder."""
    for split, count in (("train", train), ("val", val)):
        write_split(out, task, split, count, seed, large)
    if task == "classify":
        return out
    names = "".join(f"  {label}: {kind.name}\n" for label, kind in enumerate(KINDS[task]))
    shape = f"kpt_shape: [{len(KEYPOINTS)}, 3]\nflip_idx: [0, 3, 2, 1]\n" if task == "pose" else ""
    (out / "data.yaml").write_text(f"train: images/train\nval: images/val\n{shape}names:\n{names}", "ascii")
    return out / "data.yaml"


def main() -> None:
    """Draw both splits into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=get_args(Task))
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=400, help="number of training images")
    parser.add_argument("--val", type=int, default=128, help="number of validation images")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.out, given.task, given.train, given.val, given.seed)


if __name__ == "__main__":
    main()
