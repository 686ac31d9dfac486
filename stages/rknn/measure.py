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
from stages.common.labels import labels_of
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
    """Each output's agreement with ONNX Runtime, over so many images.

    `reference` counts ONNX Runtime's candidates at the deployed confidence, `build` those of the build at a far lower
    one: where the first finds objects and the second nothing, its scores are dead.
    """

    outputs: list[dict[str, Any]]
    images: int
    reference: int
    build: int


def test_images(job: Job) -> list[evaluate.Picture]:
    """What is measured on: the job's images, else generated ones."""
    if job.images:
        return [Path(image) for image in job.images]
    return list(image_set.generated(job.contract["input"]["size"], image_set.COMPARED_IMAGES))


def accuracy(
    runner: evaluate.Runner, job: Job, images: list[evaluate.Picture], on_progress: OnProgress
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
        evaluate.Settings(job.confidence, job.iou, job.max_detections, job.threads, timed=TIMED).of(job.head),
        on_progress,
    )


def compare(
    runner: evaluate.Runner, job: Job, images: list[evaluate.Picture], on_progress: OnProgress, expected: Expected
) -> Comparison:
    """Run ONNX Runtime and the build side by side over a few of the images, evenly spread.

    The build's outputs for the first of them go into `expected`.
    """
    decode, silent = family_of(job.head).decode, tasks.of(job.contract).silent(job.head)
    names = list(job.head["outputs"])
    reference = OnnxRunner(Path(job.model), job.contract, names, job.threads)
    places = image_set.spread(len(images), image_set.COMPARED_IMAGES)
    found = [0, 0]

    def pairs() -> Iterator[Pair]:
        chosen = evaluate.prepared_images([images[place] for place in places], job.contract)
        for done, prepared in enumerate(chosen, 1):
            wanted, built = reference.run(reference.feed(prepared)), runner.run(runner.feed(prepared))
            expected.add(prepared, built)
            found[0] += len(decode(wanted, job.head, job.confidence)[1])
            found[1] += len(decode(built, job.head, silent)[1])
            yield wanted, built
            on_progress(done, len(places))

    return Comparison(agreement.compare_outputs(pairs(), names), len(places), *found)
