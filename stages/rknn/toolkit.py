"""The child process around RKNN-Toolkit2: `python -P -m stages.rknn.toolkit JOB ANSWER PIPE PARENT`.

The only importer of `rknn.api`. The toolkit prints from C, aborts, returns -1 or None and raises, and its
simulator runs only what the same process built; so one process makes one model and measures it.

* The toolkit is loaded first. JOB, a `job.Job` as JSON, lies there when standard input ends; without it, there is
  nothing to do. ANSWER is written last, as `{"measured": ...}`, `{"failure": {step, cause}}` or
  `{"error": ...}` (a typed error of the contract). A process that ends without it was killed.
* Events go to the file descriptor PIPE, one JSON line each. All that is printed belongs to the log.
* The process dies with its parent, whose process id is PARENT.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.bench import Bench, leave
from mcwbuild.contract.errors import McwbuildError
from mcwbuild.contract.events import Event, to_line
from mcwbuild.contract.performance import main_metric, unmeasured
from stages.common import evaluation_file
from stages.common.agreement import in_words
from stages.common.device import cpu_model
from stages.common.evaluate import Evaluation, Picture
from stages.common.evaluation_file import Kept
from stages.common.leash import tie_to
from stages.rknn import hybrid, measure
from stages.rknn.expected import Expected
from stages.rknn.job import Job, Measured
from stages.rknn.tune import proxy

_IOLBF = 1  # stdio.h of glibc
SIMULATED = "The simulator's time says nothing about the NPU's; no board was attached."


class ToolkitFailure(Exception):
    """A call of the toolkit that did not do its work: which, and why in the toolkit's own words."""

    def __init__(self, step: str, cause: str) -> None:
        super().__init__(step, cause)
        self.step, self.cause = step, cause


class Toolkit:
    """RKNN-Toolkit2's object, each of its ways to fail turned into ToolkitFailure."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._rknn: Any = None
        with self._timed("import"):
            self.renew()

    def renew(self) -> None:
        """Begin with a new object: the second step of a hybrid quantization needs one."""
        from rknn.api import RKNN

        self._rknn = RKNN(verbose=True)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        except (ValueError, ImportError, RuntimeError, MemoryError) as error:
            raise ToolkitFailure(step, last_line(error)) from error
        finally:
            self.seconds[step] = round(time.monotonic() - start, 3)

    def call(self, step: str, *args: Any, **options: Any) -> None:
        """Call the toolkit's function `step`, which returns 0 where it worked."""
        with self._timed(step):
            result = getattr(self._rknn, step)(*args, **options)
        if result != 0:
            raise ToolkitFailure(step, f"{step} returned {result!r}")

    def infer(self, prepared: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The simulator's outputs for uint8 [1, H, W, C]; mean and std are applied inside."""
        with self._timed("inference"):
            outputs: list[NDArray[np.float32]] | None = self._rknn.inference([prepared], data_format=["nhwc"])
        if outputs is None:
            raise ToolkitFailure("inference", "inference returned None")
        return outputs


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


def last_line(error: BaseException) -> str:
    """The toolkit raises whole tracebacks as text; the cause is the last line of it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def build(toolkit: Toolkit, job: Job) -> None:
    """Configure, load, build and export."""
    chosen = job.quantization
    quantized: dict[str, Any] = {}
    if chosen is not None:
        quantized = {"quantized_algorithm": chosen.algorithm, "quantized_method": chosen.method}
        if chosen.auto_hybrid is not None:
            quantized["auto_hybrid_cos_thresh"] = chosen.auto_hybrid

    def configure() -> None:
        toolkit.call(
            "config",
            mean_values=[list(job.mean)],
            std_values=[list(job.std)],
            target_platform=job.platform,
            optimization_level=job.optimization_level,
            custom_string=job.custom_string,
            **quantized,
            **({"disable_rules": list(job.disabled_rules)} if job.disabled_rules else {}),
        )

    configure()
    toolkit.call("load_onnx", job.model)
    if chosen is not None and chosen.layers:
        files = hybrid.first_step(toolkit, Path(job.model).stem, job.calibration, chosen.layers)
        toolkit.renew()
        configure()
        toolkit.call("hybrid_quantization_step2", *map(str, files))
    else:
        automatic = {"auto_hybrid": True} if chosen is not None and chosen.auto_hybrid is not None else {}
        toolkit.call("build", do_quantization=chosen is not None, dataset=job.calibration, **automatic)
    toolkit.call("export_rknn", job.export)


def work(toolkit: Toolkit, job: Job, bench: Bench) -> Measured:
    """Build and measure one variant: beside ONNX Runtime first, then its accuracy where that is worth it."""
    with bench.step(f"{job.name} build", job.platform) as step:
        build(toolkit, job)
        step.result = f"{Path(job.export).stat().st_size / 1e6:.1f} MB"
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
        verdict = measure.accuracy(runner, job, images, step.progress)
        metric = main_metric(job.contract["model"]["task"])
        reached = verdict.metrics.get(metric)
        step.result = "accuracy not measured" if reached is None else f"{metric} {reached:.4f}"
    return verdict


def _layers(toolkit: Toolkit, job: Job, bench: Bench) -> list[dict[str, Any]]:
    """Each layer's error; none where they were not asked for, or the toolkit's analysis fails, which is said."""
    if not job.analyse or job.calibration is None:
        return []
    with bench.step(f"{job.name} layers", "each layer's error by the toolkit's analysis") as step:
        try:
            found = [asdict(layer) for layer in hybrid.analysis(toolkit, job.calibration)]
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


def print_line_by_line() -> None:
    """Have C code write whole lines: else its tables and Python's lines tear each other, and an abort loses them."""
    c = ctypes.CDLL(None)
    c.setvbuf(ctypes.c_void_p.in_dll(c, "stdout"), None, _IOLBF, 0)


def answer(function: Callable[[], Measured]) -> dict[str, Any]:
    """What `function` found, or how it failed, as JSON data. The boundary of the child's process."""
    try:
        return {"measured": asdict(function())}
    except ToolkitFailure as failure:
        return {"failure": {"step": failure.step, "cause": failure.cause}}
    except McwbuildError as error:
        return {"error": error.as_dict()}
    except BaseException as unknown:  # the toolkit raises whatever its libraries raise, SystemExit included
        return {"failure": {"step": "toolkit", "cause": f"{type(unknown).__name__}: {last_line(unknown)}"}}


def main(argv: list[str]) -> int:
    """Do one job. Returns 0 whenever an answer was written."""
    tie_to(int(argv[3]))
    print_line_by_line()
    with os.fdopen(int(argv[2]), "w", encoding="ascii", buffering=1) as pipe:

        def emit(event: Event) -> None:
            pipe.write(to_line(event) + "\n")

        def loaded_and_done() -> Measured:
            toolkit = Toolkit()
            sys.stdin.read()
            job = Job.read(Path(argv[0]))
            return work(toolkit, job, Bench(Path.cwd(), Path.cwd(), job.threads, emit))

        found = answer(loaded_and_done)
    # A temporary name first: the parent takes the file's presence for a whole answer.
    partial = Path(argv[1] + ".partial")
    partial.write_text(json.dumps(found), "ascii")
    partial.rename(argv[1])
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
