"""A file with the outside of a `.rknn` and no network inside: what `read_rknn`, and so the stand-in board, looks at."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

TOOLKIT = "2.3.2"
Shapes = Mapping[str, Sequence[int]]


def rknn_file(
    contract: Mapping[str, Any],
    contract_sha256: str,
    outputs: Shapes,
    target: str = "rk3576",
    quantized: bool = True,
    toolkit: str = TOOLKIT,
) -> bytes:
    """The file's bytes for a contract and the outputs' names and shapes."""
    size, channels = contract["input"]["size"], contract["input"]["channels"]
    normal = contract["preprocessing"]["normalize"]
    inputs = {"images": [1, channels, *size]}
    attributes: dict[str, Any] = {name: {"shape": list(shape)} for name, shape in {**inputs, **outputs}.items()}
    attributes["images"] |= {
        "layout": "nchw",
        "rgb2bgr": False,
        "mean": normal["mean"] if normal["enabled"] else [0.0] * channels,
        "std": normal["std"] if normal["enabled"] else [1.0] * channels,
    }
    custom = json.dumps({"mcwbuild": "0", "contract_sha256": contract_sha256, "model": "test"}).encode("ascii")
    body = (
        repr({"attrs": attributes}).encode("utf-8")
        + f"\0{toolkit}(compiler version: {toolkit} (tests))\0".encode("ascii")
        + struct.pack("<I", len(custom))
        + custom
        + b"\0"
    )
    trailer = json.dumps(_trailer(inputs, outputs, target, quantized, toolkit)).encode("ascii")
    header = b"RKNN\0\0\0\0" + struct.pack("<QQ", 6, len(body))
    return header.ljust(64, b"\0") + body + struct.pack("<Q", len(trailer)) + trailer


def _trailer(inputs: Shapes, outputs: Shapes, target: str, quantized: bool, toolkit: str) -> dict[str, Any]:
    tensors, ends = [], []
    for side, shapes in (("input", inputs), ("output", outputs)):
        for number, (name, shape) in enumerate(shapes.items()):
            dtype = {"qnt_type": "int8" if quantized else ""}
            ends.append({"left": side, "left_tensor_id": number, "right_tensor": {"tensor_id": len(tensors)}})
            tensors.append({"tensor_id": len(tensors), "url": name, "size": list(shape), "dtype": dtype})
    return {"version": toolkit, "target_platform": [target], "norm_tensor": tensors, "connection": ends}
