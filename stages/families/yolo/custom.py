"""A YAML of somebody's own, made of Ultralytics' modules alone: written anew, so that the library may build it.

The library evaluates text that stands in a YAML (`activation`, arguments, names of modules), so nothing of a file's
YAML reaches it: what is built is a new one of known names, numbers in bounds, and the few words that arguments may be.
Whether it is the network of the file is proven afterwards, part by part and weight by weight.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

# The head of each task: the last layer of a network, and of nothing else in it.
HEADS: Mapping[str, frozenset[str]] = {
    "detect": frozenset({"Detect", "v10Detect"}),
    "segment": frozenset({"Segment", "Segment26"}),
    "pose": frozenset({"Pose", "Pose26"}),
    "obb": frozenset({"OBB", "OBB26"}),
    "classify": frozenset({"Classify"}),
}
MODULES = frozenset(
    {
        *("A2C2f", "AConv", "ADown", "Bottleneck", "BottleneckCSP", "C1", "C2", "C2PSA", "C2f", "C2fCIB", "C2fPSA"),
        *("C3", "C3Ghost", "C3k2", "C3x", "CBFuse", "CBLinear", "Concat", "Conv", "DWConv", "ELAN1", "Focus"),
        *("GhostBottleneck", "GhostConv", "PSA", "RepC3", "RepNCSPELAN4", "SCDown", "SPP", "SPPELAN", "SPPF"),
        *("nn.ConvTranspose2d", "nn.Identity", "nn.MaxPool2d", "nn.Upsample", "nn.ZeroPad2d"),
    }
)
ACTIVATIONS = frozenset(
    f"{package}{call}"
    for package in ("torch.nn.", "nn.")
    for call in ("SiLU()", "ReLU()", "ReLU6()", "LeakyReLU(0.1)", "Hardswish()", "Mish()", "Identity()")
)
_WORDS = {"nn.Upsample": ("nearest", "bilinear")}  # what an argument may say, by module; heads have _IN_HEADS
_IN_HEADS = ("nc", "kpt_shape")
_SCALE = re.compile(r"[a-z]{0,8}")
MAX_LAYERS, MAX_MODULES = 300, 1000  # layers; modules that they are repeated to. YOLOv9e has 43 layers
MAX_CHANNELS, MAX_SPATIAL = 4096, 64  # a number among arguments; one of a module that changes the image's size
MAX_ARGUMENTS, MAX_SOURCES = 8, 16
MAX_DEPTH, MAX_WIDTH, MAX_REG = 10.0, 4.0, 64


class Unsound(Exception):
    """The YAML is none that can be built here; the text says why, as a sentence's end without its full stop."""


def sound_yaml(found: Mapping[str, Any], task: str, num_classes: int) -> dict[str, Any]:
    """A YAML for a task, written anew. Raises Unsound where a part of it is not known to be harmless."""
    scale = found.get("scale") or next(iter(found.get("scales") or ()), "")  # as the library chooses
    if not isinstance(scale, str) or not _SCALE.fullmatch(scale):
        raise Unsound("its scale is no word")
    depth, width, limit = _scaling(found, scale)
    layers = [part for name in ("backbone", "head") for part in _rows(found.get(name), name)]
    if not 2 <= len(layers) <= MAX_LAYERS or not isinstance(found["backbone"], list) or not found["backbone"]:
        raise Unsound(f"it has {len(layers)} layers")
    kinds = HEADS[task]
    rows = [_layer(index, row, kinds if index == len(layers) - 1 else MODULES) for index, row in enumerate(layers)]
    if sum(max(1.0, row[1] * depth) for row in rows) > MAX_MODULES:
        raise Unsound(f"its layers are repeated more than {MAX_MODULES} times")
    split = len(found["backbone"])
    made: dict[str, Any] = {"backbone": rows[:split], "head": rows[split:], "nc": num_classes}
    if limit is None:
        made |= {"depth_multiple": depth, "width_multiple": width, "scale": scale}
    else:
        made |= {"scales": {scale: [depth, width, limit]}, "scale": scale}
    return {**made, **_options(found)}


