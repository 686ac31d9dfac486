"""The one evaluator: the same images, preparation, decoding and counting for all three phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import performance
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.performance import Check, main_metric_of
from stages.common import images as pictures
from stages.common import tasks
from stages.common.copies import spread_over
from stages.common.detection import suppression
from stages.common.evaluation_state import Found
from stages.common.ground_truth import Labels, data_error
from stages.common.keeping import Keeper, Keeping
from stages.common.per_image import PerImage, Verdict
from stages.common.tasks import Task
from stages.common.timing import Timer

Outputs: TypeAlias = "Sequence[NDArray[np.float32]]"
Candidates: TypeAlias = "tuple[Any, ...]"  # what the family's decoder gives and the task's `finish` takes
Decode: TypeAlias = Callable[[Outputs, float], Candidates]
Picture: TypeAlias = "Path | NDArray[np.uint8]"  # a file, or an image [H, W, 3] in blue-green-red

WARMUP_RUNS = 3  # the first runs allocate memory and choose kernels
TIMED_IMAGES = 32  # the median settles after a few; the 99th percentile is then all but the slowest
LEAST_SHARED = 16  # images that are worth making copies of the process for


class Runner(Protocol):
    """A network that runs somewhere; its outputs come in the order of the head's."""

    @property
    def device(self) -> Mapping[str, Any]:
        """`device` of the performance record: kind, model, backend, versions."""

    def feed(self, prepared: NDArray[np.uint8]) -> Any:
        """What the network takes, from the prepared image uint8 [H, W, C]; its time counts as preprocessing."""

    def run(self, feed: Any) -> list[NDArray[np.float32]]:
        """The network's outputs; its time counts as inference."""

    def alone(self) -> Runner:
        """The same network in a forked copy of this process, where it has one thread."""


@dataclass(frozen=True)
class Settings:
    """Thresholds: `confidence` as deployed, IoU and limit for evaluation and deployment alike.

    `iou` is None where nothing is to be suppressed. The first `timed` images are timed, with all the `threads`.
    """

    confidence: float
    iou: float | None
    max_detections: int
    threads: int
    warmup: int = WARMUP_RUNS
    timed: int = TIMED_IMAGES

    def of(self, head: Mapping[str, Any]) -> Settings:
        """These settings as the evaluator applies them to the outputs of `head`."""
        return self if self.iou is None else replace(self, iou=suppression(head, self.iou))


@dataclass(frozen=True)
class Evaluation:
    """What was measured: two blocks of a performance record, the results, and images with broken outputs.

    `per_image` is what intervals of the accuracy are drawn from, None where it was not measured.
    """

    metrics: dict[str, Any]
    inference: dict[str, Any]
    results: tuple[Any, ...]
    not_finite: tuple[str, ...]
    per_image: PerImage | None = None


def evaluate(
    runner: Runner,
    decode: Decode,
    images: Sequence[Picture],
    labels: Sequence[Labels] | None,
    contract: Mapping[str, Any],
    settings: Settings,
    on_progress: Callable[[int, int], None] | None = None,
    keeping: Keeping | None = None,
) -> Evaluation:
    """Run `runner` over the images, and judge what it finds, as the contract's task does, by the labels.

    The first images are timed, one after the other with nothing beside them; the others are shared by as many copies
    of this process as there are threads, each with one. Accuracy is judged on the candidates above the task's own
    confidence. The time of `post` is that of the deployed confidence; `pre` begins with the decoded image.
    Detections are in the images' own pixels and clipped to the image, as Ultralytics' `predict` gives them; its `val`
    judges them unclipped in the padded input, which costs objects at the edge (examples/shapes: 0.721 where `predict`
    and this evaluator have 0.766).
    Where it is kept, a later evaluation of the same goes on where it was, with the same results to the bit.
    Raises InputError naming every image that cannot be decoded.
    """
    work = _Work(decode, images, labels, contract, settings)
    timer = Timer()
    seen = _all(work, runner, timer, on_progress, keeping)
    if problems := [one for one in seen if isinstance(one, Problem)]:
        raise data_error(problems)
    sound = [one for one in seen if isinstance(one, _Seen)]
    verdict = (
        Verdict(performance.unmeasured("The images have no labels."))
        if labels is None and work.task.needs_labels
        else work.task.judge(
            [one.result for one in sound],
            [one.truth for one in sound],
            contract.get("classes", {}).get("names", ()),
            settings.confidence,
        )
    )
    return Evaluation(
        verdict.metrics,
        _inference(timer, settings),
        tuple(one.result for one in sound),
        tuple(one.broken for one in sound if one.broken),
        verdict.per_image,
    )


