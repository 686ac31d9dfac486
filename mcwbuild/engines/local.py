"""The local engine: each stage in a Python environment of its own on this machine, no container."""

from __future__ import annotations

import os
from pathlib import Path

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Emit, from_line
from mcwbuild.contract.phases import Phase
from mcwbuild.engines import StageCall, code, environments, machine, supervised
from mcwbuild.engines.environments import cache_folder

__all__ = ["LocalEngine", "cache_folder"]

# Passed on where they are set: which GPUs, and where a Python of one's own has its library.
_PASSED = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TZ")


class LocalEngine:
    """Environments made with uv from hashed locks, a clean process environment, and no process left behind."""

    name = "local"

    def __init__(self, source: Path | None = None) -> None:
        """`source` is a code folder to run instead of the shipped stages'."""
        self._source = source

    def health(self, phase: Phase) -> str | None:
        """None, or what is missing."""
        if reason := machine.unsuitable():
            return reason
        return None if environments.find(phase) else "its environment is made at the first run"

    def can_prepare(self, phase: Phase) -> str | None:
        """None, or why no environment can be made on this machine."""
        return machine.unsuitable()

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Makes the phase's environment unless it is there. Raises EnvironmentLacking."""
        environments.make(phase, emit)

    def identity(self, phase: Phase) -> dict[str, str]:
        """The SHA-256 of the locks and of the stages' code."""
        return {**environments.intended(phase).locks.identity(), "code": code.sha256()}

    def python(self, phase: Phase) -> Path:
        """The interpreter of the phase's environment. Raises EnvironmentLacking where it is not made."""
        found = environments.find(phase)
        if found is None:
            raise EnvironmentLacking(
                f"The {phase.name} stage cannot run.", f"{self.health(phase)}.", "Prepare it first.", kind="health"
            )
        return found.python

    def run(self, call: StageCall, emit: Emit) -> int:
        """Runs the stage; see `Engine.run`."""
        python = self.python(call.phase)
        folders = {name: call.staging / name for name in ("home", "tmp", "work")}
        try:
            source = self._source or code.folder(cache_folder())
            for folder in folders.values():
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentLacking(
                f"The {call.phase.name} stage cannot be started.", f"{error}.", "Free disk space.", kind="disk"
            ) from error

        def take(line: str) -> bool:
            event = from_line(line)
            if event is not None:
                emit(event)
            return event is not None

        try:
            return supervised.run(
                command(python, call),
                environment(python, source, folders, threads(call.options)),
                folders["work"],
                call.log,
                take,
                call.timeout,
            )
        except supervised.TimedOut as error:
            raise StageFailed(
                f"The {call.phase.name} stage was stopped.",
                f"It was not done after {call.timeout:.0f} seconds.",
                f"Its log is {call.log}.",
                kind="timeout",
            ) from error


def command(python: Path, call: StageCall) -> list[str]:
    """The same words as in a container: `python -m stages.<phase> ...`."""
    inputs = [word for flag, path in call.inputs for word in (flag, str(path))]
    outputs = ["--out", str(call.staging / "out"), "--result", str(call.staging / "result.json")]
    return [
        *(str(python), "-s", "-P", "-m", f"stages.{call.phase.name}", *inputs, *call.options, *outputs),
        *("--nonce", call.nonce, "--progress", "json"),
    ]


def threads(options: tuple[str, ...]) -> int:
    """The `--threads` among the options, else the CPUs that this process may use."""
    if "--threads" in options[:-1]:
        return int(options[options.index("--threads") + 1])
    return len(os.sched_getaffinity(0))


def environment(python: Path, source: Path, folders: dict[str, Path], count: int) -> dict[str, str]:
    """All that the stage's environment holds: nothing of the caller's leaks into it, or into a `.rknn`."""
    home, tmp = str(folders["home"]), str(folders["tmp"])
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": home,
        "USER": "mcwbuild",
        "LANG": "C.UTF-8",
        "TMPDIR": tmp,
        "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_CONFIG_HOME": f"{home}/.config",
        "YOLO_CONFIG_DIR": f"{home}/ultralytics",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "ULTRALYTICS_SAFE_LOAD": "1",
        "MPLCONFIGDIR": f"{home}/matplotlib",
        "TORCHINDUCTOR_CACHE_DIR": f"{home}/inductor",
        "PYTHONPATH": str(source),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",  # what a killed stage said last is in the log
        "OMP_NUM_THREADS": str(count),
        **passed,
    }
