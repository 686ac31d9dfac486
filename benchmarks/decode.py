"""Decoding and non-maximum suppression of one 640 x 640 output with 80 classes and 3 scales, confidence 0.25.

Ours is what the evaluator and `npu_inference.py` run. The other side is the algorithm of the published demos
for YOLOv8 and YOLO11 on NPUs, written anew in numpy: it takes the softmax over the 16 bins of distribution
focal loss for all 8400 anchors first, then the expectation, then each anchor's best class, then the
threshold, then non-maximum suppression class by class. The demos do so because the head's outputs come as they are,
box by box and class by class; nothing is slower here than it has to be for that order of steps: whole arrays, no loop
over anchors, float32 throughout, one exponential per bin.

`--vendor .../rknn_model_zoo/examples/yolov8/python/yolov8.py` times that file's own `post_process` as well, with the
same thresholds and PyTorch in one thread; it needs PyTorch, which the environment of the pt phase has. Nothing of it
is here.

A head of 9 outputs gives a third one for each scale, the sum of its class scores. The demos in Python do not read it,
and neither do we: in INT8 it is rounded by a scale of its own, and may say 0 where a score does not.

The outputs are drawn: each object fires in 6 neighbouring cells of one scale, as many as the network of examples/shapes
gives on the average (5.7 candidates for one detection at confidence 0.25); all other scores lie below the threshold.
Both sides work in one thread; processor time is counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sides

from stages.common.detection import nms
from stages.families.yolo.decode import decode

SIZE, CLASSES, BINS, STRIDES = 640, 80, 16, (8, 16, 32)
HEAD = {"family": "yolo_dfl", "strides": list(STRIDES), "reg_max": BINS, "num_classes": CLASSES}
CONFIDENCE, IOU, MAX_DETECTIONS = 0.25, 0.7, 300
OBJECTS, JUDGED = (6, 30, 100, 300), 30
NEIGHBOURS = [(row, column) for row in (0, 1) for column in (-1, 0, 1)]
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes [n, 4], scores [n], classes [n]


def drawn(objects: int, seed: int = 0) -> list[np.ndarray]:
    """Outputs of a head cut at its convolutions: logits [1, 64, h, w] and scores [1, 80, h, w] for each scale."""
    random = np.random.default_rng(seed)
    outputs = []
    for stride in STRIDES:
        cells = SIZE // stride
        outputs.append(random.normal(0, 1, (1, 4 * BINS, cells, cells)).astype(np.float32))
        outputs.append((random.random((1, CLASSES, cells, cells)) * 0.05).astype(np.float32))
    shares = np.array([(SIZE / stride) ** 2 for stride in STRIDES])
    taken: set[tuple[int, int, int]] = set()
    while len(taken) < objects * len(NEIGHBOURS):
        scale = int(random.choice(len(STRIDES), p=shares / shares.sum()))
        row, column = random.integers(1, SIZE // STRIDES[scale] - 1, 2).tolist()
        cells = {(scale, row + down, column + right) for down, right in NEIGHBOURS}
        if taken & cells:  # where two objects share a cell, the other side sees the better one only
            continue
        taken |= cells
        label, half = random.integers(CLASSES), random.uniform(2, 7, 2)
        for down, right in NEIGHBOURS:
            place = (row + down, column + right)
            outputs[2 * scale + 1][0, label, place[0], place[1]] = random.uniform(0.3, 0.95)
            distances = (half[0] + right, half[1] + down, half[0] - right, half[1] - down)
            peaks = -3 * np.abs(np.arange(BINS) - np.array(distances)[:, None])
            outputs[2 * scale][0, :, place[0], place[1]] = peaks.ravel() + random.normal(0, 0.3, 4 * BINS)
    return outputs


def with_sums(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """The same as a head of 9 outputs gives it: behind each scale's scores their sum, at most 1, [1, 1, h, w]."""
    made = []
    for boxes, scores in zip(outputs[::2], outputs[1::2], strict=True):
        made += [boxes, scores, np.minimum(scores.sum(axis=1, keepdims=True), np.float32(1))]
    return made


def pairs(outputs: list[np.ndarray]) -> list[np.ndarray]:
    """Boxes and scores of each scale, without sums."""
    return outputs if len(outputs) == 6 else [output for place, output in enumerate(outputs) if place % 3 < 2]


def ours(outputs: list[np.ndarray]) -> Found:
    """This project's way."""
    boxes, scores, classes = decode(pairs(outputs), HEAD, CONFIDENCE)
    kept = nms(boxes, scores, classes, IOU, MAX_DETECTIONS)
    return boxes[kept], scores[kept], classes[kept]