def _options(found: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that hold for the whole network."""
    made: dict[str, Any] = {}
    if (activation := found.get("activation")) is not None:
        if activation not in ACTIVATIONS:
            raise Unsound("its activation is not one of PyTorch's that are known here")
        made["activation"] = next(known for known in ACTIVATIONS if known == activation)
    if (reg_max := found.get("reg_max")) is not None:
        made["reg_max"] = _whole(reg_max, 1, MAX_REG, "its reg_max")
    if (end2end := found.get("end2end")) is not None:
        if not isinstance(end2end, bool):
            raise Unsound("its end2end is neither true nor false")
        made["end2end"] = end2end
    if found.get("channels", found.get("ch", 3)) != 3:
        raise Unsound("its images do not have three channels")
    return made


def _scaling(found: Mapping[str, Any], scale: str) -> tuple[float, float, int | None]:
    """Depth, width and the most channels; the last is None where the YAML has no scales."""
    scales = found.get("scales")
    if not scales:
        parts: list[Any] = [found.get("depth_multiple", 1.0), found.get("width_multiple", 1.0)]
    else:
        chosen = scales.get(scale) if isinstance(scales, dict) else None
        if not isinstance(chosen, list) or len(chosen) != 3:
            raise Unsound("its scales do not have its scale")
        parts = chosen
    depth, width = (
        _number(part, most, f"its {name}")
        for part, most, name in zip(parts, (MAX_DEPTH, MAX_WIDTH), ("depth", "width"), strict=False)
    )
    return depth, width, _whole(parts[2], 8, MAX_CHANNELS, "its channels' limit") if len(parts) > 2 else None


def _rows(value: Any, name: str) -> Iterator[list[Any]]:
    if not isinstance(value, list):
        raise Unsound(f"its {name} is no list of layers")
    for row in value:
        if not isinstance(row, list) or len(row) != 4:
            raise Unsound(f"a layer of its {name} is not [from, number, module, arguments]")
        yield row


def _layer(index: int, row: list[Any], kinds: frozenset[str]) -> list[Any]:
    """[from, number, module, arguments] of layer `index`, which has to be one of `kinds`."""
    sources, number, module, arguments = row
    known = next((kind for kind in kinds if kind == module), None)
    if known is None:
        shown = ascii(module)[1:-1][:40] if isinstance(module, str) else type(module).__name__
        raise Unsound(f"its layer {index} is {shown}, which is not one that is known in that place")
    listed = sources if isinstance(sources, list) else [sources]
    if not 1 <= len(listed) <= MAX_SOURCES or not all(
        type(part) is int and (-max(index, 1) <= part < index or part == -1) for part in listed
    ):
        raise Unsound(f"its layer {index} takes what no layer before it gives")
    if not isinstance(arguments, list) or len(arguments) > MAX_ARGUMENTS:
        raise Unsound(f"the arguments of its layer {index} are no short list")
    spatial = known.startswith("nn.") and known != "nn.ConvTranspose2d"
    words = _IN_HEADS if kinds is not MODULES else _WORDS.get(known, ())
    made = [_argument(part, words, MAX_SPATIAL if spatial else MAX_CHANNELS, index) for part in arguments]
    repeats = _whole(number, 1, MAX_MODULES, f"the number of its layer {index}")
    return [list(listed) if isinstance(sources, list) else sources, repeats, known, made]


def _argument(value: Any, words: tuple[str, ...], most: int, layer: int, inner: bool = False) -> Any:
    if value is None or value == "None" or isinstance(value, bool):
        return None if value == "None" else value
    if type(value) is int and abs(value) <= most:
        return value
    if type(value) is float and math.isfinite(value) and abs(value) <= most:
        return value
    if isinstance(value, str) and value in words:
        return next(word for word in words if word == value)
    if isinstance(value, list) and not inner and len(value) <= MAX_ARGUMENTS:
        return [_argument(part, (), most, layer, inner=True) for part in value]
    raise Unsound(f"an argument of its layer {layer} is {ascii(value)[:40]}")


def _number(value: Any, most: float, name: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 < value <= most:
        raise Unsound(f"{name} is not above 0 and at most {most:g}")
    return float(value)


def _whole(value: Any, least: int, most: int, name: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Unsound(f"{name} is not a whole number from {least} to {most}")
    return value
