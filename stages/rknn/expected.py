"""What the simulator gave for a few images, kept in the package: a board's outputs are held against it.

Only the process that built a model can simulate it, so it is kept then or never. `expected_<variant>.npz` holds
`input <n>`, a prepared image uint8 [H, W, C], `output <n> <m>` for it in the order of the head's outputs, and
`evaluation <name>`: the evaluation image by image, where accuracy was measured.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.errors import InputError, Problem
from stages.common import evaluation_file
from stages.common.per_image import PerImage

IMAGES = 4  # a million values each where the input is 640 x 640: one image would do
BYTES = 8 << 20  # before compression; the first image is kept up to ALONE
ALONE = 16 << 20  # bytes: more than any head of a 1280 x 1280 input; a generic network may give more
_EVALUATION = "evaluation "


class Expected:
    """The first images' inputs and outputs, as many as there is room for."""

    def __init__(self) -> None:
        self._images: list[list[NDArray[np.generic]]] = []
        self._left = BYTES

    def add(self, prepared: NDArray[np.uint8], outputs: Sequence[NDArray[np.float32]]) -> None:
        """Keep this image if there is room: uint8 [H, W, C], and its outputs without loss, half as large if it can."""
        if len(self._images) == IMAGES or self._left <= 0:
            return
        made = [np.ascontiguousarray(prepared), *map(_smaller, outputs)]
        size = sum(array.nbytes for array in made)
        if size <= (self._left if self._images else ALONE):
            self._images.append(made)
        self._left -= size

    def write(self, path: Path, per_image: PerImage | None) -> str:
        """Store what was kept, with the evaluation; gives the path, empty where there is nothing."""
        if not self._images:
            return ""
        named: dict[str, NDArray[np.generic]] = {}
        for number, (prepared, *outputs) in enumerate(self._images):
            named[f"input {number}"] = prepared
            named |= {f"output {number} {place}": output for place, output in enumerate(outputs)}
        if per_image is not None:
            named |= {_EVALUATION + name: array for name, array in evaluation_file.arrays(per_image).items()}
        evaluation_file.write_arrays(path, named)
        return str(path)


def _smaller(output: NDArray[np.float32]) -> NDArray[np.generic]:
    """As float16 where that is the same numbers: an FP16 model's outputs are."""
    with np.errstate(over="ignore"):
        half = output.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), output) else output


def evaluation(path: Path) -> PerImage | None:
    """The simulator's evaluation in the file, None where there is none. Raises InputError for a damaged file."""
    try:
        found = evaluation_file.members(path)
        kept = {name.removeprefix(_EVALUATION): found[name] for name in found if name.startswith(_EVALUATION)}
        return evaluation_file.restored(kept) if kept else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        said = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{path.name} is not what the rknn phase wrote.",
            f"{said}.",
            "Convert the model again.",
            kind="expected",
            problems=[Problem(f"it cannot be read: {said}", str(path))],
        ) from error