def _all(
    work: _Work,
    runner: Runner,
    timer: Timer,
    on_progress: Callable[[int, int], None] | None,
    keeping: Keeping | None,
) -> list[_Seen | Problem]:
    """What each image gave, in their order; kept on the way up to the first that cannot be read."""
    count, first = len(work.images), min(work.settings.timed, len(work.images))
    keeper = None if keeping is None else _keeper(work, runner, keeping, first)
    seen: list[_Seen | Problem] = []
    for one in _each(work, runner, timer, [] if keeper is None else keeper.earlier()):
        seen.append(one)
        if isinstance(one, Problem):
            keeper = None
        elif keeper is not None and len(seen) > first:
            keeper.add(Found(one.result, one.shape, bool(one.broken)))
        if on_progress is not None:
            on_progress(len(seen), count)
    if keeper is not None:
        keeper.end()
    return seen


def _keeper(work: _Work, runner: Runner, keeping: Keeping, timed: int) -> Keeper:
    known = {"contract": work.contract, "settings": asdict(work.settings), "device": dict(runner.device)}
    classes = len(work.contract.get("classes", {}).get("names", ()))
    return Keeper(keeping, work.contract["model"]["task"], classes, known, work.images, timed)


@dataclass(frozen=True)
class _Seen:
    """What one image gave: the result, what it is judged by, and the image's name where an output is not finite.

    `shape` is the image's [H, W].
    """

    result: Any
    truth: Any
    broken: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class _Work:
    """What is done with each image."""

    decode: Decode
    images: Sequence[Picture]
    labels: Sequence[Labels] | None
    contract: Mapping[str, Any]
    settings: Settings

    @property
    def task(self) -> Task:
        """The contract's."""
        return tasks.of(self.contract)

    def timed(self, number: int, runner: Runner, timer: Timer) -> _Seen | Problem:
        """One image with the time of each part of the whole way to the deployed detections."""
        image = _read(self.images[number], self.contract)
        if isinstance(image, Problem):
            return image
        if not timer.runs:
            warm_up(runner, pictures.prepare(image, self.contract)[0], self.settings.warmup)
        with timer.part("pre"):
            prepared, placement = pictures.prepare(image, self.contract)
            feed = runner.feed(prepared)
        with timer.part("inference"):
            outputs = runner.run(feed)
        with timer.part("post"):
            self._finished(outputs, placement, image, self.settings.confidence)
        return self._seen(number, outputs, placement, image)

    def untimed(self, number: int, runner: Runner) -> _Seen | Problem:
        """One image for accuracy alone."""
        image = _read(self.images[number], self.contract)
        if isinstance(image, Problem):
            return image
        prepared, placement = pictures.prepare(image, self.contract)
        return self._seen(number, runner.run(runner.feed(prepared)), placement, image)

    def _seen(
        self,
        number: int,
        outputs: list[NDArray[np.float32]],
        placement: pictures.Placement,
        image: NDArray[np.uint8],
    ) -> _Seen:
        broken = not all(_all_finite(output) for output in outputs)
        result = self.task.sound(self._finished(outputs, placement, image, self.task.confidence))
        return self.again(number, Found(result, (image.shape[0], image.shape[1]), broken))

    def again(self, number: int, found: Found) -> _Seen:
        """What was found in an image, now or by an earlier run."""
        picture = self.images[number]
        name = picture.name if isinstance(picture, Path) else f"generated image {number}"
        truth = None if self.labels is None else self.task.truth(self.labels[number], found.shape)
        return _Seen(found.result, truth, name if found.broken else "", found.shape)

    def _finished(
        self,
        outputs: list[NDArray[np.float32]],
        placement: pictures.Placement,
        image: NDArray[np.uint8],
        confidence: float,
    ) -> Any:
        candidates = self.decode(outputs, confidence)
        shape, limits = (image.shape[0], image.shape[1]), (self.settings.iou, self.settings.max_detections)
        return self.task.finish(candidates, placement, shape, *limits)


