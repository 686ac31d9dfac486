"""What an ONNX file and a `.rknn` file say about themselves, read from their bytes.

With the standard library alone, so that the orchestrator and every stage can hold an artefact against its
source document. Of a `.rknn` only the texts that the toolkit writes in clear are read: the JSON at its end and
the dictionary of its tensors.
"""

from __future__ import annotations

import ast
import json
import math
import re
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mcwbuild.contract import look
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.protobuf import Broken, Span

Facts = TypeVar("Facts")

MAX_TEXT = 16 << 20  # bytes; metadata of a thousand long class names takes 300 kB
_MAX_ATTRIBUTES = 1 << 20  # bytes of the dictionary of tensors in a .rknn
_MAX_RANK = 16

# onnx.proto3, TensorProto.DataType
_ONNX_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip


class Tensor(NamedTuple):
    """A model's input or output. A dimension without a fixed length is a name, or None where it has none."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def fixed(self) -> bool:
        """Whether every length of its shape is a number."""
        return all(isinstance(length, int) and length > 0 for length in self.shape)


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file says. `external` is true where weights lie in other files."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    ir_version: int
    producer: str
    metadata: dict[str, str]
    external: bool


@dataclass(frozen=True)
class RknnFacts:
    """What a .rknn file says.

    `mean`, `std` (one value a channel, in units of 0 to 255), `rgb2bgr` and `layout` are those of the first
    input; a tensor's dtype is the quantized one (`int8`), `float16` where it is not quantized. `custom_string`
    is the JSON text that mcwbuild put in, or None. `mini` files run on the small chips only.
    """

    toolkit: str
    compiler: str
    target: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb2bgr: bool
    layout: str
    custom_string: str | None
    quantized: bool
    mini: bool


def read_onnx(path: Path) -> OnnxFacts:
    """The facts of the ONNX file at `path`. Raises InputError, in one sentence, where it is not one."""
    return _read(path, "an ONNX file", "onnx", _onnx, "Export it again.")


def read_rknn(path: Path) -> RknnFacts:
    """The facts of the .rknn file at `path`.

    Raises InputError (kind `unknown-layout`) where it is not one, or not as RKNN-Toolkit2 2.3.2 writes it.
    """
    return _read(path, "a .rknn file that is understood", "unknown-layout", _rknn, "Convert it again with 2.3.2.")


def _read(path: Path, what: str, kind: str, parse: Callable[[bytes | mmap], Facts], remedy: str) -> Facts:
    try:
        with _mapped(path) as data:
            return parse(data)
    except OSError as error:
        reason, remedy = error.strerror or "it cannot be opened", "Check the path."
    except Broken as error:
        reason = str(error)
    problem = Problem(f"not {what}: {reason}", str(path))
    raise InputError(f"{path} is not {what}: {reason}.", "", remedy, kind=kind, problems=[problem])


@contextmanager
def _mapped(path: Path) -> Iterator[bytes | mmap]:
    with look.opened(path) as file:
        if not file.seek(0, 2):
            yield b""
            return
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            yield data


def _onnx(data: bytes | mmap) -> OnnxFacts:
    model = Span(data, 0, len(data))
    graphs = list(model.children(7))
    opsets = [entry.number(2) for entry in model.children(8) if entry.string(1) in ("", "ai.onnx")]
    if len(graphs) != 1 or not opsets:
        raise Broken("it holds no graph" if not graphs else "it names no operator set")
    weights, external = _initializers(graphs[0])
    producer = f"{model.string(2)} {model.string(3)}".strip()
    inputs = tuple(tensor for tensor in map(_value_info, graphs[0].children(11)) if tensor.name not in weights)
    outputs = tuple(map(_value_info, graphs[0].children(12)))
    if not inputs or not outputs:
        raise Broken("its graph has no inputs or no outputs")
    return OnnxFacts(inputs, outputs, max(opsets), model.number(1), producer, _metadata(model), external)


def _initializers(graph: Span) -> tuple[set[str], bool]:
    """The weights' names, and whether any lies in another file (`data_location` is EXTERNAL)."""
    names, external = set(), False
    for weight in graph.children(5):
        names.add(weight.string(8))
        external = external or weight.number(14) == 1
    return names, external


def _metadata(model: Span) -> dict[str, str]:
    made: dict[str, str] = {}
    for entry in model.children(14):
        key = entry.string(1)
        if key in made:
            raise Broken(f"its metadata holds {key[:60]!a} twice")
        made[key] = entry.string(2, MAX_TEXT)
    return made


def _value_info(info: Span) -> Tensor:
    name, dtype = info.string(1), "unknown"
    shape: tuple[int | str | None, ...] = ()
    for kind in info.children(2):
        for tensor in kind.children(1):
            code = tensor.number(1)
            dtype = _ONNX_TYPES.get(code, f"type {code}")
            for dimensions in tensor.children(2):
                shape = tuple(map(_dimension, dimensions.children(1)))
    return Tensor(name, dtype, shape)


def _dimension(dimension: Span) -> int | str | None:
    for number, value in dimension.fields():
        if number == 1 and isinstance(value, int):
            return value - (1 << 64) if value >> 63 else value
        if number == 2 and isinstance(value, Span):
            return value.text(1024)
    return None


_RKNN_MAGIC = b"RKNN\0\0\0\0"
_RKNN_HEADER = 64  # bytes
_RKNN_FULL, _RKNN_MINI = 6, 0x1004  # file versions
_COMPILER = re.compile(rb"([0-9][0-9A-Za-z.+-]{0,30})\(compiler version: ([\x20-\x7e]{1,100}?)\)\0")
_OURS = b'{"mcwbuild"'  # how the text begins that mcwbuild gives the toolkit as custom_string
_MAX_CUSTOM = 1023  # bytes that the toolkit takes


