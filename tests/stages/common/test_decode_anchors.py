"""Decoding of the original YOLOv5's head, against its formulas computed for every cell in float64."""

from __future__ import annotations

import numpy as np
import pytest

from stages.families.shapes import output_shapes
from stages.families.yolo.decode_anchors import decode_anchors

ANCHORS = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
HEAD = {"family": "yolo_anchors", "strides": [8, 16, 32], "anchors": ANCHORS, "num_classes": 3}
SIZE = [128, 192]


def outputs(seed: int, head: dict = HEAD) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.random(shape).astype(np.float32) for shape in output_shapes(head, SIZE)]


def dense(given: list[np.ndarray], head: dict, confidence: float) -> dict[tuple[float, int], list[float]]:
    """The box of every candidate by its score and class, cell by cell."""
    found = {}
    for output, stride, anchors in zip(given, head["strides"], head["anchors"], strict=True):
        maps = output[0].reshape(len(anchors), -1, *output.shape[2:])
        for (wide, high), cells in zip(anchors, maps, strict=True):
            for y, x in np.ndindex(cells.shape[1:]):
                a, b, c, d, there, *classes = cells[:, y, x]
                for label, one in enumerate(classes):
                    score = np.float32(there) * np.float32(one)
                    if score > np.float32(confidence):
                        middle = (2 * float(a) - 0.5 + x) * stride, (2 * float(b) - 0.5 + y) * stride
                        sides = (2 * float(c)) ** 2 * wide / 2, (2 * float(d)) ** 2 * high / 2
                        box = [m + sign * s for sign in (-1, 1) for m, s in zip(middle, sides, strict=True)]
                        found[float(score), label] = box
    return found


@pytest.mark.parametrize("confidence", [0.001, 0.25, 0.9])
@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        {**HEAD, "num_classes": 1},
        {**HEAD, "strides": [16, 32], "anchors": [[[10, 14.5], [23, 27]], [[81, 82], [135, 169]]]},
        {**HEAD, "strides": [8, 16, 32, 64], "anchors": [*ANCHORS, [[436, 615], [739, 380], [925, 792]]]},
    ],
)
def test_it_finds_what_the_formulas_say(head: dict, confidence: float) -> None:
    given = outputs(3, head)
    boxes, scores, classes = decode_anchors(given, head, confidence)
    expected = dense(given, head, confidence)
    found = dict(zip(zip(scores.tolist(), classes.tolist(), strict=True), boxes, strict=True))
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[key], box, atol=2e-3) for key, box in expected.items())
    assert boxes.dtype == scores.dtype == np.float32


def test_only_cells_whose_objectness_passes_are_looked_at() -> None:
    given = outputs(5)
    clean = decode_anchors(given, HEAD, 0.5)
    assert len(clean[0]) > 100
    for output in given:
        cells = output.reshape(3, 8, -1)
        cells.transpose(0, 2, 1)[cells[:, 4] <= 0.5] = np.nan
    for a, b in zip(decode_anchors(given, HEAD, 0.5), clean, strict=True):
        assert np.array_equal(a, b)


def test_a_cell_of_two_classes_gives_two_candidates_of_the_same_box() -> None:
    given = [np.zeros(shape, np.float32) for shape in output_shapes(HEAD, SIZE)]
    given[1].reshape(3, 8, 8, 12)[2, :, 4, 7] = [0.5, 0.5, 0.5, 0.5, 0.8, 1.0, 0.1, 0.5]
    boxes, scores, classes = decode_anchors(given, HEAD, 0.25)
    assert classes.tolist() == [0, 2]
    assert scores.tolist() == pytest.approx([0.8, 0.4])
    assert np.allclose(boxes, [[7.5 * 16 - 29.5, 4.5 * 16 - 59.5, 7.5 * 16 + 29.5, 4.5 * 16 + 59.5]] * 2)


def test_no_candidate_is_no_error() -> None:
    found = decode_anchors(outputs(1), HEAD, 1.0)
    assert [part.shape for part in found] == [(0, 4), (0,), (0,)]
