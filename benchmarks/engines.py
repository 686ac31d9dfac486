"""What a container adds to a stage: each phase through the docker engine and through the local one, in turns.

Both engines get the same call: the inputs of the example's packages, the threads of this machine, no dataset, so that a
stage does its least. The figure is the seconds that the docker engine takes more, from the call to the exit code, its
container removed. Needs Docker with the three images (`mcwbuild images build`) and the local environments.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from pathlib import Path

import sides

from mcwbuild.contract.phases import ONNX, PHASES, PT, Phase
from mcwbuild.engines import Engine, StageCall
from mcwbuild.engines.docker.engine import DockerEngine
from mcwbuild.engines.local import LocalEngine

GOAL = sides.Goal("more", 1.5)


def call(phase: Phase, run: Path, folder: Path, threads: int) -> StageCall:
    """One call of the phase on the packages of the run `run`, with a staging folder of its own below `folder`."""
    of_pt, of_onnx = run / PT.package, run / ONNX.package
    inputs = {
        "pt": (("--pt", of_pt / "best.pt"),),
        "onnx": (("--pt", of_pt / "best.pt"), ("--source", of_pt / PT.source)),
        "rknn": (("--onnx", of_onnx / "best.onnx"), ("--source", of_onnx / ONNX.source)),
    }[phase.name]
    own = {"pt": ("--name", "shapes"), "onnx": (), "rknn": ("--target", "rk3588", "--dtype", "fp16")}[phase.name]
    staging = Path(tempfile.mkdtemp(dir=folder))
    options = (*own, "--threads", str(threads))
    return StageCall(phase, inputs, options, staging, folder / f"{phase.name}.log", secrets.token_hex(4))


def seconds(engine: Engine, made: StageCall) -> float:
    """Runs the call to its end. Raises BenchmarkError where the stage does not succeed."""
    start = time.perf_counter()
    code = engine.run(made, lambda _event: None)
    taken = time.perf_counter() - start
    if code != 0:
        raise sides.BenchmarkError(f"{engine.name}: the {made.phase.name} stage ended with {code}: {made.log}")
    return taken


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row for each phase."""
    docker, local = DockerEngine(), LocalEngine()
    made = []
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        for phase in PHASES.values():

            def timed(engine: Engine, phase: Phase = phase) -> float:
                return seconds(engine, call(phase, args.run, Path(folder), args.threads))

            times = sides.alternate(lambda: timed(docker), lambda: timed(local), args.rounds)
            made.append(sides.Row(f"the {phase.name} stage", "`--engine docker`", "`--engine local`", *times, GOAL))
    return made


if __name__ == "__main__":
    sides.main(__doc__, rows, "--run")
