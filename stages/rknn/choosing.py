"""Which images INT8 is calibrated with: of every class, as unlike each other as the split has them, none twice.

Ranges are what calibration finds, so the set has to reach what the network will meet; many alike images add nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import disk
from mcwbuild.contract.calibration_pool import stratified
from mcwbuild.contract.errors import Problem
from stages.common.ground_truth import data_error
from stages.common.images import damage

_SIDE = 32  # pixels of the small image that appearance is judged on
_BOUNDS = np.arange(32, 256, 32)  # grey levels
# From so many bytes on, a JPEG is decoded at a fraction of its size, which takes a fraction of the time.
_REDUCED = ((1 << 20, cv2.IMREAD_REDUCED_COLOR_8), (1 << 17, cv2.IMREAD_REDUCED_COLOR_4))
_NEAR_BITS = 4  # of 64 of the perceptual hash: frames of a video differ in fewer
_NEAR_DISTANCE = 0.05  # in appearance: a twentieth of the pixels fall on other sides of the bounds


@dataclass(frozen=True)
class Candidates:
    """The images that may be chosen, and what must not be among them.

    images: at most a few hundred, with the `classes` in each; `total` is how many the split or list has. `held_out`
    are the images that accuracy is measured on or that are kept for a test. count: how many are wanted, or None
    where that is to be found out. `lines` are those of a user's own list, which is taken as it is as long as it
    is short: `whole`.
    """

    images: tuple[Path, ...]
    file: Path
    source: Literal["training split", "list"]
    total: int
    classes: tuple[frozenset[str], ...]
    held_out: tuple[Path, ...] = ()
    count: int | None = None
    lines: tuple[int | None, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """The images, the best first, and what was left out of them and why.

    `leaked` are also held out: left out of a training split, kept in a user's own list. `alike` images stand last.
    """

    images: tuple[Path, ...]
    classes: tuple[frozenset[str], ...]
    leaked: tuple[str, ...]
    duplicates: tuple[str, ...]
    damaged: tuple[str, ...]
    alike: int


@dataclass(frozen=True)
class Seen:
    """What was seen of a file: the hash of its bytes, a perceptual hash bool [64], its appearance float32 [22]."""

    sha256: str
    bits: NDArray[np.bool_]
    appearance: NDArray[np.float32]


def choose(candidates: Candidates, threads: int) -> Choice:
    """The choice among `candidates`; the same one every time.

    An image of a training split that cannot be read is left out, and named. Raises InputError with every line of a
    user's list whose image cannot be read, or where nothing is left.
    """
    with ThreadPoolExecutor(threads) as pool:
        looks = list(pool.map(look, candidates.images))
    damaged = {place: found for place, found in enumerate(looks) if isinstance(found, str)}
    if damaged and candidates.source == "list":
        raise data_error([_in_list(candidates, place, reason) for place, reason in damaged.items()])
    held = held_out_hashes(candidates.images, candidates.held_out)
    first: dict[str, int] = {}
    leaked, duplicates, kept = [], [], []
    for place, found in enumerate(looks):
        if isinstance(found, str):
            continue
        if first.setdefault(found.sha256, place) != place:
            duplicates.append(place)
            continue
        if found.sha256 in held:
            leaked.append(place)
            if candidates.source == "training split":
                continue
        kept.append((place, found))
    if not kept:
        raise data_error([Problem("no image is left to calibrate INT8 with", str(candidates.file), hint=_why(leaked))])
    classes = [candidates.classes[place] for place, _ in kept]
    order, alike = list(range(len(kept))), 0
    if not candidates.whole:
        order, alike = ranked([found for _, found in kept], classes)
    names = [path.name for path in candidates.images]
    return Choice(
        images=tuple(candidates.images[kept[place][0]] for place in order),
        classes=tuple(classes[place] for place in order),
        leaked=tuple(names[place] for place in leaked),
        duplicates=tuple(names[place] for place in duplicates),
        damaged=tuple(names[place] for place in damaged),
        alike=alike,
    )


def look(path: Path) -> Seen | str:
    """What the file looks like, or why it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__
    if reason := damage(data):
        return reason
    how = next((flag for size, flag in _REDUCED if len(data) >= size), cv2.IMREAD_COLOR)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if image is None:
        return "no image that OpenCV can read"
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Seen(hashlib.sha256(data).hexdigest(), difference_hash(small), appearance(small))


def difference_hash(small: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool [64] from uint8 [H, W, 3]: whether a cell of 8 x 8 is brighter than its right neighbour (dHash)."""
    grey = cv2.resize(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    brighter: NDArray[np.bool_] = (grey[:, :-1] > grey[:, 1:]).ravel()
    return brighter


def appearance(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [22] in 0..1 from uint8 [H, W, 3]: brightness, contrast, colours and texture.

    Of each channel the shares of pixels below seven bounds, a cumulative histogram: its distances grow with how far
    the pixels have to move. And the mean step between neighbours, in 64 grey levels.
    """
    shares = [(small[:, :, channel, None] < _BOUNDS).mean(axis=(0, 1)) for channel in range(3)]
    step = np.abs(np.diff(small.astype(np.float32), axis=1)).mean() / 64
    return np.concatenate([*shares, [min(step, 1.0)]]).astype(np.float32)


def ranked(seen: Sequence[Seen], classes: Sequence[frozenset[str]]) -> tuple[list[int], int]:
    """All places of `seen`, the most telling first, and how many at the end are near copies of one before them.

    Begun with the image in the middle of all; then always, among those of the class whose turn it is, the one that is
    farthest from every image so far (the farthest-point rule; first of equals).
    """
    points = np.stack([one.appearance for one in seen])
    gap = np.full(len(seen), np.inf)
    order: list[int] = []

    def farthest(places: list[int]) -> int:
        if not order:
            middle = np.linalg.norm(points - points.mean(axis=0), axis=1)
            return min(places, key=lambda place: float(middle[place]))
        return max(places, key=lambda place: float(gap[place]))

    for place in stratified(classes, farthest):
        order.append(place)
        np.minimum(gap, np.linalg.norm(points - points[place], axis=1), out=gap)
    return _copies_last(order, points, np.stack([one.bits for one in seen]))


def _copies_last(order: list[int], points: NDArray[np.float32], bits: NDArray[np.bool_]) -> tuple[list[int], int]:
    fresh: list[int] = []
    copies: list[int] = []
    for place in order:
        away = np.linalg.norm(points[fresh] - points[place], axis=1)
        apart = np.count_nonzero(bits[fresh] != bits[place], axis=1)
        near = bool(((apart <= _NEAR_BITS) & (away <= _NEAR_DISTANCE)).any())
        (copies if near else fresh).append(place)
    return fresh + copies, len(copies)


def held_out_hashes(images: Iterable[Path], held_out: Iterable[Path]) -> set[str]:
    """The SHA-256 of those held-out files that are as long as one of `images`: no other can have the same bytes."""
    sizes = {size for image in images if (size := _size(image)) is not None}
    found = set()
    for path in held_out:
        if _size(path) in sizes:
            try:
                found.add(disk.sha256_of(path))
            except OSError:
                continue  # the evaluation tells it
    return found


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _in_list(candidates: Candidates, place: int, reason: str) -> Problem:
    image = candidates.images[place]
    line = candidates.lines[place] if candidates.lines else None
    if line is None:
        return Problem(reason, str(image))
    return Problem(f"{image.name}: {reason}", str(candidates.file), line)


def _why(leaked: Sequence[int]) -> str:
    return f"{len(leaked)} of its images are in the val or test split too" if leaked else "none can be read"
