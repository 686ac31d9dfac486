"""The real toolkit, tried many times in one process: loaded once, then forked for every trial.

A trial that aborts, crashes or changes its environment ends alone; loading, which takes seconds, is paid once.
Needs the rknn phase's environment. A fork shares the memory of the process that loaded, so the leaked memory in a
`.rknn` is the same for all of them.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from rknn.api import RKNN

from stages.rknn.child import print_line_by_line

# Used inside a trial; loaded before the fork, as the toolkit would load it at the first build.
import onnxruntime  # noqa: F401 isort:skip

LIMIT = 60  # seconds of one trial


@dataclass(frozen=True)
class Trial:
    """What came of one: the results of the calls so far, the last exception, the signal that ended it, its log."""

    folder: Path
    results: str
    raised: str
    signal: str
    log: str


def trial(folder: Path, steps: Callable[[Any, Path], list[Any]]) -> Trial:
    """Run `steps` with a new RKNN object in a process of its own, in `folder`."""
    folder.mkdir(parents=True)
    (folder / "tmp").mkdir()
    child = os.fork()
    if child == 0:
        _inside(folder, steps)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    read = {name: (folder / name).read_text("utf-8", "replace") for name in ("results", "raised", "log")}
    return Trial(folder, **read, signal=signal.Signals(-code).name if code < 0 else "")


def _inside(folder: Path, steps: Callable[[Any, Path], list[Any]]) -> None:
    os.chdir(folder)
    os.environ["TMPDIR"] = str(folder / "tmp")
    signal.alarm(LIMIT)
    for name in ("results", "raised", "log"):
        Path(name).touch()
    log = os.open("log", os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)  # pytest has put others
    logger = logging.getLogger("rknnLogger")  # its handler was made at import, with pytest's standard error
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    print_line_by_line()
    try:
        Path("results").write_text(str(steps(RKNN(verbose=True), folder)))
    except BaseException as error:  # whatever the toolkit raises is what the trial is about
        Path("raised").write_text(f"{type(error).__name__}: {error}")
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(0)


def build(
    model: onnx.ModelProto | Path,
    *,
    platform: str | None = "rk3588",
    dataset: Any = None,
    quantize: bool | None = None,
    before: Callable[[], None] | None = None,
    load: dict[str, Any] | None = None,
    export: str = "made.rknn",
    **config: Any,
) -> Callable[[Any, Path], list[Any]]:
    """The steps of a build, up to the first that does not return 0; INT8 where a dataset is given."""

    def steps(rknn: Any, folder: Path) -> list[Any]:
        path = model
        if not isinstance(path, Path):
            path = folder / "model.onnx"
            onnx.save(model, str(path))
        if before is not None:
            before()
        integers = dataset is not None if quantize is None else quantize
        calls = [
            lambda: rknn.config(target_platform=platform, **config),
            lambda: rknn.load_onnx(str(path), **(load or {})),
            lambda: rknn.build(do_quantization=integers, dataset=dataset if integers else None),
            lambda: rknn.export_rknn(export),
        ]
        results: list[Any] = []
        for call in calls:
            results.append(call())
            if results[-1] != 0:
                break
        return results

    return steps
