"""The part of `npu_inference.py` that keeps all cores busy: preparation, inference and decoding beside each other.

A few threads take one frame each through all three; each waits for a context of the NPU that is idle, so no context is
ever used by two at once. Results come in the order of the frames. Python 3.8 and numpy only.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from stages.common.detection import suppression
from stages.common.images import prepare
from stages.rknn.program.frames import Frame
from stages.rknn.program.npu import INPUT, RuntimeLog, Stop, infer, open_runtime
from stages.rknn.program.show import View


class Limits(NamedTuple):
    """What a candidate has to pass."""

    confidence: float
    iou: float
    max_detections: int


class Result(NamedTuple):
    """What was found in one frame: the task's own result, entries for people and JSON, and milliseconds of each part.

    `image` is as it was loaded; `error` says why nothing was found out, and then there is nothing else.
    """

    frame: Frame
    error: str = ""
    image: Any = None
    found: Any = None
    entries: Sequence[Mapping[str, Any]] = ()
    outputs: Sequence[np.ndarray] = ()
    milliseconds: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Network:
    """The model on one or several contexts of the NPU."""

    def __init__(self, path: str, masks: Sequence[str], log: RuntimeLog, data: Mapping[str, Any], view: View) -> None:
        self.contexts: list[Any] = []
        numbers = range(len(data["shapes"]))
        self.output_names = data["head"].get("outputs") or [f"output_{number}" for number in numbers]
        self.names = data["contract"]["classes"]["names"] if "classes" in data["contract"] else self.output_names
        self._log, self._data, self._view, self.masks = log, data, view, masks
        self._idle: queue.Queue[Any] = queue.Queue()
        start = time.perf_counter()
        with contextlib.ExitStack() as opened:
            for mask in masks:
                context = open_runtime(path, mask, log, data)
                opened.callback(context.release)
                self.contexts.append(context)
                self._idle.put(context)
            self._opened = opened.pop_all()
        self.load_seconds = time.perf_counter() - start

    def look(self, frame: Frame, limits: Limits) -> Result:
        """What the network finds in one frame."""
        try:
            image = frame.load()
        except Stop as stop:
            if stop.code != INPUT:
                raise
            return Result(frame, str(stop))
        start = time.perf_counter()
        prepared, placement = prepare(image, self._data["contract"])
        ready = time.perf_counter()
        with self._context() as context:
            begun = time.perf_counter()
            outputs = infer(context, prepared, self._log, self._data)
            inferred = time.perf_counter()
        head = self._data["head"]
        received = time.perf_counter()
        candidates = self._view.decode(outputs, head, limits.confidence)
        iou = suppression(head, limits.iou)
        shape = image.shape[0], image.shape[1]
        found = self._view.finish(candidates, placement, shape, iou, limits.max_detections)
        end = time.perf_counter()
        times = (ready - start) * 1e3, (inferred - begun) * 1e3, (end - received) * 1e3
        return Result(frame, "", image, found, self._view.entries(found, self.names), outputs, times)

    @contextlib.contextmanager
    def _context(self) -> Iterator[Any]:
        context = self._idle.get()
        try:
            yield context
        finally:
            self._idle.put(context)

    def release(self) -> None:
        """Give the NPU back."""
        self._opened.close()

    def each(self, frames: Iterable[Frame], limits: Limits) -> Generator[Result, None, None]:
        """What it finds in each frame, in order: two frames for each context, so that none waits for a CPU."""
        threads = 2 * len(self.contexts)
        return in_order(frames, lambda frame: self.look(frame, limits), threads, 2 * threads)


def in_order(
    frames: Iterable[Frame], work: Callable[[Frame], Result], threads: int, ahead: int
) -> Generator[Result, None, None]:
    """`work` of each frame in `threads` threads, in the frames' order; at most `ahead` frames are taken in before.

    Where the frames end with an error, it comes after the results of those before it. What has begun is finished, the
    rest left, when the caller stops.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    failed: Stop | None = None
    source = iter(frames)
    try:
        while failed is None:
            try:
                frame = next(source, None)
            except Stop as stop:
                failed = stop
                break
            if frame is None:
                break
            waiting.append(pool.submit(work, frame))
            while waiting and (len(waiting) >= ahead or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failed is not None:
            raise failed
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown()
