"""The part of `npu_inference.py` that measures: latency, throughput, temperatures and frequencies.

Python 3.8 and numpy only.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.timing import Timer
from stages.rknn.program.frames import Frame, held
from stages.rknn.program.pipeline import Limits, Network

MOST_FRAMES = 32  # that are held in memory and used again and again


def generated(contract: Mapping[str, Any]) -> Frame:
    """Noise of the input's size, for a benchmark without pictures."""
    rows, columns = contract["input"]["size"]
    image = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    return Frame("generated noise", held(image))


def measure(
    network: Network, limits: Limits, frames: Sequence[Frame], warmup: int, runs: int, root: Path
) -> dict[str, Any]:
    """Latency of one frame after the other, then the throughput of all contexts, each after `warmup` runs."""
    before = sensors(root)
    timer = Timer()
    for number, frame in enumerate(islice(cycle(frames), warmup + runs)):
        result = network.look(frame, limits)
        if number >= warmup:
            for part, value in zip(timer.parts.values(), result.milliseconds):  # noqa: B905 (3.8)
                part.append(value)
    whole = sum(map(sum, timer.parts.values())) / 1e3
    _at_once(network, limits, frames, warmup)
    start = time.perf_counter()
    _at_once(network, limits, frames, runs)
    seconds = time.perf_counter() - start
    return {
        "warmup": warmup,
        "runs": runs,
        "latency_ms": timer.latency_ms(),
        "fps": {"one_after_the_other": round(runs / whole, 2), "all_contexts": round(runs / seconds, 2)},
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "before": before,
        "after": sensors(root),
    }


def _at_once(network: Network, limits: Limits, frames: Sequence[Frame], runs: int) -> None:
    for _ in network.each(islice(cycle(frames), runs), limits):
        pass


def sensors(root: Path) -> dict[str, dict[str, float]]:
    """Temperatures in degrees Celsius and frequencies in MHz, by the kernel's names; empty where none can be read."""
    temperatures = {
        _text(zone / "type") or zone.name: float(value) / 1000
        for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"))
        for value in [_text(zone / "temp")]
        if value
    }
    frequencies = {
        place.parent.name: float(value) * unit
        for pattern, unit in (
            ("sys/class/devfreq/*/cur_freq", 1e-6),  # hertz
            ("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq", 1e-3),  # kilohertz
        )
        for place in sorted(root.glob(pattern))
        for value in [_text(place)]
        if value
    }
    return {"temperature_c": temperatures, "frequency_mhz": {name: round(mhz) for name, mhz in frequencies.items()}}


def _text(file: Path) -> str:
    """What the kernel says there; empty where it says nothing."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def as_table(measured: Mapping[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{measured['model']} on {measured['chip'] or measured['target']}, {' '.join(measured['cores'])}:"
        f" {measured['runs']} runs after {measured['warmup']}",
        f"{'ms':<12}{'p50':>9}{'p90':>9}{'p99':>9}",
    ]
    for part, row in measured["latency_ms"].items():
        lines.append(f"{part:<12}" + "".join(f"{value:9.2f}" for value in row.values()))
    fps = measured["fps"]
    lines.append(f"FPS         {fps['one_after_the_other']:9.2f} one after the other")
    lines.append(f"            {fps['all_contexts']:9.2f} with {len(measured['cores'])} contexts at once")
    lines.append(f"memory      {measured['peak_memory_mb']:9d} MB at most")
    for kind, unit in (("temperature_c", "degrees C"), ("frequency_mhz", "MHz")):
        after = measured["after"][kind]
        rows = [f"  {name}: {value:g}, then {after.get(name, 0):g}" for name, value in measured["before"][kind].items()]
        lines += [f"{unit}:", *rows] if rows else [f"{unit}: cannot be read here"]
    lines += [f"{name} {version or 'unknown'}" for name, version in measured["versions"].items()]
    return "\n".join(lines)
