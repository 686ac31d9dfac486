"""What a given file's own outputs say: its predictions, to hold the cut against, and its results, to be measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.families import family_of
from stages.onnx.head import Head

Outputs = list[NDArray[np.float32]]
Candidates = tuple[Any, ...]
_PIXELS, _SCORES, _VALUES = 0.05, 1e-4, 1e-3  # the same arithmetic in another order differs by a hundredth of each
# What is compared of each family, and the largest error: of boxes and points in pixels of the input, of scores 0..1.
LIMITS: Mapping[str, Mapping[str, float]] = {
    "yolo_dfl": {"boxes": _PIXELS, "scores": _SCORES},
    "yolo_masks": {"boxes": _PIXELS, "scores": _SCORES, "coefficients": _VALUES, "prototypes": _VALUES},
    "yolo_poses": {"boxes": _PIXELS, "scores": _SCORES, "keypoints": _PIXELS, "visible": _SCORES},
    "yolo_turned": {"boxes": _PIXELS, "scores": _SCORES, "angles": _VALUES},
    "yolo_classes": {"probabilities": _SCORES},
    "yolo_anchors": {"boxes": _PIXELS, "scores": _SCORES},
}


def tensors(head: Head) -> list[str]:
    """The graph's tensors that `predictions` takes."""
    return [head.dense, *head.outputs[1:]] if head.dense else list(head.outputs)


def predictions(head: Head, outputs: Outputs) -> Outputs:
    """Every prediction of the file itself, a tensor for each name of `LIMITS`: boxes [n, 4], scores [nc, n], ..."""
    return _answers(head, candidates(head, outputs, -1.0))


def decoded(head: Head, outputs: Outputs) -> Outputs:
    """The same of the cut's outputs, by the deployed decoder."""
    return _answers(head, family_of(head.described).decode(outputs, head.described, -1.0))


def _answers(head: Head, found: Candidates) -> Outputs:
    """Candidates of every cell and every class as what is compared."""
    family, classes = head.described["family"], head.described.get("num_classes", 1)
    if family == "yolo_classes":
        labels, scores = found
        return [scores[np.argsort(labels)]]
    boxes, scores, labels, *more = found
    order = np.argsort(labels, kind="stable")  # class after class, cells in the scales' order
    scores = scores[order].reshape(classes, -1)
    first = order[: scores.shape[1]]
    if family == "yolo_turned":
        return [boxes[first, :4], scores, boxes[first, 4]]
    if family == "yolo_masks":
        return [boxes[first], scores, more[0][first], more[1]]
    if family == "yolo_poses":
        return [boxes[first], scores, more[0][first, :, :2], more[0][first, :, 2]]
    return [boxes[first], scores]


def candidates(head: Head, outputs: Sequence[NDArray[np.float32]], confidence: float) -> Candidates:
    """Candidates above `confidence` of every prediction, as the family's decoder gives them."""
    if head.form == "classes":
        return ranked(outputs[0].reshape(-1), confidence)
    if head.form == "maps":
        return _of_maps(head, outputs, confidence)
    classes = head.described["num_classes"]
    if head.form == "cells":
        rows = outputs[0][0].T
        boxes, scores, more = rows[:4], rows[4:5] * rows[5:], rows[:0]
    else:
        boxes, scores, more = outputs[0][0, :4], outputs[0][0, 4 : 4 + classes], outputs[0][0, 4 + classes :]
    labels, cells = np.nonzero(scores > confidence)
    corners = head.form == "best" and head.described["family"] != "yolo_turned"
    placed = _placed(head, boxes, more, corners).take(cells, axis=0)
    return placed, scores[labels, cells], labels, *_more(head, more.T.take(cells, axis=0), outputs)


def results(head: Head, outputs: Sequence[NDArray[np.float32]], confidence: float) -> Candidates:
    """Candidates above `confidence` as the file is deployed: of a one-to-one head the best ones that it gives."""
    if head.form != "best":
        return candidates(head, outputs, confidence)
    rows = outputs[0][0]
    rows = rows[rows[:, 4] > confidence]
    boxes = _placed(head, rows[:, :4].T, rows[:, 6:].T, corners=head.described["family"] != "yolo_turned")
    return boxes, rows[:, 4], rows[:, 5].astype(np.int64), *_more(head, rows[:, 6:], outputs)


def ranked(probabilities: NDArray[np.float32], confidence: float) -> Candidates:
    """Classes of at least that probability, best first, and their probabilities."""
    order = np.argsort(-probabilities, kind="stable")
    order = order[probabilities[order] >= confidence]
    return order, probabilities[order]


def _placed(head: Head, boxes: NDArray[np.float32], more: NDArray[np.float32], corners: bool) -> NDArray[np.float32]:
    """[n, 4] x1 y1 x2 y2 from centre and sides [4, n], or from `corners`; of turned boxes [n, 5] with their angle."""
    if head.described["family"] == "yolo_turned":
        placed: NDArray[Any] = np.concatenate([boxes, more])
    elif corners:
        placed = boxes
    else:
        centre, half = boxes[:2], boxes[2:] / 2
        placed = np.concatenate([centre - half, centre + half])
    found: NDArray[np.float32] = placed.T
    return found


def _more(head: Head, more: NDArray[np.float32], outputs: Sequence[NDArray[np.float32]]) -> tuple[Any, ...]:
    """What a task's candidates have behind boxes, scores and classes, from the rest of the predictions [n, c]."""
    family = head.described["family"]
    if family == "yolo_masks":
        return more, outputs[1][0]
    if family != "yolo_poses":
        return ()
    count, numbers = head.described["keypoints"]
    points = more.reshape(len(more), count, numbers)
    seen = points[..., 2:] if numbers == 3 else np.ones((len(more), count, 1), np.float32)
    return (np.concatenate([points[..., :2], seen], axis=2),)


def _of_maps(head: Head, outputs: Sequence[NDArray[np.float32]], confidence: float) -> Candidates:
    """Of a file that gives the maps: [1, anchors, h, w, 5 + nc] are brought to [1, anchors * (5 + nc), h, w]."""
    flat = [one.transpose(0, 1, 4, 2, 3) if one.ndim == 5 else one for one in outputs]
    flat = [one.reshape(1, -1, *one.shape[-2:]) for one in flat]
    if not head.activated:
        flat = [(1 / (1 + np.exp(-one.astype(np.float64)))).astype(np.float32) for one in flat]
    return family_of(head.described).decode(flat, head.described, confidence)
