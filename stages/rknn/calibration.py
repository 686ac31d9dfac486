"""Calibration images for INT8: prepared exactly as the contract says and written without loss.

The toolkit would stretch images to the input size; here they have it already. It reads a picture's channels as
red, green, blue, so the file's red is the contract's first channel, whatever that is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.errors import Problem
from stages.common import images as pictures
from stages.common.ground_truth import data_error

_BLACK, _WHITE = 0, 255


@dataclass(frozen=True)
class Calibration:
    """What INT8 is calibrated with: the toolkit's list file, the images' names, a hash over what it sees.

    `extremes` names the values (0, 255) that no image reached and that were set in one pixel of the first.
    """

    file: Path
    images: tuple[str, ...]
    sha256: str
    extremes: tuple[int, ...]


def write(
    images: Sequence[Path],
    contract: Mapping[str, Any],
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> Calibration:
    """Prepare `images` and write them, and the toolkit's list of them, into `folder`.

    The input's INT8 scale is the calibration set's range, so values that no image reaches would be clipped on
    the board: the first image gets a black or a white pixel where the set lacks it.
    Raises InputError naming every image that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[Problem] = []
    first: NDArray[np.uint8] | None = None
    seen: set[int] = set()
    files: list[Path] = []
    for number, path in enumerate(images):
        try:
            prepared = pictures.prepare(pictures.read(path, contract["input"]["format"]), contract)[0]
        except (OSError, ValueError) as error:
            problems.append(Problem(f"the image cannot be read: {error}", str(path)))
            continue
        first = prepared if first is None else first
        seen |= _reached(prepared)
        files.append(store(prepared, folder / f"{number:05d}"))
        on_progress(number + 1, len(images))
    if problems:
        raise data_error(problems)
    if first is None:
        raise ValueError("no calibration images")
    missing = tuple(value for value in (_BLACK, _WHITE) if value not in seen)
    if missing:  # both, so that setting the one does not take away the only pixel of the other
        first[0, 0], first[0, 1] = _BLACK, _WHITE
        store(first, files[0].with_suffix(""))
    listing = folder / "dataset.txt"
    listing.write_text("".join(f"{file.name}\n" for file in files), "ascii")
    return Calibration(listing, tuple(path.name for path in images), _digest(files), missing)


def _reached(prepared: NDArray[np.uint8]) -> set[int]:
    """Which of the two extremes every channel of the image holds."""
    low, high = prepared.min(axis=(0, 1)), prepared.max(axis=(0, 1))
    return {value for value, held in ((_BLACK, low == _BLACK), (_WHITE, high == _WHITE)) if held.all()}


def store(prepared: NDArray[np.uint8], stem: Path) -> Path:
    """Write uint8 [H, W, C] losslessly, so that the toolkit gets the channels in this order.

    Three channels as PNG; others as NumPy's file, channels first, which the toolkit takes as it is.
    """
    if prepared.shape[2] == 3:
        file = stem.with_suffix(".png")
        if not cv2.imwrite(str(file), prepared[:, :, ::-1]):
            raise OSError(f"{file} cannot be written")
        return file
    file = stem.with_suffix(".npy")
    np.save(file, np.ascontiguousarray(prepared.transpose(2, 0, 1)[None]))
    return file


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 over the pixels, in the list's order."""
    digest = hashlib.sha256()
    for file in files:
        pixels = np.load(file) if file.suffix == ".npy" else cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        digest.update(repr(pixels.shape).encode("ascii") + np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()
