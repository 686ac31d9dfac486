"""Checkpoints made by hand, opcode by opcode, with numpy and the standard library alone."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RUNG: list[tuple[Any, ...]] = []
CANARY = (__name__, "ring")
MARK, STOP = b"(", b"."


def ring(*arguments: Any) -> dict[str, Any]:
    """What hostile pickles of the tests call: a real unpickler leaves a trace here."""
    RUNG.append(arguments)
    return {}


class Raw(bytes):
    """Opcodes that push one value; `code` takes them as they are."""


def code(value: Any) -> Raw:
    """The opcodes of protocol 2 that push `value`."""
    if isinstance(value, Raw):
        return value
    if value is None or isinstance(value, bool):
        return Raw({None: b"N", True: b"\x88", False: b"\x89"}[value])
    if isinstance(value, int):
        return Raw(b"J" + struct.pack("<i", value))
    if isinstance(value, float):
        return Raw(b"G" + struct.pack(">d", value))
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return Raw(b"X" + struct.pack("<I", len(text)) + text)
    if isinstance(value, list):
        return Raw(b"](" + b"".join(map(code, value)) + b"e")
    if isinstance(value, tuple):
        return Raw(MARK + b"".join(map(code, value)) + b"t")
    if isinstance(value, dict):
        return Raw(b"}(" + b"".join(code(key) + code(part) for key, part in value.items()) + b"u")
    raise TypeError(value)


def named(module: str, name: str) -> Raw:
    """GLOBAL."""
    return Raw(b"c" + f"{module}\n{name}\n".encode())


def call(module: str, name: str, *arguments: Any) -> Raw:
    """GLOBAL, arguments, REDUCE."""
    return Raw(named(module, name) + code(arguments) + b"R")


def instance(module: str, name: str, state: Mapping[str, Any]) -> Raw:
    """NEWOBJ without arguments, filled by BUILD."""
    return Raw(named(module, name) + b")\x81" + code(dict(state)) + b"b")


def storage(key: str, count: int, kind: str = "FloatStorage") -> Raw:
    """BINPERSID of a storage."""
    return Raw(code(("storage", named("torch", kind), key, "cpu", count)) + b"Q")


def tensor(
    source: Raw, size: Sequence[int], stride: Sequence[int], offset: int = 0, rebuild: str = "_rebuild_tensor_v2"
) -> Raw:
    """A tensor over a storage."""
    return call("torch._utils", rebuild, source, offset, tuple(size), tuple(stride), False, {})


def module(kind: str, parameters: Mapping[str, Any], children: Mapping[str, Any], **settings: Any) -> Raw:
    """A torch module; `kind` is `package.Class`."""
    package, _, name = kind.rpartition(".")
    state = {"training": False, "_parameters": dict(parameters), "_buffers": {}, "_modules": dict(children)}
    return instance(package, name, {**state, **settings})


class Pieces:
    """Arrays that become storages, in the order in which they were given."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def tensor(self, array: NDArray[Any], kind: str = "FloatStorage", count: int | None = None) -> Raw:
        """The array as a contiguous tensor over a storage of its own."""
        key = str(len(self.records))
        self.records[f"data/{key}"] = array.tobytes()
        stride = [step // array.itemsize for step in array.strides]
        return tensor(storage(key, array.size if count is None else count, kind), array.shape, stride)


def small_network(pieces: Pieces, **settings: Any) -> Raw:
    """A network of one convolution that looks like a YOLO11."""
    weight = pieces.tensor(np.arange(12, dtype=np.float16).reshape(3, 4), "HalfStorage")
    parameters = {
        "weight": call("torch._utils", "_rebuild_parameter", weight, False, call("collections", "OrderedDict"))
    }
    conv = module("torch.nn.modules.conv.Conv2d", parameters, {}, kernel_size=(1, 1), stride=(1, 1))
    layers = module("torch.nn.modules.container.Sequential", {}, {"0": conv})
    known = {
        "yaml": {"nc": 2, "scale": "n", "yaml_file": "yolo11n.yaml", "channels": 3},
        "names": {0: "first", 1: "second"},
        "task": "detect",
        "stride": pieces.tensor(np.array([8, 16, 32], np.float32)),
    }
    return module("ultralytics.nn.tasks.DetectionModel", {}, {"model": layers}, **{**known, **settings})


def archive(pickled: bytes, records: Mapping[str, bytes] | None = None, prefix: str = "best") -> bytes:
    """A `torch.save` archive: the pickle, the storages, the marks of its version."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, data in {"data.pkl": pickled, "byteorder": b"little", **(records or {}), "version": b"3\n"}.items():
            made.writestr(f"{prefix}/{name}", data)
    return stream.getvalue()


def pickled(value: Any) -> bytes:
    """A whole pickle of protocol 2."""
    return b"\x80\x02" + code(value) + STOP


def checkpoint(**parts: Any) -> bytes:
    """A small whole checkpoint; `parts` are added to its dictionary or replace what is in it."""
    pieces = Pieces()
    whole = {
        "epoch": -1,
        "model": small_network(pieces),
        "ema": None,
        "train_args": {"imgsz": 256, "data": "data.yaml"},
        "date": "2026-11-22T10:00:00",
        "version": "8.4.190",
        **parts,
    }
    return archive(pickled(whole), pieces.records)


def placed(folder: Path, data: bytes, name: str = "best.pt") -> Path:
    """The bytes as a file."""
    path = folder / name
    path.write_bytes(data)
    return path
