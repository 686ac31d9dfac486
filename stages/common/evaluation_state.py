"""What an evaluation has found so far, as a file: results image by image that a later run need not find again.

A numpy archive of plain arrays, each field of all the results in one. What was written half, damaged or made up is
found by its looks, and counts as nothing: to evaluate again costs time alone.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.classification import Ranking
from stages.common.detection import Detections
from stages.common.evaluation_file import write_arrays
from stages.common.mask_metrics import Encoded
from stages.common.poses import Poses
from stages.common.texts import Text
from stages.common.turned import TurnedBoxes

MAX_BYTES = 256 << 20  # of the file and of what it unpacks to: 20 000 images with 300 boxes each are 168 MB
_MAX_MEMBERS = 32
_MAX_PIXELS = 1 << 30  # of an image: what OpenCV reads
_TYPES = ("<f4", "<f8", "<i4", "<i8")
_TEXT = "<U64"
_BOXES: Mapping[str, tuple[int, ...]] = {"boxes": (4,), "scores": (), "classes": ()}
_ANY = -1  # as long as it is
# The class of a task's results, and the shape of each field behind the first dimension, which all of a result share.
_FORMS: Mapping[str, tuple[type[Any] | None, Mapping[str, tuple[int, ...]]]] = {
    "object_detection": (Detections, _BOXES),
    "segmentation": (Encoded, _BOXES),
    "pose": (Poses, {**_BOXES, "keypoints": (_ANY, 3)}),
    "oriented_detection": (TurnedBoxes, {**_BOXES, "boxes": (5,)}),
    "classification": (Ranking, {"classes": (), "scores": ()}),
    "ocr": (Text, {"classes": (), "scores": ()}),
    "generic": (None, {}),
}
_STRANGE = (  # all that numpy's and zipfile's readers raise on bytes of any kind
    OSError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError, MemoryError, SyntaxError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What one image gave: the task's sound result, the image's [H, W], whether an output was not finite."""

    result: Any
    shape: tuple[int, int]
    broken: bool


def size_of(result: Any) -> int:
    """About how many bytes a result takes in the file."""
    parts = (value for value in vars(result).values() if isinstance(value, np.ndarray)) if result is not None else ()
    masks = sum(len(mask["counts"]) + 8 for mask in getattr(result, "masks", ()))
    return sum(part.nbytes for part in parts) + masks + 32


def encode(task: str, key: str, found: Sequence[Found]) -> bytes:
    """The file of what the first images behind the timed ones gave. Raises ValueError where it cannot be kept."""
    named = {
        "key": np.array(key, _TEXT),
        "shapes": np.array([one.shape for one in found], "<i8").reshape(-1, 2),
        "broken": np.array([one.broken for one in found], np.uint8),
        **_columns(task, [one.result for one in found]),
    }
    file = io.BytesIO()
    write_arrays(file, named, zipfile.ZIP_STORED)  # to compress would take longer than to find it again
    return file.getvalue()


def _columns(task: str, results: Sequence[Any]) -> dict[str, NDArray[Any]]:
    form, fields = _FORMS[task]
    if any(type(one) is not (type(None) if form is None else form) for one in results):
        raise ValueError(f"a result is not a {form}")
    made = {}
    for name in fields:
        parts = [np.asarray(getattr(one, name)) for one in results]
        made[name] = np.concatenate(parts)  # of two types the wider one holds both
        made[f"{name} types"] = np.array([_TYPES.index(part.dtype.str) for part in parts], np.uint8)
        made["counts"] = np.array([len(part) for part in parts], "<i8")
    if form is Encoded:
        runs = [mask["counts"] for one in results for mask in one.masks]
        made["runs"] = np.frombuffer(b"".join(runs), np.uint8)
        made["lengths"] = np.array([len(part) for part in runs], "<i8")
    return made


def read(path: Path, task: str, key: str, classes: int) -> list[Found]:
    """What an evaluation with the same `key` has left; nothing where it is another's or not whole.

    `classes`: how many the model has; a result of any other is made up.
    """
    try:
        named = _members(path)
        if str(_array(named.pop("key"), "key", (_TEXT,), ())) != key:
            return []
        shapes = _array(named.pop("shapes"), "shapes", ("<i8",), (_ANY, 2))
        broken = _array(named.pop("broken"), "broken", ("|u1",), (len(shapes),))
        if not len(shapes) or (shapes < 1).any() or (shapes > _MAX_PIXELS).any() or (broken > 1).any():
            raise ValueError("an image is none")
        if (shapes.prod(axis=1) > _MAX_PIXELS).any():
            raise ValueError("an image is too large")
        sizes = [(int(rows), int(columns)) for rows, columns in shapes]
        results = _restored(task, named, sizes, classes)
    except _STRANGE:
        return []
    return [Found(*one) for one in zip(results, sizes, map(bool, broken), strict=True)]


