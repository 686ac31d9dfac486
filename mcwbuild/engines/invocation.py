"""How a stage is called, the same in an environment and in a container: its words and its process environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mcwbuild.contract.bounds import BOUNDS, IMAGE_PIXELS
from mcwbuild.contract.errors import StageFailed
from mcwbuild.engines import StageCall
from mcwbuild.engines.patience import Stopped, TimedOut


def words(call: StageCall, place: Callable[[str, Path], str], staging: str) -> list[str]:
    """The stage's words after `python`; `place` says where the file of a flag lies for the stage."""
    inputs = [word for flag, path in call.inputs for word in (flag, place(flag, path))]
    outputs = ["--out", f"{staging}/out", "--result", f"{staging}/result.json"]
    return [
        *("-s", "-P", "-m", f"stages.{call.program or call.phase.name}", *inputs, *call.options, *outputs),
        *("--nonce", call.nonce, "--progress", "json"),
    ]


def threads(options: tuple[str, ...]) -> int | None:
    """The `--threads` among the options, or None."""
    return int(options[options.index("--threads") + 1]) if "--threads" in options[:-1] else None


def environment(home: str, tmp: str, count: int) -> dict[str, str]:
    """What every stage's process finds set, beside where its Python and its code are."""
    return {
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
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",  # what a killed stage said last is in the log
        "OMP_NUM_THREADS": str(count),
    }


def bounds() -> dict[str, str]:
    """The limits on what is read: those that are set, and OpenCV's own, which looks at an image's header first."""
    return {"OPENCV_IO_MAX_IMAGE_PIXELS": str(IMAGE_PIXELS.value), **passed(*(bound.variable for bound in BOUNDS))}


def gpu(call: StageCall) -> dict[str, str]:
    """The one GPU that the call may see; empty where it may see all that this process sees."""
    return {} if call.gpu is None else {"CUDA_VISIBLE_DEVICES": call.gpu}


def passed(*names: str) -> dict[str, str]:
    """Those of the caller's variables that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def cut_short(call: StageCall, why: TimedOut | Stopped) -> StageFailed:
    """The error of a stage that was ended because its time was up, or because somebody said stop."""
    if isinstance(why, Stopped):
        return StageFailed(
            f"The {call.phase.name} stage was stopped.",
            "It was told to stop before it was done.",
            "Run again: what is done stays done.",
            kind="stopped",
        )
    return StageFailed(
        f"The {call.phase.name} stage was stopped.",
        f"It was not done after {call.timeout:.0f} seconds.",
        f"Its log is {call.log}.",
        kind="timeout",
    )
