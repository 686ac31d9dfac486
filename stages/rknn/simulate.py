"""Measuring a build on the toolkit's simulator, in the process that built it."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import disk
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.performance import main_metric, unmeasured
from mcwbuild.contract.results import as_data
from stages.common import evaluation_file, kept_results
from stages.common.agreement import in_words
from stages.common.device import cpu_model
from stages.common.evaluate import Evaluation, Picture
from stages.common.evaluation_file import Kept
from stages.common.keeping import Keeping, Place
from stages.rknn import hybrid, measure
from stages.rknn.expected import Expected
from stages.rknn.job import Job, Measured
from stages.rknn.toolkit import Toolkit, ToolkitFailure
from stages.rknn.tune import proxy

SIMULATED = "The simulator's time says nothing about the NPU's; no board was attached."


class SimulatorRunner:
    """A `stages.common.evaluate.Runner` over the simulator; the outputs come in the graph's order."""

    def __init__(self, toolkit: Toolkit, platform: str) -> None:
        self._toolkit, self._platform = toolkit, platform

    @property
    def device(self) -> Mapping[str, Any]:
        """What it runs on."""
        versions = {"rknn-toolkit2": version("rknn-toolkit2"), "onnxruntime": version("onnxruntime")}
        where = {"kind": "simulator", "model": self._platform, "cpu": cpu_model()}
        return {**where, "backend": "rknn-toolkit2", "versions": versions}

    def feed(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [1, H, W, C]: the model normalises by itself."""
        return prepared[None]

    def run(self, feed: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The outputs, float32, for one image."""
        return self._toolkit.infer(feed)

    def alone(self) -> SimulatorRunner:
        """Itself: the simulator computes in the thread that calls it."""
        return self


def measured(toolkit: Toolkit, job: Job, bench: Bench) -> Measured:
    """Measure what `toolkit` has built: beside ONNX Runtime first, then its accuracy where that is worth it."""
    runner = SimulatorRunner(toolkit, job.platform)
    images, expected = measure.test_images(job), Expected()
    with bench.step(f"{job.name} compare", "with ONNX Runtime") as step:
        toolkit.call("init_runtime")
        comparison = measure.compare(runner, job, images, step.progress, expected)
        step.result = in_words(comparison.outputs)
    pruned = proxy.pruned(comparison.outputs, job.prune_below)
    verdict = Evaluation(unmeasured(pruned), {}, (), ()) if pruned else _accuracy(runner, job, images, bench)
    return Measured(
        device=runner.device,
        metrics=verdict.metrics,
        inference=simulated(verdict.inference) if verdict.inference else {},
        comparison=asdict(comparison),
        not_finite=list(verdict.not_finite),
        kept=_keep(verdict, Path(job.export).with_name("evaluation.npz"), bench),
        expected=expected.write(Path(job.export).with_name("expected.npz"), verdict.per_image),
        shown=None if pruned else as_data(kept_results.found_in(verdict, job.contract, job.confidence)),
        pruned=pruned,
        layers=_layers(toolkit, job, bench),
        seconds=toolkit.seconds,
        peak_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def simulated(inference: Mapping[str, Any]) -> dict[str, Any]:
    """`inference_performance` of the simulator: its times are no latency, and nothing is known of the NPU's."""
    unknown = {"latency_ms": None, "latency_reason": SIMULATED, "fps": None, "fps_reason": SIMULATED}
    return {**inference, **unknown, "simulator_ms": inference["latency_ms"]}


def _accuracy(runner: SimulatorRunner, job: Job, images: list[Picture], bench: Bench) -> Evaluation:
    with bench.step(f"{job.name} test", f"{len(images)} images on the simulator") as step:
        verdict = measure.accuracy(runner, job, images, step.progress, _keeping(job, bench))
        metric = main_metric(job.contract["model"]["task"])
        reached = verdict.metrics.get(metric)
        step.result = "accuracy not measured" if reached is None else f"{metric} {reached:.4f}"
    return verdict


def _keeping(job: Job, bench: Bench) -> Keeping | None:
    """That the evaluation is kept, with all that a build's results depend on: its bytes differ from build to build."""
    if not job.kept:
        return None

    def about() -> dict[str, Any]:
        left_out = ("name", "model", "export", "calibration", "images", "threads", "ranges", "kept", "left", "analyse")
        told = {name: value for name, value in asdict(job).items() if name not in left_out}
        listing = None if job.calibration is None else Path(job.calibration)
        lines = listing.read_text("ascii").split() if listing else []
        calibration = [disk.sha256_of(listing.parent / line) for line in lines] if listing else []
        return {**told, "sha256": disk.sha256_of(Path(job.model)), "calibrated": calibration}

    place = Place(Path(job.kept), Path(job.left) if job.left else None, own=False)
    return Keeping(place, about, bench.note)


def _layers(toolkit: Toolkit, job: Job, bench: Bench) -> list[dict[str, Any]]:
    """Each layer's error; none where they were not asked for, or the toolkit's analysis fails, which is said."""
    if not job.analyse or job.calibration is None:
        return []
    with bench.step(f"{job.name} layers", "each layer's error by the toolkit's analysis") as step:
        try:
            found = [asdict(layer) for layer in hybrid.analysis(toolkit, job)]
        except (ToolkitFailure, OSError) as error:
            bench.note(f"The layers' errors are not known: {error}.", "warning")
            found = []
        step.result = f"{len(found)} layers"
    return found


def _keep(verdict: Evaluation, path: Path, bench: Bench) -> str:
    """The file with what is kept image by image, for the gates; empty where there is nothing or too much of it."""
    if verdict.per_image is not None:
        evaluation_file.write(Kept("", "", verdict.per_image), path, bench)
    return str(path) if path.is_file() else ""
