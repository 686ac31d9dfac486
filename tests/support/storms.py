"""kill -9 at random moments of a run whose three stages copy finished packages: the real pipeline, engines and gates.

After each kill nothing is torn and no stage is left for long; the run after it finishes, takes every whole package for
fresh, and leaves nothing else behind.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mcwbuild import inspection, pipeline
from mcwbuild.contract.phases import ONNX, PHASES, PT, RKNN, Phase
from mcwbuild.engines import Engine
from mcwbuild.engines.local import LocalEngine
from mcwbuild.pipeline import Outcome
from mcwbuild.plan import Step
from tests.campaign.series import Made
from tests.support import containers
from tests.support.engines import Silent, alive, toy_environment, write_package

STAGE = Path(__file__).with_name("copying_stage.py")
SETTLE = 5.0  # seconds until no stage of a killed run is left; two is promised where the machine is not busy
STRETCH = 1.1  # of a run's time: the end counts too
LEFTOVERS = (".tmp-*", ".old-*", "..*", ".lock-holder", "*/.tmp-*")
Left = Callable[[str], Sequence[object]]  # what is left of the run in the folder of this name


class Kept(Silent):
    """Keeps the outcomes."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def end(self, outcome: Outcome) -> None:
        """The state of its package."""
        self.states.append(outcome.state)


def code(folder: Path) -> Path:
    """A code folder whose stages copy."""
    for phase in PHASES.values():
        place = folder / "stages" / phase.name
        place.mkdir(parents=True)
        shutil.copy(STAGE, place / "__main__.py")
    return folder


def prepare(base: Path) -> None:
    """The model and the finished packages that every trial takes."""
    base.mkdir(exist_ok=True)
    (base / "best.pt").write_bytes(b"a model")
    for phase in PHASES.values():
        write_package(base / "made" / phase.package, phase)


@contextmanager
def local(base: Path) -> Iterator[LocalEngine]:
    """The local engine with bare environments."""
    with patch.dict(os.environ, {"MCWBUILD_CACHE": str(base / "cache")}):
        for phase in PHASES.values():
            toy_environment(phase)
        yield LocalEngine(source=code(base / "code"))


def steps(base: Path, out: Path, phases: Sequence[Phase]) -> list[Step]:
    """One step for each phase."""
    inputs = (("--pt", base / "best.pt"), ("--model-code", base / "made"))
    options: Mapping[Phase, tuple[str, ...]] = {PT: (), ONNX: (), RKNN: ()}
    return [Step(phase.name, phase, inputs, options[phase], (), out / phase.package) for phase in phases]


