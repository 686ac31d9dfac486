"""Tensors as a checkpoint's pickle describes them: strided views of the archive's records, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.checkpoint_machine import Broken
from stages.common.checkpoint_zip import tampered

DTYPES: Mapping[str, str] = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # widened to float32, without loss, by Tensor.array
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|u1",
}
_MAX_DIMENSIONS = 8  # the deepest tensor of any supported network has 5
_LARGEST_EMPTY = 65_536  # of a tensor without elements; its other lengths cost nothing but mean nothing


@dataclass(frozen=True, eq=False, repr=False)
class Storage:
    """One block of numbers: torch's name of its type, and all of its bytes."""

    kind: str
    data: memoryview

    @property
    def dtype(self) -> np.dtype[Any]:
        """The little-endian type of one element (bfloat16: its 16 raw bits)."""
        return np.dtype(DTYPES[self.kind])


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """A strided view of a storage, checked to lie inside it and to repeat none of it."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        """The numbers, of shape `size`, as a new contiguous array. bfloat16 becomes float32."""
        dtype = self.storage.dtype
        numbers = np.zeros(0, dtype) if 0 in self.size else np.frombuffer(self.storage.data, dtype=dtype)[self.offset :]
        steps = tuple(step * dtype.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(numbers, self.size, steps, writeable=False)
        if self.storage.kind == "BFloat16Storage":
            return np.asarray(view.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.asarray(view != 0) if self.storage.kind == "BoolStorage" else np.array(view, order="C")


def tensor_from(arguments: tuple[Any, ...], file: str) -> Tensor:
    """What `_rebuild_tensor_v2(storage, offset, size, stride, ...)` would make. Raises Refused for impossible views."""
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        raise Broken("it makes a tensor of what is no storage")
    storage, offset, size, stride = arguments[:4]
    if not (
        isinstance(size, tuple)
        and isinstance(stride, tuple)
        and len(size) == len(stride) <= _MAX_DIMENSIONS
        and counts(offset)
        and all(map(counts, size + stride))
    ):
        raise tampered(file, "A tensor has a shape that no tensor can have.")
    held = len(storage.data) // storage.dtype.itemsize
    if 0 in size and max(size) <= _LARGEST_EMPTY:
        return Tensor(storage, 0, size, stride)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if prod(size) > held or last >= held:
        raise tampered(file, f"A tensor of the shape {_shape(size)} claims more than the {held} numbers it has.")
    return Tensor(storage, offset, size, stride)


def counts(value: Any) -> bool:
    """Whether `value` can be a length, an offset or a step."""
    return type(value) is int and 0 <= value < 2**40


def _shape(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
