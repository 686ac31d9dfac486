"""What an evaluation found in some of the images, and small pictures of the most telling ones, for people to see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import results
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.results import PICTURES, Changes, Found, Item, Items, Results, changes
from mcwbuild.contract.results import Picture as Shown
from stages.common import images as readers
from stages.common.evaluate import Evaluation, Picture
from stages.common.ground_truth import Labels
from stages.common.image_set import ImageSet, spread
from stages.common.per_image import Matches
from stages.common.turned import corners_of

IMAGES = 256  # whose results are kept: 0.1 MB of boxes, and enough to find what was lost
MASKED_IMAGES = 64  # of masks: each outline is drawn anew
MOST_ITEMS = 100  # of one image
RANKED = 3  # classes of a classifier
SIDE, SMALL = 320, 64  # pixels of a picture's longer side; of a calibration image's
CALIBRATION = 32  # calibration images that are shown
_QUALITY = 80  # of a JPEG
_DIGITS = 1  # a tenth of a pixel
_STEPS = 40  # points of an outline at most, or so: a fortieth of its length is straightened
Describe = Callable[[Any], Items]


def places(count: int, task: str) -> range | list[int]:
    """The images whose results are kept, evenly spread."""
    return spread(count, MASKED_IMAGES if task == "segmentation" else IMAGES)


def found_in(found: Evaluation, contract: Mapping[str, Any], confidence: float) -> Found:
    """What is kept of an evaluation: what scores at least `confidence`, and the precision over the recall."""
    task = contract["model"]["task"]
    describe = _text(contract["classes"]["names"]) if task == "ocr" else _DESCRIBE.get(task)
    if describe is None:
        return Found({})
    kept = {}
    for place in places(len(found.results), task):
        items = describe(found.results[place])
        boxed = [item for item in items if item.box is None or (item.score or 0.0) >= confidence]
        kept[place] = tuple(boxed[:MOST_ITEMS])
    return Found(kept, curve_of(found.per_image) if isinstance(found.per_image, Matches) else None)


def write(path: Path, made: Results, bench: Bench) -> None:
    """Store it, or say that it is too large."""
    if not results.write(path, made):
        bench.note(f"{path.name} would be too large: the report has no pictures", "warning")


def curve_of(kept: Matches) -> tuple[float, ...]:
    """Precision at 101 recalls from 0 to 1, at IoU 0.5: the mean over the classes, as COCO reads it."""
    curves = []
    for _, hits, objects in kept.classes():
        hit = (hits & 1).astype(bool)
        caught = hit.cumsum()
        precision = np.maximum.accumulate((caught / np.arange(1, len(hit) + 1))[::-1])[::-1]
        wanted = np.linspace(0, 1, 101) * len(objects)
        first = np.searchsorted(caught, wanted - 1e-9)
        padded = np.append(precision, 0.0)
        curves.append(padded[np.minimum(first, len(precision))])
    return tuple(round(float(value), 4) for value in np.mean(curves, axis=0)) if curves else (0.0,) * 101


def pictures(images: ImageSet, before: Found | None, after: Sequence[Found]) -> tuple[Shown, ...]:
    """Those images small that changed most from `before` to any of `after`, and others evenly spread behind them."""
    known = [place for place in (after[0].images if after else ()) if place < len(images.images)]
    weights = {place: _weight(place, before, after) for place in known}
    changed = sorted((place for place in known if weights[place]), key=lambda place: -weights[place])[:PICTURES]
    others = [place for place in known if place not in changed]
    chosen = changed + [others[index] for index in spread(len(others), PICTURES - len(changed))]
    if not known:
        chosen = list(spread(len(images.images), PICTURES))
    made = [_picture(images, place) for place in chosen[:PICTURES]]
    return tuple(one for one in made if one is not None)


def _weight(place: int, before: Found | None, after: Sequence[Found]) -> int:
    first = after[0] if before is None else before
    if place not in first.images:
        return 0
    return max((_change(first, other, place).weight for other in after), default=0)


def _change(first: Found, other: Found, place: int) -> Changes:
    return changes(first.images[place], other.images.get(place, ()))


def _picture(images: ImageSet, place: int) -> Shown | None:
    picture = images.images[place]
    image = readers.read(picture, "BGR") if isinstance(picture, Path) else picture
    shape = (image.shape[0], image.shape[1])
    truth = () if images.labels is None else labelled(images.labels[place], shape)
    if images.texts:
        truth = (Item(-1, text=images.texts[place]),)
    return small(image, SIDE, _name(picture, place), place, truth)


def _name(picture: Picture, place: int) -> str:
    return picture.name if isinstance(picture, Path) else f"generated image {place}"


def small(image: NDArray[np.uint8], side: int, name: str, place: int = -1, truth: Items = ()) -> Shown | None:
    """The image uint8 [H, W, 3] blue-green-red as a small JPEG; None where OpenCV does not make one."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    # Names are of files: they can hold what no document takes
    return Shown(ascii(name)[1:-1], data.tobytes(), width, height, place, truth) if done else None