def _each(work: _Work, runner: Runner, timer: Timer, earlier: Sequence[Found]) -> Iterator[_Seen | Problem]:
    """All images, in their order; `earlier` is what is known of those behind the timed ones."""
    count = len(work.images)
    first = min(work.settings.timed, count)
    yield from (work.timed(number, runner, timer) for number in range(first))
    yield from (work.again(first + place, found) for place, found in enumerate(earlier))
    rest = range(first + len(earlier), count)
    # As all of them would be run, whatever is left of them: sums differ with the number of threads.
    copies = min(work.settings.threads, count - first) if count - first >= LEAST_SHARED else 1
    if not rest or copies < 2 or runner.device["kind"] == "GPU":  # a GPU's context does not live on in a copy
        yield from (work.untimed(number, runner) for number in rest)
        return

    def begin() -> Callable[[int], _Seen | Problem]:
        return partial(work.untimed, runner=runner.alone())

    with closing(spread_over(min(copies, len(rest)), begin, rest)) as done:
        yield from done


def warm_up(runner: Runner, prepared: NDArray[np.uint8], runs: int) -> None:
    """Run the network a few times before timing."""
    for _ in range(runs):
        runner.run(runner.feed(prepared))


def _all_finite(values: NDArray[np.float32]) -> bool:
    """Whether every value is finite: where their sum is, they are; a sum may overflow by itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _inference(timer: Timer, settings: Settings) -> dict[str, Any]:
    latency = timer.latency_ms()
    middle = latency["total"]["p50"]
    fps: dict[str, Any] = (
        {"fps": round(1000 / middle, 2)} if middle else {"fps": None, "fps_reason": "No image was timed."}
    )
    return {
        "latency_ms": latency,
        "runs": timer.runs,
        "warmup": settings.warmup,
        "threads": settings.threads,
        **fps,
    }


def summary(found: Evaluation) -> str:
    """The result in a few words, for people."""
    name = main_metric_of(found.metrics)
    accuracy = found.metrics.get(name)
    speed = f"{found.inference['latency_ms']['inference']['p50']:.1f} ms an image"
    return speed if accuracy is None else f"{name} {accuracy:.4f}, {speed}"


def test_configuration(contract: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """`test_configuration` of a performance record, less the dataset."""
    limits = {"iou": settings.iou, "max_detections": settings.max_detections}
    return {
        "input_size": list(contract["input"]["size"]),
        "evaluation": {"confidence": tasks.of(contract).confidence, **limits},
        "deployed": {"confidence": settings.confidence, **limits},
        "batch": 1,
        "threads": settings.threads,
        "warmup": settings.warmup,
    }


def finite_check(found: Evaluation) -> Check:
    """Whether every output of every image was a finite number."""
    broken = found.not_finite
    if not broken:
        return Check("finite outputs", "passed", "Every output of every image is finite.")
    return Check("finite outputs", "failed", f"NaN or infinity came out for {len(broken)} images, first {broken[0]}.")


def prepared_images(images: Sequence[Picture], contract: Mapping[str, Any]) -> Iterator[NDArray[np.uint8]]:
    """Each image read and prepared, uint8 [H, W, C], one at a time. Raises InputError for one that cannot be read."""
    for picture in images:
        image = _read(picture, contract)
        if isinstance(image, Problem):
            raise data_error([image])
        yield pictures.prepare(image, contract)[0]


def _read(picture: Picture, contract: Mapping[str, Any]) -> NDArray[np.uint8] | Problem:
    if not isinstance(picture, Path):
        return picture
    try:
        return pictures.read(picture, contract["input"]["format"])
    except (OSError, ValueError) as error:
        return Problem(f"the image cannot be read: {error}", str(picture))