def _run(engine: Engine, base: Path, out: Path, phases: Sequence[Phase]) -> int:
    """The run in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with (out.parent / f"{out.name}.told").open("w") as told:
            os.dup2(told.fileno(), 2)
            reporter = Kept()
            pipeline.execute(steps(base, out, phases), engine, out, reporter)
            (out.parent / f"{out.name}.states").write_text(" ".join(reporter.states))
            code = 0
    except Exception:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _finish(engine: Engine, base: Path, out: Path, phases: Sequence[Phase]) -> list[str]:
    """Run to the end; the states of its packages. Raises AssertionError where it fails."""
    _, status = os.waitpid(_run(engine, base, out, phases), 0)
    told = (out.parent / f"{out.name}.told").read_text()
    assert status == 0, f"the next run fails: {told[-500:]}"
    return (out.parent / f"{out.name}.states").read_text().split()


def run(
    numbers: Sequence[int], seed: str, engine: Engine, base: Path, left: Left = alive, phases: Sequence[Phase] = ()
) -> Made:
    """The trials of these numbers, a third of them with a second kill, which comes while the first is put right."""
    phases = phases or tuple(PHASES.values())
    made = Made(facts={"kills": 0, "in the middle of a run": 0})
    with tempfile.TemporaryDirectory(prefix="mcw-storm-") as text:
        seconds = statistics.median(_timed(engine, base, Path(text) / f"calm{at}", phases) for at in range(3))
        for number in numbers:
            rng = random.Random(f"{seed}-{number}")
            out = Path(text) / f"trial{number}"
            out.mkdir()
            try:
                outcome = _trial(engine, base, out, phases, rng, seconds, left, made.facts)
            except AssertionError as error:
                outcome = "violation"
                made.violations.append(f"trial {number} of seed {seed}: {error!s:.500}")
            made.outcomes[outcome] += 1
            shutil.rmtree(out)
    return made


def _timed(engine: Engine, base: Path, out: Path, phases: Sequence[Phase]) -> float:
    out.mkdir()
    begun = time.monotonic()
    _finish(engine, base, out, phases)
    return time.monotonic() - begun


def _trial(
    engine: Engine,
    base: Path,
    out: Path,
    phases: Sequence[Phase],
    rng: random.Random,
    seconds: float,
    left: Left,
    facts: dict[str, Any],
) -> str:
    for _ in range(2 if rng.random() < 1 / 3 else 1):
        child = _run(engine, base, out, phases)
        time.sleep(rng.uniform(0, STRETCH * seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        facts["kills"] += 1
        facts["in the middle of a run"] += os.WIFSIGNALED(status)
        begun = time.monotonic()
        while (living := left(str(out))) and time.monotonic() - begun < SETTLE:
            time.sleep(0.02)
        assert not living, f"left after {SETTLE} s: {living}"
        whole = _whole(out, phases)
    states = _finish(engine, base, out, phases)
    assert states[: len(whole)] == ["fresh"] * len(whole), f"{whole} were whole, and the next run says {states}"
    assert len(_whole(out, phases)) == len(phases)
    over = [path.name for pattern in LEFTOVERS for path in out.glob(pattern)]
    assert not over, f"left over: {over}"
    assert not left(str(out))
    return f"after {whole[-1] if whole else 'nothing'}"


def _whole(out: Path, phases: Sequence[Phase]) -> list[str]:
    """The phases whose packages are there. Raises AssertionError where one is torn."""
    there = [phase for phase in phases if (out / phase.package).exists()]
    for phase in there:
        wrong = inspection.inspect(out / phase.package, phase)
        assert not wrong, f"torn: {wrong}"
    return [phase.name for phase in there]


@contextmanager
def docker(base: str) -> Iterator[tuple[Engine, Left]]:
    """The docker engine with images whose stages copy, made from the Python of `base`; what tells the living ones."""
    from docker import DockerClient

    from mcwbuild.engines.docker import daemon, sweep
    from mcwbuild.engines.docker.engine import DockerEngine

    client: DockerClient = daemon.connect()
    images = {phase.name: containers.toy_image(client, phase, STAGE, base) for phase in (PT, ONNX)}

    def left(place: str) -> list[str]:
        found = client.api.containers(filters={"label": sweep.OWNER})
        return [one["Id"] for one in found if any(place in mount["Source"] for mount in one["Mounts"])]

    yield DockerEngine(find=lambda _, phase: images[phase.name]), left
    client.close()


def run_local(numbers: Sequence[int], seed: str) -> Made:
    """The trials of these numbers on the local engine."""
    with tempfile.TemporaryDirectory(prefix="mcw-local-") as text:
        prepare(Path(text, "base"))
        with local(Path(text, "base")) as engine:
            return run(numbers, seed, engine, Path(text, "base"))


def run_docker(numbers: Sequence[int], seed: str, base: str) -> Made:
    """The trials of these numbers on the docker engine, two phases each; the Python comes from the image `base`."""
    with tempfile.TemporaryDirectory(prefix="mcw-docker-") as text:
        prepare(Path(text, "base"))
        with docker(base) as (engine, left):
            return run(numbers, seed, engine, Path(text, "base"), left, (PT, ONNX))
