"""The gate on speed: how many times as fast as ONNX on a CPU the NPU is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mcwbuild.contract.limits import SPEEDUP, Override
from mcwbuild.contract.performance import Gate, Status

__all__ = ["EXPECTED", "SPEEDUP", "factor", "speed_gate"]

# What users are told to expect, times ONNX on the CPU of the machine that built the model.
EXPECTED: dict[str, tuple[float, float]] = {"fp16": (2.0, 4.0), "int8": (4.0, 8.0)}


def speed_gate(
    variant: str, reference: float | None, measured: float | None, given: Iterable[Override], reason: str = ""
) -> Gate:
    """Judge `measured` images a second, one at a time, against ONNX Runtime's `reference` on the CPU.

    Slower than a limit that somebody set is failed. Slower than users are told to expect is undecided, a warning: the
    CPU was the building machine's, and that may be any. A figure that is missing leaves it unmeasured.
    """
    own = [one.limit.value for one in given if one.key == variant and one.metric == SPEEDUP]
    least = own[-1] if own else EXPECTED[variant][0]
    if not reference or not measured:
        lacking = reason or f"{'The NPU' if reference else 'ONNX on the CPU'} was not timed."
        return _gate(variant, "unmeasured", lacking, reference, measured)
    times = measured / reference
    said = f"The {variant} model runs {times:.2f} times as fast as ONNX on the building machine's CPU"
    said += f" ({measured:.1f} and {reference:.1f} images a second, one at a time)"
    if own:
        status: Status = "passed" if times >= least else "failed"
        return _gate(variant, status, f"{said}: {least:g} is the least that was set.", reference, measured)
    low, high = EXPECTED[variant]
    text = f"{said}; {low:g} to {high:g} are usual."
    if times >= low:
        return _gate(variant, "passed", text, reference, measured)
    hint = (
        f"That depends on the CPU: --gate {variant}.{SPEEDUP}={low:g} makes it a gate. Check the NPU's clock and load."
    )
    return _gate(variant, "undecided", f"{text} {hint}", reference, measured)


def _gate(variant: str, status: Status, reason: str, reference: float | None, measured: float | None) -> Gate:
    return Gate(SPEEDUP, "onnx", None, None, status, reason, variant=variant, previous=reference, current=measured)


def factor(gate: Mapping[str, Any]) -> float | None:
    """How many times as fast it is, from a speed gate of a record; None where it was not measured."""
    if gate["status"] == "unmeasured":
        return None
    return float(gate["current"]) / float(gate["previous"])
