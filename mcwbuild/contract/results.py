"""What each phase found in some of the images, kept in its package for people to see: `results_<phase>.json`.

No gate rests on it. It comes out of another process and is read as hostile: every value is made what it has to be.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk
from mcwbuild.contract.documents import read_text
from mcwbuild.contract.errors import InputError, Problem

SCHEMA = "results/1"
MAX_BYTES = 16 << 20  # what the gate between a stage and a package lets through
PICTURES = 16  # of the measured images
SAME, STILL = 0.5, 0.85  # IoU: of one object found twice, and of a box that has not moved
_JPEG = b"\xff\xd8\xff"
Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """One thing that was found, best first in its image.

    label: the class, -1 where there is none; score: 0..1, or None for a label of the dataset; box: x1 y1 x2 y2 in the
    image's own pixels, the one around the corners where it is turned; points: outline, keypoints or corners.
    """

    label: int
    score: float | None = None
    box: Box | None = None
    points: tuple[Point, ...] = ()
    text: str | None = None


Items = tuple[Item, ...]


@dataclass(frozen=True)
class Found:
    """What one model found, by the images' places in their order; `curve` is precision at 101 recalls, at IoU 0.5."""

    images: Mapping[int, Items]
    curve: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Picture:
    """An image, made small: its JPEG, its own width and height, and what it is labelled with."""

    name: str
    jpeg: bytes
    width: int
    height: int
    place: int = -1
    truth: Items = ()


@dataclass(frozen=True)
class Results:
    """What lies in a package: `order` tells the list of images, `models` is by `pt`, `onnx`, `fp16`, `int8`."""

    order: str
    models: Mapping[str, Found]
    pictures: tuple[Picture, ...] = ()
    calibration: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What became of the items of one image: places in the list before, in the list after, and pairs of both."""

    lost: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()
    kept: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    @property
    def weight(self) -> int:
        """How much has changed: a lost or extra one counts for two that moved."""
        return 2 * (len(self.lost) + len(self.extra)) + len(self.moved)


def overlap(a: Box, b: Box) -> float:
    """IoU of two boxes, 0..1."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def changes(before: Sequence[Item], after: Sequence[Item]) -> Changes:
    """Which items were lost, are extra, or moved: each is matched with the one of its class that overlaps it most.

    Without boxes (a class, a text) the first of either side is compared.
    """
    if not any(item.box for item in (*before, *after)):
        same = bool(before) == bool(after) and all(
            a.label == b.label and a.text == b.text for a, b in zip(before[:1], after[:1], strict=False)
        )
        found = (0,) if before else (), (0,) if after else ()
        return Changes(kept=((0, 0),) if before and after else ()) if same else Changes(*found)
    pairs = sorted(
        (-overlap(a.box, b.box), i, j)
        for i, a in enumerate(before)
        for j, b in enumerate(after)
        if a.box and b.box and a.label == b.label
    )
    mine: dict[int, tuple[int, float]] = {}
    taken: set[int] = set()
    for negative, i, j in pairs:
        if -negative >= SAME and i not in mine and j not in taken:
            mine[i] = (j, -negative)
            taken.add(j)
    return Changes(
        tuple(i for i in range(len(before)) if i not in mine),
        tuple(j for j in range(len(after)) if j not in taken),
        tuple((i, j) for i, (j, share) in mine.items() if share < STILL),
        tuple((i, j) for i, (j, share) in mine.items() if share >= STILL),
    )


def write(path: Path, results: Results) -> bool:
    """Store the results; False where they are too large for a package, and nothing is stored."""
    data = {
        "schema": SCHEMA,
        "order": results.order,
        "models": {name: as_data(found) for name, found in results.models.items()},
        "pictures": [_picture_data(one) for one in results.pictures],
        "calibration": [_picture_data(one) for one in results.calibration],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(text) > MAX_BYTES:
        return False
    disk.write_atomic(path, text)
    return True


def as_data(found: Found) -> dict[str, Any]:
    """What one model found, as JSON data."""
    images = {str(place): [_row(item) for item in items] for place, items in found.images.items()}
    return {"curve": found.curve, "images": images}


def _row(item: Item) -> list[Any]:
    return [item.label, item.score, item.box, [value for point in item.points for value in point], item.text]


def _picture_data(one: Picture) -> dict[str, Any]:
    return {
        "name": one.name,
        "jpeg": base64.b64encode(one.jpeg).decode("ascii"),
        "width": one.width,
        "height": one.height,
        "place": one.place,
        "truth": [_row(item) for item in one.truth],
    }


def read(path: Path) -> Results:
    """The results at `path`. Raises InputError where they are none."""
    text = read_text(path, MAX_BYTES)
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError("its schema is another")
        return Results(
            str(data["order"]),
            {str(name): of_data(one) for name, one in data["models"].items()},
            tuple(map(_picture, data["pictures"])),
            tuple(map(_picture, data["calibration"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        said = f"it cannot be read as results: {type(error).__name__}: {str(error)[:200]}"
        raise InputError(
            f"{path.name} is not what a phase wrote.",
            remedy="Run the phase again; the report can be drawn without it when it is deleted.",
            problems=[Problem(said, str(path))],
            kind="results",
        ) from error


def of_data(data: Mapping[str, Any]) -> Found:
    """What `as_data` made, from data that nobody vouches for. Raises what conversions raise."""
    curve = None if data["curve"] is None else tuple(map(_finite, data["curve"]))
    return Found({int(place): _items(rows) for place, rows in data["images"].items()}, curve)


def _items(rows: Iterable[Any]) -> Items:
    return tuple(_item(*row) for row in rows)


def _item(label: Any, score: Any, box: Any, flat: Any, text: Any) -> Item:
    numbers = list(map(_finite, flat))
    return Item(
        int(label),
        None if score is None else _finite(score),
        None if box is None else _box(*box),
        tuple(zip(numbers[::2], numbers[1::2], strict=True)),
        None if text is None else str(text),
    )


def _box(x1: Any, y1: Any, x2: Any, y2: Any) -> Box:
    return _finite(x1), _finite(y1), _finite(x2), _finite(y2)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _picture(data: Mapping[str, Any]) -> Picture:
    try:
        jpeg = base64.b64decode(data["jpeg"], validate=True)
    except binascii.Error as error:
        raise ValueError("a picture is no base64") from error
    width, height = int(data["width"]), int(data["height"])
    if not jpeg.startswith(_JPEG) or min(width, height) < 1:
        raise ValueError("a picture is no JPEG")
    return Picture(str(data["name"]), jpeg, width, height, int(data["place"]), _items(data["truth"]))
