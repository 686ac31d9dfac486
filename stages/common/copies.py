"""Work on many things in copies of this process: what was loaded and built here is used there, and takes no time again.

The copies are forked. A network that was built in a library's own objects cannot be sent to another process, and the
RKNN toolkit's simulator runs only what its own process built.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from mcwbuild.contract.errors import StageFailed
from stages.common.leash import tie_to

Done = TypeVar("Done")
_CHUNKS = 4  # for each copy: few enough to cost nothing, enough that all of them end together and progress is seen
_LARGEST = 32  # numbers in a chunk: what is done of one is lost where its copy is killed
_work: Callable[[int], Any] | None = None  # in a copy: what it does with a number


def spread_over(count: int, begin: Callable[[], Callable[[int], Done]], numbers: Sequence[int]) -> Generator[Done]:
    """What is made of each of `numbers`, in their order, in `count` copies of this process.

    `begin` is called once in each copy, and gives what does the work; that raises what can be pickled. No thread of
    this process lives on in a copy, so `begin` prepares what needs threads anew.
    Raises StageFailed where a copy is gone before its work is done.
    """
    size = max(1, min(_LARGEST, -(-len(numbers) // (count * _CHUNKS))))
    chunks = [numbers[place : place + size] for place in range(0, len(numbers), size)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # here, where its threads are: a copy that used OpenCV's would wait for them for ever
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("fork"), _begin, (begin, os.getpid()))
    try:
        for made in pool.map(_do, chunks):
            yield from made
    except BrokenProcessPool as error:
        raise StageFailed(
            "A process of the evaluation ended before its work was done.",
            f"There were {count} of them; most often memory ran out.",
            "Give the machine or the container more memory, or fewer --threads: each has a process.",
            kind="out-of-memory",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)


def _begin(begin: Callable[[], Callable[[int], Any]], parent: int) -> None:
    global _work
    tie_to(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts means the whole; the parent ends its copies
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _work = begin()


def _do(numbers: Sequence[int]) -> list[Any]:
    assert _work is not None
    return [_work(number) for number in numbers]
