"""Both variants at once: each built in its own process of the toolkit, waited for by a thread of its own.

The toolkit computes in one thread nearly all the time, building and simulating alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from mcwbuild.contract.events import Emit, Event

LARGE = 256 << 20  # bytes of an ONNX file: building takes about three times its size in memory
Key = TypeVar("Key")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Share:
    """How the variants share the machine: whether they work at once, and the threads of each."""

    at_once: bool
    threads: int


def share(variants: int, threads: int, size: int) -> Share:
    """The share of each of so many variants of an ONNX file of `size` bytes, where `threads` may be used."""
    if variants < 2 or threads < variants or size > LARGE:
        return Share(False, threads)
    return Share(True, threads // variants)


def one_at_a_time(emit: Emit) -> Emit:
    """`emit` that may be called from any thread."""
    lock = Lock()

    def told(event: Event) -> None:
        with lock:
            emit(event)

    return told


def all_of(
    jobs: Mapping[Key, Callable[[Emit], Made]], emit: Emit, at_once: bool, abandon: Callable[[], None]
) -> dict[Key, Made]:
    """What each job returns; it is given `emit`, which may be called from its thread.

    Raises what the first one raised that failed; `abandon` has made the others end then.
    """
    if not at_once:
        return {key: job(emit) for key, job in jobs.items()}
    with ThreadPoolExecutor(len(jobs)) as pool, ExitStack() as unless_done:
        unless_done.callback(abandon)
        futures = {key: pool.submit(job, emit) for key, job in jobs.items()}
        for future in as_completed(futures.values()):
            future.result()
        unless_done.pop_all()
    return {key: future.result() for key, future in futures.items()}
