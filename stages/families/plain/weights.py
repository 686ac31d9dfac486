"""Weights without their network, read inertly: safetensors, or a state dict that torch.save wrote."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import saved_in
from stages.common.checkpoint_file import Contents, followed
from stages.common.checkpoint_machine import Broken
from stages.common.checkpoint_tensor import DTYPES, Storage, Tensor, counts

MAX_HEADER = 100 * 2**20  # bytes, as safetensors itself allows
_KINDS = {
    "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "F64": "DoubleStorage",
    "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage",
    "I8": "CharStorage", "U8": "ByteStorage", "BOOL": "BoolStorage",
}  # fmt: skip
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")  # where training scripts put it


def read(held: Contents) -> dict[str, NDArray[Any]]:
    """The tensors by name. Raises InputError where the file holds no weights alone, Refused for a hostile pickle."""
    found = followed(held.file, lambda: _safetensors(held.raw) if held.archive is None else _state_dict(held))
    if not found:
        raise InputError(
            f"{held.file} holds no weights alone.",
            "It is neither safetensors nor a state dict that torch.save wrote.",
            "Save it with torch.save(network.state_dict(), ...), or leave --model out.",
            kind="weights",
        )
    return found


def _state_dict(held: Contents) -> dict[str, NDArray[Any]]:
    assert held.archive is not None
    if "data.pkl" not in held.archive.records:
        return {}
    saved = saved_in(held.archive)
    inner = next((saved[key] for key in _WRAPPERS if isinstance(saved.get(key), dict)), saved) if saved else {}
    if not isinstance(inner, dict) or not all(isinstance(value, Tensor) for value in inner.values()):
        return {}
    size = sum(math.prod(tensor.size) * tensor.storage.dtype.itemsize for tensor in inner.values())
    if size > 2 * len(held.raw):
        raise Broken("its weights claim more bytes than the file has")
    return {str(name): tensor.array() for name, tensor in inner.items()}


def _safetensors(raw: bytes) -> dict[str, NDArray[Any]]:
    """Eight bytes with the length of a JSON header, the header, and the numbers, back to back (safetensors' README)."""
    length = int.from_bytes(raw[:8], "little")
    if not 2 <= length <= min(len(raw) - 8, MAX_HEADER) or raw[8:9] != b"{":
        return {}
    header, numbers = json.loads(raw[8 : 8 + length]), memoryview(raw)[8 + length :]
    found, ends = {}, []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        size, kind = tuple(entry["shape"]), _KINDS.get(entry["dtype"])
        if kind is None or not all(map(counts, (first, last, *size))) or not first <= last <= len(numbers):
            raise Broken(f"its tensor {ascii(name)[:80]} cannot be one")
        if math.prod(size) * np.dtype(DTYPES[kind]).itemsize != last - first:
            raise Broken(f"its tensor {ascii(name)[:80]} has {last - first} bytes, which its shape does not")
        strides = tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))
        found[name] = Tensor(Storage(kind, numbers[first:last]), 0, size, strides).array()
        ends.append((first, last))
    if any(after[0] < before[1] for before, after in zip(sorted(ends), sorted(ends)[1:], strict=False)):
        raise Broken("two of its tensors overlap")
    return found
