"""What the ranges of a network's activations say before anything is quantized: overflow, and parts that do not fit.

A tensor in INT8 has one scale for all of its values, so of parts that are joined in one tensor the small ones get
few of its 255 steps, or none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.common.findings import Finding

FP16_LARGEST = 65504.0  # IEEE 754 binary16
HEADROOM = 2.0  # a few images are looked at; others reach farther, and one bit is little
LEVELS = 255  # steps of INT8
LEAST_LEVELS = 4  # two bits: what has fewer is noise
NAMED = 3  # layers that are told by name


@dataclass(frozen=True)
class Range:
    """A tensor's least and largest value over all images; `op` and `layer` are what made it."""

    tensor: str
    op: str
    layer: str
    low: float
    high: float

    @property
    def magnitude(self) -> float:
        """The largest absolute value; infinity where a value is not finite."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return math.inf
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Joint:
    """A tensor that a Concat makes of parts; `output`: whether it is an output, reshaped perhaps."""

    tensor: str
    layer: str
    parts: tuple[Range, ...]
    output: str = ""

    @property
    def largest(self) -> Range:
        """The part that takes the range."""
        return max(self.parts, key=lambda part: part.magnitude)

    @property
    def starved(self) -> tuple[Range, ...]:
        """The parts that vary and get fewer than `LEAST_LEVELS` of the tensor's steps."""
        if not all(math.isfinite(part.magnitude) for part in self.parts):
            return ()
        low = min(0.0, *(part.low for part in self.parts))
        high = max(0.0, *(part.high for part in self.parts))
        step = (high - low) / LEVELS
        return tuple(part for part in self.parts if 0 < part.high - part.low < LEAST_LEVELS * step)

    @property
    def ratio(self) -> float:
        """How many times as large the largest part is as the smallest that varies."""
        spans = [part.high - part.low for part in self.parts if part.high > part.low]
        return max(spans) / min(spans) if spans else 1.0


def overflow(ranges: Sequence[Range], images: int) -> Finding | None:
    """Values that FP16 cannot hold, or all but; the first layer in the graph's order is the one to look at."""
    large = [one for one in ranges if one.magnitude * HEADROOM > FP16_LARGEST]
    if not large:
        return None
    first, top = large[0], max(large, key=lambda one: one.magnitude)
    beyond = sum(one.magnitude > FP16_LARGEST for one in large)
    reach = "infinity" if math.isinf(first.magnitude) else f"{first.magnitude:.4g}"
    tells = "overflows" if beyond else "is close to the end of"
    return Finding(
        "fp16-overflow",
        f"{first.op} {first.layer} reaches {reach}, which {tells} FP16 (65504).",
        f"{len(large)} layers lie beyond half of FP16's largest value on {images} images: weights grew too large.",
        "Use --dtype int8, or train again with weight decay or normalization in front of that layer.",
        {
            "variant": "fp16",
            "layer": first.layer,
            "op": first.op,
            "tensor": first.tensor,
            "value": first.magnitude if math.isfinite(first.magnitude) else "infinity",
            "limit": FP16_LARGEST,
            "layers": len(large),
            "beyond": beyond,
            "largest_layer": top.layer,
            "images": images,
        },
    )


def joints(found: Sequence[Joint], images: int) -> list[Finding]:
    """Parts that INT8 would starve: in outputs, one finding each; inside of the network, one for the worst."""
    starving = [one for one in found if one.starved]
    inner = [one for one in starving if not one.output]
    made = [_mixed(one, images) for one in starving if one.output]
    if inner:
        made.append(_inner(max(inner, key=lambda one: one.ratio), len(inner), images))
    return made


def _mixed(one: Joint, images: int) -> Finding:
    small, large = one.starved[0], one.largest
    return Finding(
        "mixed-output",
        f"Output {one.output} joins values of {_span(small)} ({small.op} {small.layer}) with values of {_span(large)}.",
        "Boxes and scores in one quantized tensor share one scale: in INT8 every score becomes 0, and nothing says so.",
        f"Cut the graph in front of {one.layer}, so that the parts are outputs of their own; or --dtype fp16.",
        _evidence(one, images) | {"output": one.output},
    )


def _inner(one: Joint, count: int, images: int) -> Finding:
    small, large = one.starved[0], one.largest
    return Finding(
        "concat-range",
        f"Concat {one.layer} joins {_span(small)} ({small.tensor}) with {_span(large)} ({large.tensor}).",
        f"One scale for both leaves the smaller one fewer than {LEAST_LEVELS} of {LEVELS} steps in INT8 "
        f"({count} such layers).",
        "Look at INT8's accuracy; if it fails, keep this layer in FP16 or train with normalization before it.",
        _evidence(one, images) | {"layers": count},
    )


def _evidence(one: Joint, images: int) -> dict[str, object]:
    parts = [{"tensor": part.tensor, "low": part.low, "high": part.high} for part in one.parts]
    return {"variant": "int8", "layer": one.layer, "ratio": round(one.ratio, 2), "parts": parts, "images": images}


def _span(part: Range) -> str:
    return f"{part.low:.3g} to {part.high:.3g}"