def _members(path: Path) -> dict[str, NDArray[Any]]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError("it is too large")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
            raise ValueError("it holds too much")
        found = {}
        for member in members:  # whole, so that its checksum is compared before anything is read of it
            file = io.BytesIO(archive.read(member))
            found[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):
                raise ValueError("more follows behind an array")
    return found


def _array(array: NDArray[Any], name: str, types: Sequence[str], shape: tuple[int, ...]) -> NDArray[Any]:
    fits = len(shape) == array.ndim and all(
        size in (wanted, array.shape[place]) if wanted == _ANY else size == wanted
        for place, (size, wanted) in enumerate(zip(array.shape, shape, strict=True))
    )
    if array.dtype.str not in types or not fits:
        raise ValueError(f"{name} is {array.dtype} {array.shape}")
    return array


def _restored(task: str, named: dict[str, NDArray[Any]], sizes: list[tuple[int, int]], classes: int) -> list[Any]:
    form, fields = _FORMS[task]
    wanted = {*fields, *(f"{name} types" for name in fields), *(("counts",) if fields else ())}
    if set(named) != (wanted | {"runs", "lengths"} if form is Encoded else wanted):
        raise ValueError("it holds something else")
    if form is None:
        return [None] * len(sizes)
    counts = _array(named["counts"], "counts", ("<i8",), (len(sizes),))
    ends = _ends(counts, len(named["scores"]))
    columns = {name: list(_column(named, name, tail, ends)) for name, tail in fields.items()}
    labels = named["classes"]
    if labels.dtype.kind != "i" or (labels < 0).any() or (labels >= classes).any():
        raise ValueError("a class is none of the model's")
    if any(named[name].dtype.kind != "f" for name in fields if name != "classes"):
        raise ValueError("a number is none")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if form is Encoded:
        for row, masks, shape in zip(rows, _masks(named, ends, sizes), sizes, strict=True):
            row |= {"masks": masks, "shape": shape}
    return [form(**row) for row in rows]


def _ends(counts: NDArray[Any], total: int) -> NDArray[Any]:
    """Where each part ends."""
    if (counts < 0).any() or (counts > total).any() or counts.sum() != total:
        raise ValueError("the parts do not add up")
    ends: NDArray[Any] = counts.cumsum()
    return ends


def _column(
    named: Mapping[str, NDArray[Any]], name: str, tail: tuple[int, ...], ends: NDArray[Any]
) -> Iterator[NDArray[Any]]:
    """A field of each result, in the type that it had."""
    whole = _array(named[name], name, _TYPES, (int(ends[-1]), *tail))
    types = _array(named[f"{name} types"], f"{name} types", ("|u1",), (len(ends),))
    if (types >= len(_TYPES)).any() or (whole.dtype.kind == "f" and not np.isfinite(whole).all()):
        raise ValueError(f"{name} is no field")
    for part, kind in zip(np.split(whole, ends[:-1]), types, strict=True):
        if np.dtype(_TYPES[kind]).kind != whole.dtype.kind and len(part):
            raise ValueError(f"{name} is of another type")
        yield part.astype(_TYPES[kind])


def _masks(
    named: Mapping[str, NDArray[Any]], ends: NDArray[Any], sizes: Sequence[tuple[int, int]]
) -> Iterator[tuple[dict[str, Any], ...]]:
    """The run lengths of each image's masks."""
    lengths = _array(named["lengths"], "lengths", ("<i8",), (int(ends[-1]),))
    runs = _array(named["runs"], "runs", ("|u1",), (_ANY,))
    stops = _ends(lengths, len(runs))
    begin = 0
    for end, (rows, columns) in zip(ends, sizes, strict=True):
        masks = [runs[stops[index] - lengths[index] : stops[index]] for index in range(begin, int(end))]
        for mask in masks:
            _require_runs(mask, rows * columns)
        yield tuple({"size": [rows, columns], "counts": mask.tobytes()} for mask in masks)
        begin = int(end)


def _require_runs(coded: NDArray[Any], pixels: int) -> None:
    """Raise ValueError where COCO's run lengths are not those of so many pixels: a library in C takes them as they are.

    Each number is in groups of five bits, the lowest first, from character 48 on, bit 5 where another follows, bit 4
    of the last its sign; from the fourth on, numbers are less the one two before (pycocotools, maskApi.c, rleFrString).
    """
    bits = coded.astype(np.int64) - 48
    last = (bits & 32) == 0
    if not len(bits) or (bits < 0).any() or (bits > 63).any() or not last[-1]:
        raise ValueError("a mask is none")
    begins = np.concatenate([[0], last.nonzero()[0][:-1] + 1])
    place = np.arange(len(bits)) - np.repeat(begins, np.diff(np.append(begins, len(bits))))
    if (place > 6).any():
        raise ValueError("a run is too long")
    numbers = np.add.reduceat((bits & 31) << (5 * place), begins)
    numbers -= np.where(bits[last] & 16, np.left_shift(1, 5 * (place[last] + 1)), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    if (numbers < 0).any() or numbers.sum() != pixels:
        raise ValueError("a mask has another size than its image")
