"""What the evaluator does differently from task to task: how outputs become results, and how results are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcwbuild.contract import performance
from stages.common import metrics
from stages.common.classification import Ranking, finish_ranking
from stages.common.detection import Detections, finish
from stages.common.generic import UNMEASURED, finish_outputs
from stages.common.ground_truth import Labels
from stages.common.mask_metrics import encoded, found_outlines, judge_masks, outlines
from stages.common.per_image import Verdict
from stages.common.pose_metrics import found_skeletons, judge_poses, skeletons, sound_poses
from stages.common.poses import finish_poses
from stages.common.ranking_metrics import judge_rankings
from stages.common.segmentation import finish_segments
from stages.common.text_metrics import found_text, judge_texts, sound_text, text_of, uniform
from stages.common.texts import finish_text
from stages.common.turned import finish_turned
from stages.common.turned_metrics import found_turned, judge_turned, sound_turned, turned_objects

LOW_CONFIDENCE = 0.001  # low enough for the whole precision-recall curve, Ultralytics' value for it


def _nothing(*_: Any) -> Any:
    """Of a task without a metric nothing is kept and nothing is judged."""
    return None


@dataclass(frozen=True)
class Task:
    """One task.

    confidence: of the evaluation, which wants every candidate that counts.
    silent: (head) -> a confidence that no candidate of a network exceeds whose outputs are all the same.
    finish: (candidates, placement, shape, iou, max_detections) -> the result for one image.
    sound: the result without what is not a finite number, as it is kept until all images are through.
    truth: (labels, shape [H, W]) -> what the result is measured by.
    judge: (results, truths, class names, deployed confidence) -> the verdict.
    taken: a sound result as `judge` takes a truth: another phase's results as ground truth; None without a metric.
    needs_labels: false where it has no metric, and says so itself.
    """

    confidence: float
    silent: Callable[[Mapping[str, Any]], float]
    finish: Callable[..., Any]
    sound: Callable[[Any], Any]
    truth: Callable[[Labels, tuple[int, int]], Any]
    judge: Callable[..., Verdict]
    taken: Callable[[Any], Any] | None
    needs_labels: bool = True


def of(contract: Mapping[str, Any]) -> Task:
    """The task of the contract's model."""
    return TASKS[contract["model"]["task"]]


def _sound_boxes(found: Detections) -> Detections:
    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    return found if kept.all() else Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


def _sound_ranking(found: Ranking) -> Ranking:
    kept = np.isfinite(found.scores)
    return found if kept.all() else Ranking(found.classes[kept], found.scores[kept])


def _low(head: Mapping[str, Any]) -> float:
    del head
    return LOW_CONFIDENCE


def _even(head: Mapping[str, Any]) -> float:
    """A little more than every class has where all logits are the same."""
    return float(min(1.01 / head["num_classes"], 1.0))


def _boxes(labels: Labels, shape: tuple[int, int]) -> tuple[Any, Any]:
    return labels.in_pixels(shape), labels.classes


def _class(labels: Labels, shape: tuple[int, int]) -> int:
    del shape
    return int(labels.classes[0])


def _found_boxes(found: Detections) -> tuple[Any, Any]:
    return found.boxes.astype(np.float64), found.classes


def _best_class(found: Ranking) -> int:
    return int(found.classes[0]) if len(found.classes) else -1


def _unmeasured(*_: Any) -> Verdict:
    return Verdict(performance.unmeasured(UNMEASURED))


TASKS: dict[str, Task] = {
    "object_detection": Task(LOW_CONFIDENCE, _low, finish, _sound_boxes, _boxes, metrics.judge_boxes, _found_boxes),
    "segmentation": Task(LOW_CONFIDENCE, _low, finish_segments, encoded, outlines, judge_masks, found_outlines),
    "pose": Task(LOW_CONFIDENCE, _low, finish_poses, sound_poses, skeletons, judge_poses, found_skeletons),
    "oriented_detection": Task(
        LOW_CONFIDENCE, _low, finish_turned, sound_turned, turned_objects, judge_turned, found_turned
    ),
    "classification": Task(0.0, _even, finish_ranking, _sound_ranking, _class, judge_rankings, _best_class),
    "ocr": Task(0.0, uniform, finish_text, sound_text, text_of, judge_texts, found_text),
    "generic": Task(0.0, _low, finish_outputs, _nothing, _nothing, _unmeasured, None, needs_labels=False),
}