def _rknn(data: bytes | mmap) -> RknnFacts:
    version, body_end = _rknn_header(data)
    trailer = _rknn_trailer(data, body_end)
    attributes = _rknn_attributes(data, body_end)
    compiler = _COMPILER.search(data, _RKNN_HEADER, body_end)
    if compiler is None:
        raise Broken("it does not name its compiler")
    inputs, outputs = (_rknn_tensors(trailer, side, attributes) for side in ("input", "output"))
    first = attributes[inputs[0].name]
    layout, rgb2bgr = first.get("layout"), first.get("rgb2bgr")
    if not isinstance(layout, str) or not isinstance(rgb2bgr, bool):
        raise Broken("it does not say its input's layout and channel order")
    channel_axis = 3 if layout == "nhwc" else 1
    channels = inputs[0].shape[channel_axis] if len(inputs[0].shape) == 4 else 1
    target = trailer.get("target_platform")
    return RknnFacts(
        toolkit=_text(trailer.get("version"), "toolkit version"),
        compiler=compiler.group(2).decode("ascii"),
        target=tuple(_text(item, "target") for item in (target if isinstance(target, list) else [target])),
        inputs=inputs,
        outputs=outputs,
        mean=_per_channel(first.get("mean"), channels, "mean"),
        std=_per_channel(first.get("std"), channels, "std"),
        rgb2bgr=rgb2bgr,
        layout=layout.upper(),
        custom_string=_custom_string(data, body_end),
        quantized=any(tensor.dtype != "float16" for tensor in (*inputs, *outputs)),
        mini=version == _RKNN_MINI,
    )


def _rknn_header(data: bytes | mmap) -> tuple[int, int]:
    """The file version, and where the body ends."""
    if len(data) < _RKNN_HEADER + 8 or data[:8] != _RKNN_MAGIC:
        raise Broken("it does not begin as one")
    version, size = struct.unpack_from("<QQ", data, 8)
    if version not in (_RKNN_FULL, _RKNN_MINI):
        raise Broken(f"its file version is {version:#x}")
    if size > len(data) - _RKNN_HEADER - 8:
        raise Broken("it is truncated")
    return version, _RKNN_HEADER + size


def _rknn_trailer(data: bytes | mmap, at: int) -> Mapping[str, Any]:
    (size,) = struct.unpack_from("<Q", data, at)
    if size != len(data) - at - 8 or size > MAX_TEXT:
        raise Broken("its length does not fit what it says")
    try:
        trailer = json.loads(data[at + 8 :])
    except (ValueError, RecursionError) as error:
        raise Broken("the text at its end is not JSON") from error
    if not isinstance(trailer, dict):
        raise Broken("the text at its end is not a mapping")
    return trailer


def _rknn_attributes(data: bytes | mmap, end: int) -> dict[str, dict[str, Any]]:
    """The tensors' attributes: a Python dictionary in clear, ended by NUL."""
    start = data.find(b"{'attrs':", _RKNN_HEADER, end)
    stop = data.find(b"\0", start, min(end, start + _MAX_ATTRIBUTES)) if start >= 0 else -1
    if stop < 0:
        raise Broken("it does not describe its tensors")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a damaged file makes the parser say
            found = ast.literal_eval(data[start:stop].decode("utf-8"))["attrs"]
        return {str(name): dict(value) for name, value in found.items()}
    except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
        raise Broken("the description of its tensors cannot be read") from error


def _rknn_tensors(
    trailer: Mapping[str, Any], side: str, attributes: Mapping[str, Mapping[str, Any]]
) -> tuple[Tensor, ...]:
    """The model's inputs or outputs in their order; both descriptions in the file must agree on them."""
    try:
        known = {item["tensor_id"]: item for item in trailer["norm_tensor"]}
        ends = sorted((e for e in trailer["connection"] if e["left"] == side), key=lambda e: int(e["left_tensor_id"]))
        items = [known[end["right_tensor"]["tensor_id"]] for end in ends]
        tensors = tuple(
            Tensor(str(item["url"]), str(item["dtype"]["qnt_type"] or "float16"), tuple(map(int, item["size"])))
            for item in items
        )
        agreed = all(tuple(attributes[tensor.name]["shape"]) == tensor.shape for tensor in tensors)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Broken(f"its {side}s are not described") from error
    if not tensors or not agreed or any(len(tensor.shape) > _MAX_RANK for tensor in tensors):
        raise Broken(f"its two descriptions of its {side}s differ")
    return tensors


def _per_channel(values: Any, channels: Any, what: str) -> tuple[float, ...]:
    """One value a channel; the toolkit may write a single one for all."""
    numbers = values if isinstance(values, list) else []
    sound = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers)
    if not sound or not isinstance(channels, int) or len(numbers) not in (1, channels):
        raise Broken(f"it does not say its input's {what}")
    return tuple(float(v) for v in (numbers * channels if len(numbers) == 1 else numbers))


def _custom_string(data: bytes | mmap, end: int) -> str | None:
    """The text that begins as ours do, whose length stands in the four bytes before it."""
    for at in _places(data, _OURS, end):
        (size,) = struct.unpack_from("<I", data, at - 4)
        if size <= min(_MAX_CUSTOM, end - at - 1) and data[at + size] == 0:
            try:
                return data[at : at + size].decode("utf-8")
            except UnicodeDecodeError as error:
                raise Broken("its custom string is not UTF-8") from error
    return None


def _places(data: bytes | mmap, needle: bytes, end: int) -> Iterable[int]:
    at = data.find(needle, _RKNN_HEADER + 4, end)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1, end)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise Broken(f"it does not say its {what}")
    return value