def softmax_first(outputs: list[np.ndarray]) -> Found:
    """The demos' way."""
    outputs = pairs(outputs)
    boxes = np.concatenate([_by_anchor(_dense_boxes(outputs[2 * k], stride)) for k, stride in enumerate(STRIDES)])
    scores = np.concatenate([_by_anchor(outputs[2 * k + 1]) for k in range(len(STRIDES))])
    classes, best = scores.argmax(axis=1), scores.max(axis=1)
    above = best > CONFIDENCE
    boxes, best, classes = boxes[above], best[above], classes[above]
    kept = [
        index for label in np.unique(classes) for index in _one_class(boxes, best, np.flatnonzero(classes == label))
    ]
    return boxes[kept], best[kept], classes[kept]


def _dense_boxes(logits: np.ndarray, stride: int) -> np.ndarray:
    """[1, 4, h, w] x1 y1 x2 y2 in pixels: the expectation of every anchor's four distributions."""
    _, channels, rows, columns = logits.shape
    bins = logits.reshape(1, 4, channels // 4, rows, columns)
    powers = np.exp(bins - bins.max(axis=2, keepdims=True))
    powers /= powers.sum(axis=2, keepdims=True)
    distances = (powers * np.arange(channels // 4, dtype=np.float32).reshape(1, 1, -1, 1, 1)).sum(axis=2)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)))[None].astype(np.float32) + np.float32(0.5)
    return np.concatenate([grid - distances[:, :2], grid + distances[:, 2:]], axis=1) * np.float32(stride)


def _by_anchor(values: np.ndarray) -> np.ndarray:
    """[h * w, channels] from [1, channels, h, w]."""
    return values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])


def _one_class(boxes: np.ndarray, scores: np.ndarray, members: np.ndarray) -> list[int]:
    """Greedy suppression among the boxes `members`, one against all that are left."""
    x1, y1, x2, y2 = boxes[members].T
    areas, order, kept = (x2 - x1) * (y2 - y1), scores[members].argsort()[::-1], []
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(int(members[first]))
        width = np.maximum(np.minimum(x2[first], x2[rest]) - np.maximum(x1[first], x1[rest]), 0)
        height = np.maximum(np.minimum(y2[first], y2[rest]) - np.maximum(y1[first], y1[rest]), 0)
        shared = width * height
        order = rest[shared / (areas[first] + areas[rest] - shared) <= IOU]
    return kept


def published(file: Path) -> Callable[[list[np.ndarray]], Found]:
    """The `post_process` of a demo that the user has, with our thresholds. Raises BenchmarkError."""
    try:
        import torch

        torch.set_num_threads(1)
        spec = importlib.util.spec_from_file_location("published_demo", file)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (ImportError, OSError, ValueError, SyntaxError) as error:
        raise sides.BenchmarkError(
            f"{file} cannot be imported: {error}. It needs PyTorch and to lie in its own repository."
        ) from error
    module.OBJ_THRESH, module.NMS_THRESH, module.IMG_SIZE = CONFIDENCE, IOU, (SIZE, SIZE)

    def run(outputs: list[np.ndarray]) -> Found:
        boxes, classes, scores = module.post_process(outputs)
        return boxes, scores, classes

    return run


def check(outputs: list[np.ndarray], other: Callable[[list[np.ndarray]], Found]) -> None:
    """Raise BenchmarkError unless our boxes are among the other's: both do the same work."""
    mine, theirs = ours(outputs), other(outputs)
    found = {(round(float(score), 6), int(label)): box for box, score, label in zip(*theirs, strict=True)}
    for box, score, label in zip(*mine, strict=True):
        near = found.get((round(float(score), 6), int(label)))
        if near is None or not np.allclose(box, near, atol=0.01):
            raise sides.BenchmarkError(f"class {label} with score {score:.4f}: {box} here, {near} there")


def row(
    what: str, outputs: list[np.ndarray], beside: str, other: Callable[..., Found], goal: float | None, rounds: int
) -> sides.Row:
    """One comparison."""
    check(outputs, other)
    times = sides.alternate(
        sides.calls(lambda: ours(outputs), time.process_time),
        sides.calls(lambda: other(outputs), time.process_time),
        rounds,
    )
    return sides.Row(what, "threshold first", beside, *times, sides.Goal("speed", goal))


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row for each number of objects, and for a head of 9 outputs; those of the demo itself where it is given."""
    others = {"softmax first": softmax_first}
    if args.vendor:
        others[f"{args.vendor.name} itself"] = published(args.vendor)
    made = []
    for beside, other in others.items():
        for objects in OBJECTS:
            goal = 10.0 if objects == JUDGED else None
            outputs = drawn(objects)
            made.append(row(f"decode + NMS, {objects} objects", outputs, beside, other, goal, args.rounds))
        nine = with_sums(drawn(JUDGED))
        made.append(row(f"decode + NMS, {JUDGED} objects, 9 outputs", nine, beside, other, 10.0, args.rounds))
    return made


if __name__ == "__main__":
    sides.main(__doc__, rows, optional=["--vendor"])
