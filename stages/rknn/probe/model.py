"""One model on the board: its outputs beside the simulator's, its results, its times.

Part of the archive of `mcwbuild board pack`; what is measured is the package's own `npu_inference.py`, by its own
functions. Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.common.agreement import compare_outputs
from stages.rknn.probe import machine, results

WARMUP_RUNS = 10  # the first ones include the weights' upload, and clocks rise
TIMED_RUNS = 100  # p99 is the second slowest then


def measure(program: Any, file: str, pack: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The record's blocks for one model. Raises `program.Stop`."""
    data = json.loads(program.DATA)
    log = program.RuntimeLog()
    try:
        args = program.parse(["--benchmark", "--model", str(folder / file)], data)
        session = program.Session(args, data, program.VIEW, folder, machine.ROOT, log)
        network = program.open_network(session, folder / file, len(data["core_masks"]))
        try:
            known = program.described(session, folder / file, network)
            return _measured(_Bench(program, data, network, log, pack, folder, file), known, session.limits)
        finally:
            network.release()
    finally:
        log.close()


class _Bench:
    """The opened model with all that its measurements need."""

    def __init__(
        self, program: Any, data: Mapping[str, Any], network: Any, log: Any, pack: Mapping[str, Any], folder: Path,
        file: str,
    ) -> None:  # fmt: skip
        self.program, self.data, self.network, self.log = program, data, network, log
        self.pack, self.folder, self.file = pack, folder, file
        self.expected = folder / file.replace("best_", "expected_").replace(".rknn", ".npz")
        colours = data["contract"]["input"]["format"]
        self.frames = [
            program.Frame(entry["file"], program.held(program.read(folder / entry["file"], colours)))
            for entry in pack["images"]
        ]

    def kept(self) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """The inputs that the package kept, uint8 [H, W, C], with what the simulator gave for them."""
        if not self.expected.is_file():
            return
        with np.load(str(self.expected), allow_pickle=False) as found:
            for name in found.files:
                kind, _, number = name.partition(" ")
                if kind == "input":
                    outputs = range(len(self.data["head"]["outputs"]))
                    yield found[name], [found[f"output {number} {place}"] for place in outputs]


def _measured(bench: _Bench, known: Mapping[str, Any], limits: Any) -> dict[str, Any]:
    comparison = _drift(bench)
    found = _results(bench)
    frames = bench.frames or [bench.program.Frame("kept", bench.program.held(image)) for image, _ in bench.kept()]
    frames = frames[: bench.program.MOST_FRAMES] or [bench.program.generated(bench.data["contract"])]
    figures = bench.program.measure(bench.network, limits, frames, WARMUP_RUNS, TIMED_RUNS, machine.ROOT)
    model = next(one for one in bench.data["models"] if one["file"] == bench.file)
    fps = figures["fps"]["all_contexts"]
    return {
        "device": machine.device(known["chip"], known["versions"]),
        "model_info": {
            "file": bench.file,
            "sha256": model["sha256"],
            "size": (bench.folder / bench.file).stat().st_size,
        },
        "comparison_with_simulator": comparison,
        "inference_performance": {
            "latency_ms": figures["latency_ms"],
            "runs": figures["runs"],
            "warmup": figures["warmup"],
            "fps": round(1000 / figures["latency_ms"]["total"]["p50"], 2),
        },
        "throughput": {
            "fps": fps,
            "cores": len(known["cores"]),
            "frames": figures["runs"],
            "seconds": round(figures["runs"] / fps, 3),
        },
        "conditions": {
            "memory_mb": figures["peak_memory_mb"],
            "temperatures_before": figures["before"]["temperature_c"],
            "temperatures_after": figures["after"]["temperature_c"],
            "clocks_mhz": figures["after"]["frequency_mhz"],
            "governors": machine.governors(),
        },
        "results": found,
    }


def _drift(bench: _Bench) -> dict[str, Any]:
    """Every output for the kept inputs beside what the simulator gave for them."""
    count = 0

    def pairs() -> Iterator[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]:
        nonlocal count
        for prepared, wanted in bench.kept():
            count += 1
            yield wanted, bench.program.infer(bench.network.contexts[0], prepared, bench.log, bench.data)

    rows = compare_outputs(pairs(), bench.data["head"]["outputs"])
    if not count:
        return {"status": "unmeasured", "reason": f"The package holds no {bench.expected.name}."}
    return {
        "reference": {"file": bench.expected.name},
        "metrics": None,
        "metrics_reason": "`mcwbuild board merge` judges the results.",
        "outputs": rows,
        "images": count,
    }


def _results(bench: _Bench) -> dict[str, Any]:
    """What is found in the packed images at the evaluator's thresholds, or why it is not told."""
    if not bench.frames:
        return {"text": None, "reason": "The archive holds no images (pack with --data)."}
    if bench.data["contract"]["model"]["task"] == "generic":
        return {"text": None, "reason": "A generic network has nothing but its outputs."}
    wanted = bench.pack["evaluation"]
    limits = bench.program.Limits(wanted["confidence"], wanted["iou"], wanted["max_detections"])
    try:
        found = [bench.network.look(frame, limits).found for frame in bench.frames]
        return {"text": results.encode(found), "reason": None}
    except results.TooLarge as error:
        return {"text": None, "reason": f"The results take too much room: {error}. Pack fewer images."}
