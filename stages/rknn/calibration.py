"""Calibration images for INT8: prepared exactly as the contract says and written without loss.

The toolkit would stretch images to the input size; here they have it already. It reads a picture's channels as
red, green, blue, so the file's red is the contract's first channel, whatever that is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.errors import Problem
from stages.common import images as pictures
from stages.common.calibration_findings import BLACK, WHITE, ImageFacts, missing_extremes
from stages.common.calibration_findings import facts as facts_of
from stages.common.ground_truth import data_error


@dataclass(frozen=True)
class Calibration:
    """What INT8 is calibrated with: the toolkit's list file, the images' names, a hash over what it sees.

    `extremes` names the values (0, 255) that no image reached and that were set in one pixel of the first. `chosen`
    is how they were chosen, as `quantization.int8.dataset.chosen` has it; `leaked` those that are measured on too;
    `facts` are what the set is judged by.
    """

    file: Path
    images: tuple[str, ...]
    sha256: str
    extremes: tuple[int, ...]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    leaked: tuple[str, ...] = ()
    facts: tuple[ImageFacts, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The prepared images as they were written."""
        return tuple(self.file.parent / line for line in self.file.read_text("ascii").splitlines())


def write(
    images: Sequence[Path],
    contract: Mapping[str, Any],
    folder: Path,
    on_progress: Callable[[int, int], None],
    enough: Callable[[NDArray[np.uint8]], bool] | None = None,
) -> Calibration:
    """Prepare `images` and write them, and the toolkit's list of them, into `folder`.

    `enough` is shown each prepared image uint8 [H, W, C], and says whether it may be the last.
    The input's INT8 scale is the calibration set's range, so values that no image reaches would be clipped on
    the board: the first image gets a black or a white pixel where the set lacks it.
    Raises InputError naming every image that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[Problem] = []
    first: NDArray[np.uint8] | None = None
    facts: list[ImageFacts] = []
    files: list[Path] = []
    hashes: list[bytes] = []
    for number, path in enumerate(images):
        try:
            prepared = pictures.prepare(pictures.read(path, contract["input"]["format"]), contract)[0]
        except (OSError, ValueError) as error:
            problems.append(Problem(f"the image cannot be read: {error}", str(path)))
            continue
        first = prepared if first is None else first
        facts.append(facts_of(prepared))
        files.append(store(prepared, folder / f"{number:05d}"))
        hashes.append(_digest(prepared))
        on_progress(number + 1, len(images))
        if enough is not None and enough(prepared):
            break
    if problems:
        raise data_error(problems)
    if first is None:
        raise ValueError("no calibration images")
    missing = missing_extremes(facts)
    if missing:  # both, so that setting the one does not take away the only pixel of the other
        first[0, 0], first[0, 1] = BLACK, WHITE
        store(first, files[0].with_suffix(""))
        hashes[0] = _digest(first)
    listing = folder / "dataset.txt"
    listing.write_text("".join(f"{file.name}\n" for file in files), "ascii")
    names = tuple(path.name for path in images[: len(files)])
    return Calibration(listing, names, _over(hashes), missing, facts=tuple(facts))


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


def load(file: Path) -> NDArray[np.uint8]:
    """What `store` wrote, uint8 [H, W, C]. Raises OSError where it cannot be read."""
    if file.suffix == ".npy":
        return np.asarray(np.load(file, allow_pickle=False)[0].transpose(1, 2, 0), np.uint8)
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise OSError(f"{file} cannot be read")
    return np.asarray(picture[:, :, ::-1], np.uint8)


def _digest(prepared: NDArray[np.uint8]) -> bytes:
    """SHA-256 of one image's pixels and shape."""
    return hashlib.sha256(repr(prepared.shape).encode("ascii") + prepared.tobytes()).digest()


def _over(hashes: Sequence[bytes]) -> str:
    """SHA-256 over the images' own, in the list's order."""
    return hashlib.sha256(b"".join(hashes)).hexdigest()
