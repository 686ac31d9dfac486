"""What was found in the packed images, as text that fits into the board's record, and back again.

The board writes results, the host judges them: so there is one evaluator, and the board needs nothing for it.
Runs on the board too: Python 3.8 and numpy only.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST = 300_000  # characters for a model's results: the record is a document of at most 1 MB and holds two models
_UNPACKED = 256 << 20  # bytes
_MEMBERS = 20_000
_MASKS, _SHAPE = "masks", "shape"  # the fields that are no plain arrays
_FIELDS = {
    "boxes": ("<f4", 2),
    "scores": ("<f4", 1),
    "classes": ("<i8", 1),
    "keypoints": ("<f4", 3),
}  # dtype and number of dimensions


class TooLarge(Exception):
    """The results are too much text for the record."""


def encode(found: Sequence[Any]) -> str:
    """The results of several images, in their order, as base64 text. Raises TooLarge."""
    file = io.BytesIO()
    named = {}
    for number, result in enumerate(found):
        for field, value in vars(result).items():
            if field == _MASKS:
                named.update(_flat(value, number))
            else:
                named[f"{number} {field}"] = np.asarray(value)
    np.savez_compressed(file, **named)  # type: ignore[arg-type]
    text = base64.b64encode(file.getvalue()).decode("ascii")
    if len(text) > MOST:
        raise TooLarge(f"{len(text)} characters, and {MOST} are allowed")
    return text


def _flat(masks: Sequence[Any], number: int) -> dict[str, np.ndarray]:
    """Masks as one row of bits, and of each rows, columns, top and left."""
    bits = [part.ravel() for part, _, _ in masks]
    places = [(*part.shape, top, left) for part, top, left in masks]
    return {
        f"{number} bits": np.packbits(np.concatenate([np.zeros(0, bool), *bits])),
        f"{number} places": np.array(places, np.int64).reshape(-1, 4),
    }


def decode(text: str, kind: Any, count: int, classes: int) -> list[Any]:
    """The results of `count` images as objects of the class `kind`, whose fields are checked: no board is trusted.

    Raises ValueError with what is wrong.
    """
    try:
        named = _arrays(base64.b64decode(text, validate=True))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"they are damaged: {error}") from error
    return [_restored(named, number, kind, classes) for number in range(count)]


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if len(members) > _MEMBERS or size > _UNPACKED:
            raise ValueError(f"they hold {len(members)} arrays of {size} bytes")
        found = {}
        for member in members:
            with archive.open(member) as file:
                found[member.filename[: -len(".npy")]] = np.lib.format.read_array(file, allow_pickle=False)
        return found


def _restored(named: dict[str, np.ndarray], number: int, kind: Any, classes: int) -> Any:
    fields = [name for name in kind.__dataclass_fields__ if name not in (_MASKS, _SHAPE)]
    made: dict[str, Any] = {name: _field(named, f"{number} {name}", *_FIELDS[name]) for name in fields}
    rows = {len(value) for value in made.values()}
    if len(rows) != 1:
        raise ValueError(f"the fields of image {number} are not of one length")
    label = made["classes"]
    if ((label < 0) | (label >= classes)).any():
        raise ValueError(f"a class of image {number} is not one of {classes}")
    if _MASKS in kind.__dataclass_fields__:
        rows_columns = _field(named, f"{number} {_SHAPE}", "<i8", 1)
        if rows_columns.shape != (2,):
            raise ValueError(f"the shape of image {number} is none")
        made[_SHAPE] = (int(rows_columns[0]), int(rows_columns[1]))
        made[_MASKS] = _masks(named, number, made[_SHAPE], rows.pop())
    return kind(**made)


def _field(named: dict[str, np.ndarray], name: str, dtype: str, dimensions: int) -> np.ndarray:
    value = named.get(name)
    if value is None:
        raise ValueError(f"{name} is missing")
    if value.dtype != np.dtype(dtype) or value.ndim != dimensions:
        raise ValueError(f"{name} is {value.dtype} with {value.ndim} dimensions")
    return value


def _masks(named: dict[str, np.ndarray], number: int, shape: tuple[int, int], count: int) -> Any:
    places = _field(named, f"{number} places", "<i8", 2)
    bits = np.unpackbits(_field(named, f"{number} bits", "|u1", 1)).astype(bool)
    if places.shape != (count, 4) or (places < 0).any():
        raise ValueError(f"the masks of image {number} are not of its boxes")
    inside = (places[:, 2] + places[:, 0] <= shape[0]) & (places[:, 3] + places[:, 1] <= shape[1])
    sizes = places[:, 0] * places[:, 1]
    if not inside.all() or not 0 <= len(bits) - int(sizes.sum()) < 8:
        raise ValueError(f"a mask of image {number} lies outside of it")
    made, at = [], 0
    for (rows, columns, top, left), size in zip(places.tolist(), sizes.tolist()):  # noqa: B905 (3.8)
        made.append((bits[at : at + size].reshape(rows, columns), top, left))
        at += size
    return tuple(made)