def calibration_pictures(files: Iterable[Path]) -> tuple[Shown, ...]:
    """The first calibration images, very small; without those of other than three channels."""
    made = []
    for number, file in enumerate(files):
        if number == CALIBRATION:
            break
        image = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.suffix == ".png" else None
        shown = None if image is None else small(image.astype(np.uint8), SMALL, file.name)
        made += [] if shown is None else [shown]
    return tuple(made)


def labelled(labels: Labels, shape: tuple[int, int]) -> Items:
    """What an image of `shape` [H, W] is labelled with."""
    if not len(labels.boxes):
        return tuple(Item(int(label)) for label in labels.classes[:1])
    rows, columns = shape
    points = labels.points or ((),) * len(labels.classes)
    scaled = [[(x * columns, y * rows) for x, y, *_ in outline] for outline in points]
    boxes = labels.in_pixels(shape)
    return tuple(
        Item(int(label), None, _box(box), _points(outline))
        for label, box, outline in zip(labels.classes, boxes, scaled, strict=True)
    )[:MOST_ITEMS]


def _box(box: Iterable[Any]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(value), _DIGITS) for value in box)
    return x1, y1, x2, y2


def _points(points: Iterable[Sequence[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(x), _DIGITS), round(float(y), _DIGITS)) for x, y, *_ in points)


def _score(value: Any) -> float:
    return round(float(value), 4)


def _boxes(found: Any) -> Items:
    return tuple(
        Item(int(label), _score(score), _box(box))
        for label, score, box in zip(found.classes, found.scores, found.boxes, strict=True)
    )


def _masks(found: Any) -> Items:
    return tuple(
        Item(item.label, item.score, item.box, _outline(mask))
        for item, mask in zip(_boxes(found)[:MOST_ITEMS], found.masks, strict=False)
    )


def _outline(mask: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """The largest part's outline."""
    from faster_coco_eval.core import mask as library

    parts, _ = cv2.findContours(np.ascontiguousarray(library.decode(mask)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not parts:
        return ()
    largest = max(parts, key=cv2.contourArea)
    straight = cv2.approxPolyDP(largest, cv2.arcLength(largest, True) / _STEPS / 4, True)
    return _points(straight[:, 0])


def _poses(found: Any) -> Items:
    return tuple(
        Item(item.label, item.score, item.box, _points(row))
        for item, row in zip(_boxes(found), found.keypoints, strict=True)
    )


def _turned(found: Any) -> Items:
    corners = corners_of(found.boxes)
    around = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return tuple(
        Item(int(label), _score(score), _box(box), _points(four))
        for label, score, box, four in zip(found.classes, found.scores, around, corners, strict=True)
    )


def _ranking(found: Any) -> Items:
    pairs = zip(found.classes[:RANKED], found.scores[:RANKED], strict=True)
    return tuple(Item(int(label), _score(score)) for label, score in pairs)


def _text(names: Sequence[str]) -> Describe:
    def describe(found: Any) -> Items:
        said = "".join(names[int(label)] for label in found.classes)
        return (Item(-1, _score(found.confidence), text=said),)

    return describe


_DESCRIBE: dict[str, Describe] = {
    "object_detection": _boxes,
    "segmentation": _masks,
    "pose": _poses,
    "oriented_detection": _turned,
    "classification": _ranking,
}
