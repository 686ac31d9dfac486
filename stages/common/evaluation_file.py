"""A phase's evaluation, image by image, as a file of its package: what the next phase draws intervals from.

A numpy archive of plain arrays. It comes out of another process and is read as hostile: nothing is unpickled, no
member is larger than it may be, and every index is checked.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError, Problem
from stages.common.per_image import THRESHOLDS, Matches, PerImage, Shares

MAX_BYTES = 16 << 20  # what the gate between a stage and a package lets through
_MAX_UNPACKED = 512 << 20  # bytes: 5000 images with 300 results each are 15 MB
_MAX_MEMBERS = 256
_TEXT = "<U64"
_MATCHES = {"images": "<i4", "hits": "<u2", "results": "<i8", "objects": "<i4", "instances": "<i8"}


@dataclass(frozen=True)
class Kept:
    """An evaluation with what it is of: the model's SHA-256, and the images in their order."""

    model_sha256: str
    order: str
    per_image: PerImage


def order_of(images: Sequence[Any]) -> str:
    """SHA-256 of the images' names in their order, below the folder that holds them all."""
    paths = [Path(image).absolute() for image in images if isinstance(image, Path)]
    root = os.path.commonpath([path.parent for path in paths]) if paths else "/"
    listed = "\0".join(os.path.relpath(path, root) for path in paths)
    return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()


def arrays(per_image: PerImage) -> dict[str, NDArray[Any]]:
    """What is kept as plain arrays. Raises TypeError for a kind that is not known."""
    if isinstance(per_image, Matches):
        found = {name: getattr(per_image, name).astype(kind) for name, kind in _MATCHES.items()}
        return {"count": np.array(per_image.count, "<i8"), **found}
    if isinstance(per_image, Shares):
        stacked = {f"share {name}": np.stack(pair).astype("<f8") for name, pair in per_image.parts.items()}
        return {"count": np.array(per_image.count, "<i8"), **stacked}
    raise TypeError(f"{type(per_image).__name__} cannot be kept")


def write(kept: Kept, path: Path, bench: Bench) -> None:
    """Store `kept`; where it is too large for a package, say so instead: the next gate then has no interval."""
    about = {"model_sha256": np.array(kept.model_sha256, _TEXT), "order": np.array(kept.order, _TEXT)}
    write_arrays(path, {**about, **arrays(kept.per_image)})
    size = path.stat().st_size
    if size > MAX_BYTES:
        path.unlink()
        too_large = f"{path.name} would have {size} bytes, {MAX_BYTES} are allowed: the next gate has no interval"
        bench.note(too_large, "warning")


def write_arrays(
    path: Path | IO[bytes], named: Mapping[str, NDArray[Any]], compression: int = zipfile.ZIP_DEFLATED
) -> None:
    """Store plain arrays as `np.savez_compressed` does, which would pickle others. Raises ValueError for those."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in named.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read(path: Path) -> Kept:
    """The evaluation at `path`. Raises InputError where it is none."""
    try:
        found = members(path)
        about = {name: str(_array(found.pop(name, None), _TEXT, name, 0)) for name in ("model_sha256", "order")}
        return Kept(about["model_sha256"], about["order"], restored(found))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        said = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{path.name} is no evaluation of an earlier phase.",
            f"{said}.",
            "Give the file of the previous phase's package, or leave it out: the gates then have no intervals.",
            kind="evaluation",
            problems=[Problem(f"it cannot be read as an evaluation: {said}", str(path))],
        ) from error


def restored(found: Mapping[str, NDArray[Any]]) -> PerImage:
    """What `arrays` made, from arrays that nobody vouches for. Raises ValueError."""
    rest = dict(found)
    count = int(_array(rest.pop("count", None), "<i8", "count", 0))
    if not 0 < count < 1 << 31:
        raise ValueError(f"it is of {count} images")
    if rest and all(name.startswith("share ") for name in rest):
        return Shares({name.removeprefix("share "): _share(array, count, name) for name, array in rest.items()})
    if set(rest) != set(_MATCHES):
        raise ValueError(f"it holds {', '.join(sorted(map(ascii, rest))) or 'nothing'}")
    made = Matches(count, **{name: _array(rest[name], kind, name, 1) for name, kind in _MATCHES.items()})
    counts = (made.results, made.instances)
    sums = (len(made.images), len(made.objects))
    if len(made.results) != len(made.instances) or len(made.hits) != len(made.images):
        raise ValueError("its arrays do not fit together")
    if any((part < 0).any() or (part > size).any() for part, size in zip(counts, sums, strict=True)):
        raise ValueError("a class has more than all classes")
    if tuple(int(part.sum()) for part in counts) != sums:
        raise ValueError("its classes do not add up")
    if any(((part < 0) | (part >= count)).any() for part in (made.images, made.objects)):
        raise ValueError(f"an image is not one of {count}")
    _require_possible(made)
    return made


def _require_possible(made: Matches) -> None:
    """Raise ValueError where more results of an image hit than it has objects."""
    labels = np.arange(len(made.results))
    found = np.repeat(labels, made.results) * made.count + made.images
    there, most = np.unique(np.repeat(labels, made.instances) * made.count + made.objects, return_counts=True)
    if (made.hits >> len(THRESHOLDS)).any():
        raise ValueError("a result hits at a threshold that there is not")
    for index in range(len(THRESHOLDS)):
        hit, count = np.unique(found[(made.hits >> index & 1).astype(bool)], return_counts=True)
        place = np.searchsorted(there, hit)
        if not len(hit):
            continue
        if place[-1] == len(there) or (there[place] != hit).any() or (count > most[place]).any():
            raise ValueError("more results of an image hit than it has objects")


def _share(array: Any, count: int, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pair = _array(array, "<f8", name, 2)
    if pair.shape != (2, count) or not np.isfinite(pair).all() or (pair[1] < 0).any():
        raise ValueError(f"{name!a} is not a numerator and a denominator of each image")
    return pair[0], pair[1]


def _array(array: Any, kind: str, name: str, dimensions: int) -> NDArray[Any]:
    wanted = np.dtype(kind)
    if array is None:
        raise ValueError(f"{name} is missing")
    text = wanted.kind == "U" == array.dtype.kind and array.dtype.itemsize <= wanted.itemsize
    if not (text or array.dtype == wanted) or array.ndim != dimensions:
        raise ValueError(f"{name!a} is {array.dtype} with {array.ndim} dimensions")
    found: NDArray[Any] = array
    return found


def members(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an archive that nobody vouches for. Raises OSError, ValueError, EOFError, what `zipfile` raises."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size} bytes, and {MAX_BYTES} are allowed")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if len(members) > _MAX_MEMBERS or unpacked > _MAX_UNPACKED:
            raise ValueError(f"it holds {len(members)} arrays of {unpacked} bytes")
        found = {}
        for member in members:
            with archive.open(member) as file:
                found[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return found
