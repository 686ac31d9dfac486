"""The processes around RKNN-Toolkit2: `python -P -m stages.rknn.child PARENT`.

* The first one loads the toolkit, and splits off one for each job, or does it; see `splitting`. PARENT is the id of the
  one that orders them, with which all of them die.
* In an order's folder lie `job.json`, a `job.Job`, and `build.json`: the same with nothing but what a build needs, as
  this process sees it. `answer.json` is written last, as `{"measured": ...}`, `{"failure": {step, cause}}` or
  `{"error": ...}` (a typed error of the contract). A process that ends without it was killed.
* Events go to the order's pipe, one JSON line each. All that is printed belongs to the log.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import site
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from mcwbuild.contract.bench import Bench, leave
from mcwbuild.contract.errors import McwbuildError
from mcwbuild.contract.events import Event, to_line
from stages.common.leash import tie_to
from stages.rknn.job import ANSWER, BUILD, JOB, Job, Measured
from stages.rknn.splitting import Order, wait_for_order
from stages.rknn.toolkit import Toolkit, ToolkitFailure, build, last_line

_IOLBF = 1  # stdio.h of glibc


def work(toolkit: Toolkit, folder: Path, bench: Bench) -> Measured:
    """Build and measure one variant: the job in `folder`."""
    job = Job.read(folder / BUILD)
    with bench.step(f"{job.name} build", job.platform) as step:
        toolkit.renew()
        build(toolkit, job)
        step.result = f"{Path(job.export).stat().st_size / 1e6:.1f} MB"
    from stages.rknn import simulate  # loaded by now

    return simulate.measured(toolkit, Job.read(folder / JOB), bench)


def print_line_by_line() -> None:
    """Have C code write whole lines: else its tables and Python's lines tear each other, and an abort loses them."""
    c = ctypes.CDLL(None)
    c.setvbuf(ctypes.c_void_p.in_dll(c, "stdout"), None, _IOLBF, 0)


def answer(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `function` returns, or how it failed, as JSON data. The boundary of the process."""
    try:
        return function()
    except ToolkitFailure as failure:
        return {"failure": {"step": failure.step, "cause": failure.cause}}
    except McwbuildError as error:
        return {"error": error.as_dict()}
    except BaseException as unknown:  # the toolkit raises whatever its libraries raise, SystemExit included
        return {"failure": {"step": "toolkit", "cause": f"{type(unknown).__name__}: {last_line(unknown)}"}}


def in_own_thread(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `function` returns. Its thread's heap begins empty, whatever was imported before, and in which order.

    So that what a `.rknn` holds of its maker's memory may be the same twice; see `fixed_ground`.
    """
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(answer(function)))
    thread.start()
    thread.join()
    return found[0]


def fulfil(order: Order, loaded: list[Toolkit], failed: dict[str, Any]) -> None:
    """Do the job and write the answer: `failed` where the toolkit could not be loaded."""
    with os.fdopen(order.pipe, "w", encoding="ascii", buffering=1) as pipe:

        def emit(event: Event) -> None:
            pipe.write(to_line(event) + "\n")

        bench = Bench(Path.cwd(), Path.cwd(), 1, emit)
        found = failed or in_own_thread(lambda: {"measured": asdict(work(loaded[0], order.folder, bench))})
    # A temporary name first: the parent takes the file's presence for a whole answer.
    partial = order.folder / f"{ANSWER}.partial"
    partial.write_text(json.dumps(found), "ascii")
    partial.rename(order.folder / ANSWER)


def main(argv: list[str]) -> int:
    """Load the toolkit, and do one job in each process that is split off. Returns 0 whenever an answer was written."""
    parent = int(argv[0])
    tie_to(parent)
    print_line_by_line()
    site.setquit()  # a Python that is started without its site has no `exit`, and the toolkit may call it
    loaded: list[Toolkit] = []

    def load() -> dict[str, Any]:
        loaded.append(Toolkit())
        import_module("stages.rknn.simulate")  # the evaluator: once for all that are split off
        return {}

    gc.disable()  # what is loaded stays: to look through it for garbage, again and again, took a fifth of the time
    failed = answer(load)
    gc.freeze()
    gc.enable()
    order = wait_for_order(parent)
    if order is not None:
        fulfil(order, loaded, failed)
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
