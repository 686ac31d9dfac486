"""The Docker daemon killed, ended, stopped and started, or frozen at random moments of a run's stage.

The run ends well or in one typed error, in time; no container is left; the run after it ends well.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from mcwbuild import pipeline
from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError, StageFailed
from mcwbuild.contract.phases import ONNX, PT
from mcwbuild.engines.docker import daemon as connection
from mcwbuild.engines.docker.engine import DockerEngine
from tests.campaign.series import Made
from tests.support import containers, storms
from tests.support.own_daemon import Daemon

FAULTS = ("killed", "ended", "frozen", "killed, with live-restore")
FROZEN = (0.5, 6.0)  # seconds
LATEST = 1.5  # seconds after the run's start: it takes one to two
DEADLINE = 120.0  # seconds for a run whose daemon is away for a while


def run(numbers: Sequence[int], seed: str, base: str) -> Made:
    """The trials of these numbers: the fault is the number's rest by four."""
    made = Made()
    shared = connection.connect()
    for live in (False, True):
        mine = [number for number in numbers if FAULTS[number % 4].endswith("live-restore") == live]
        if not mine:
            continue
        with tempfile.TemporaryDirectory(prefix="mcw-d-", ignore_cleanup_errors=True) as text:
            storms.prepare(Path(text, "base"))
            images = {phase.name: containers.toy_image(shared, phase, storms.STAGE, base) for phase in (PT, ONNX)}
            (Path(text) / "d").mkdir()
            daemon = Daemon(Path(text, "d"), ("--live-restore",) if live else ())
            daemon.start()
            try:
                daemon.load(shared, list(images.values()))
                with patch.dict(os.environ, {"DOCKER_HOST": daemon.address}):
                    for number in mine:
                        _trial(number, seed, daemon, images, Path(text), made)
            finally:
                daemon.remove()
    shared.close()
    return made


def _trial(number: int, seed: str, daemon: Daemon, images: dict[str, str], base: Path, made: Made) -> None:
    rng = random.Random(f"{seed}-{number}")
    fault = FAULTS[number % 4]
    out = base / f"trial{number}"
    strike = threading.Timer(rng.uniform(0, LATEST), _strike, (daemon, fault, rng.uniform(*FROZEN)))
    begun = time.monotonic()
    strike.start()
    try:
        outcome = _run(images, base, out)
        strike.join()
        took = time.monotonic() - begun
        assert took < DEADLINE, f"it took {took:.0f} s"
        again = _run(images, base, out)
        assert again == "done", f"the next run: {again}"
        own = daemon.client()
        left = containers.ours(own)
        own.close()
        assert not left, f"left: {left}"
    except Exception as error:
        strike.join()
        outcome = "violation"
        made.violations.append(f"trial {number} of seed {seed}, {fault}: {type(error).__name__}: {error!s:.400}")
    made.outcomes[f"{fault}: {outcome}"] += 1


def _strike(daemon: Daemon, fault: str, seconds: float) -> None:
    assert daemon.process is not None
    if fault == "frozen":
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        daemon.process.send_signal(signal.SIGCONT)
        return
    daemon.end(signal.SIGTERM if fault == "ended" else signal.SIGKILL)
    daemon.start()


def _run(images: dict[str, str], base: Path, out: Path) -> str:
    """`done`, or the kind of the error. Raises whatever is no typed error."""
    engine = DockerEngine(find=lambda _, phase: images[phase.name])
    try:
        pipeline.execute(storms.steps(base / "base", out, (PT, ONNX)), engine, out, storms.Kept())
    except (StageFailed, EnvironmentLacking) as error:
        return error.kind or type(error).__name__
    except McwbuildError as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    finally:
        if "_client" in vars(engine):  # it was reached
            engine._client.close()
    return "done"
