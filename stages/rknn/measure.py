"""Judging a build in the process that made it: accuracy, and agreement with ONNX Runtime output by output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common import agreement, evaluate, image_set, tasks
from stages.common.ground_truth import Labels
from stages.common.keeping import Keeping
from stages.common.labels import labels_of
from stages.common.output_findings import OutputFigures, ScoreFigures, judge_outputs
from stages.common.task_agreement import TaskAgreement
from stages.common.text_labels import text_labels
from stages.families import family_of
from stages.rknn.expected import Expected
from stages.rknn.job import Job
from stages.rknn.reference import OnnxRunner

TIMED = 10  # images: the simulator's time is nobody's, but a simulator that got slow is seen
OnProgress = Callable[[int, int], None]
Pair = tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Comparison:
    """Each output's agreement with ONNX Runtime, and the results', over so many images.

    `reference` counts ONNX Runtime's candidates at the deployed confidence, `build` those of the build at a far lower
    one: where the first finds objects and the second nothing, its scores are dead. `agreement` is as
    `TaskAgreement.block` gives it; `findings` are of the outputs, as data.
    """

    outputs: list[dict[str, Any]]
    images: int
    reference: int
    build: int
    agreement: dict[str, Any]
    findings: list[dict[str, Any]]


def test_images(job: Job) -> list[evaluate.Picture]:
    """What is measured on: the job's images, else generated ones."""
    if job.images:
        return [Path(image) for image in job.images]
    return list(image_set.generated(job.contract["input"]["size"], image_set.COMPARED_IMAGES))


def accuracy(
    runner: evaluate.Runner,
    job: Job,
    images: list[evaluate.Picture],
    on_progress: OnProgress,
    keeping: Keeping | None = None,
) -> evaluate.Evaluation:
    """The evaluator's verdict over the images. Raises InputError for images or labels that cannot be read."""
    decode = family_of(job.head).decode
    labels: tuple[Labels, ...] | None = None
    if job.texts:
        labels = text_labels(job.texts, job.contract["classes"]["names"])
    elif job.labelled:
        labels = labels_of([Path(image) for image in job.images], job.contract)
    return evaluate.evaluate(
        runner,
        lambda outputs, confidence: decode(outputs, job.head, confidence),
        images,
        labels,
        job.contract,
        _settings(job),
        on_progress,
        keeping,
    )


def _settings(job: Job) -> evaluate.Settings:
    return evaluate.Settings(job.confidence, job.iou, job.max_detections, job.threads, timed=TIMED).of(job.head)


def compare(
    runner: evaluate.Runner, job: Job, images: list[evaluate.Picture], on_progress: OnProgress, expected: Expected
) -> Comparison:
    """Run ONNX Runtime and the build side by side over a few of the images, evenly spread.

    The build's outputs for the first of them go into `expected`.
    """
    decode = family_of(job.head).decode
    names = list(job.head["outputs"])
    reference = OnnxRunner(Path(job.model), job.contract, names, job.threads)
    places = image_set.spread(len(images), image_set.compared_images(job.labelled))
    results = TaskAgreement(job.contract, _settings(job))
    beside = Beside(names, job)

    def pairs() -> Iterator[Pair]:
        chosen = evaluate.prepared_images([images[place] for place in places], job.contract)
        for done, prepared in enumerate(chosen, 1):
            wanted, built = reference.run(reference.feed(prepared)), runner.run(runner.feed(prepared))
            expected.add(prepared, built)
            beside.add(wanted, built)
            results.add(
                decode(wanted, job.head, results.confidence),
                decode(built, job.head, results.lowest),
            )
            yield wanted, built
            on_progress(done, len(places))

    rows = agreement.compare_outputs(pairs(), names)
    return Comparison(rows, len(places), *beside.candidates, results.block(), beside.findings())


class Beside:
    """Both sides' outputs and scores, image by image, for the findings in them."""

    def __init__(self, names: list[str], job: Job) -> None:
        self._job, self._decode = job, family_of(job.head).decode
        self._silent = tasks.of(job.contract).silent(job.head)
        self._outputs = [OutputFigures(name) for name in names]
        self._scores = ScoreFigures()

    def add(self, expected: list[NDArray[np.float32]], built: list[NDArray[np.float32]]) -> None:
        """Take in one image's outputs of both."""
        for figures, one, other in zip(self._outputs, expected, built, strict=True):
            figures.add(one, other)
        head = self._job.head
        found = self._decode(expected, head, self._job.confidence), self._decode(built, head, self._silent)
        self._scores.add(*(side[1] for side in found))

    @property
    def candidates(self) -> tuple[int, int]:
        """How many there were on either side."""
        return sum(map(len, self._scores.reference)), sum(map(len, self._scores.build))

    def findings(self) -> list[dict[str, Any]]:
        """What is wrong with the build's outputs, as data; those of a generic network are no scores."""
        scores = self._scores if tasks.of(self._job.contract).needs_labels else None
        return [one.as_dict() for one in judge_outputs(self._job.variant, self._outputs, scores)]
