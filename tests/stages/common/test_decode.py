"""Decoding of the cut YOLO head, against the definition computed for every cell in float64."""

from __future__ import annotations

import numpy as np
import pytest

from stages.families.shapes import output_shapes
from stages.families.yolo.decode import decode

HEAD = {"family": "yolo_dfl", "strides": [8, 16, 32], "reg_max": 16, "num_classes": 3}
SIZE = [96, 160]


def outputs(seed: int, head: dict = HEAD) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    made = []
    for index, shape in enumerate(output_shapes(head, SIZE)):
        values = random.normal(0, 3, shape) if index % 2 == 0 else random.random(shape)
        made.append(values.astype(np.float32))
    return made


def dense(given: list[np.ndarray], head: dict, confidence: float) -> dict[tuple[float, int], list[float]]:
    """The box of every candidate by its score and class: the softmax over all cells, then the threshold."""
    found = {}
    for index, stride in enumerate(head["strides"]):
        logits, scores = given[2 * index][0].astype(np.float64), given[2 * index + 1][0]
        _, rows, columns = scores.shape
        sides = np.exp(logits.reshape(4, head["reg_max"], rows, columns))
        sides = (sides / sides.sum(1, keepdims=True) * np.arange(head["reg_max"])[None, :, None, None]).sum(1)
        for label, y, x in np.argwhere(scores > np.float32(confidence)):
            left, top, right, bottom = sides[:, y, x]
            box = (x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom)
            found[float(scores[label, y, x]), int(label)] = [float(side * stride) for side in box]
    return found


@pytest.mark.parametrize("confidence", [0.001, 0.25, 0.9, 1.0])
def test_it_finds_what_the_definition_finds(confidence: float) -> None:
    given = outputs(3)
    boxes, scores, classes = decode(given, HEAD, confidence)
    expected = dense(given, HEAD, confidence)
    found = dict(zip(zip(scores.tolist(), classes.tolist(), strict=True), boxes, strict=True))
    assert found.keys() == expected.keys()
    assert len(found) == len(boxes)
    assert all(np.allclose(found[key], box, atol=1e-3) for key, box in expected.items())
    assert boxes.dtype == scores.dtype == np.float32


def test_a_cell_gives_a_candidate_for_each_class_above_the_threshold() -> None:
    given = [np.zeros(shape, np.float32) for shape in output_shapes(HEAD, SIZE)]
    given[3][0, :, 2, 5] = [0.9, 0.1, 0.8]
    boxes, scores, classes = decode(given, HEAD, 0.25)
    assert classes.tolist() == [0, 2]
    assert scores.tolist() == pytest.approx([0.9, 0.8])
    middle = 7.5 * 16  # equal logits: half of the 15 bins, to each side
    centre = np.array([5.5 * 16, 2.5 * 16])
    assert np.allclose(boxes, [[*(centre - middle), *(centre + middle)]] * 2)


def test_boxes_are_decoded_for_the_cells_that_stay_only() -> None:
    given = outputs(5)
    clean = decode(given, HEAD, 0.9)
    for index in (0, 2, 4):
        low = (given[index + 1] <= 0.9).all(axis=1)
        given[index][:, :, low[0]] = np.nan
    for a, b in zip(decode(given, HEAD, 0.9), clean, strict=True):
        assert np.array_equal(a, b)


def test_scores_that_are_not_numbers_are_no_candidates() -> None:
    given = outputs(6)
    for index in (1, 3, 5):
        given[index][:] = np.nan
    assert len(decode(given, HEAD, 0.25)[0]) == 0


def test_huge_logits_do_not_overflow() -> None:
    given = outputs(8)
    for index in (0, 2, 4):
        given[index] *= 1e4
    assert np.isfinite(decode(given, HEAD, 0.5)[0]).all()


def test_one_class_and_another_number_of_bins() -> None:
    head = {**HEAD, "num_classes": 1, "reg_max": 4}
    given = outputs(9, head)
    assert len(decode(given, head, 0.5)[0]) == len(dense(given, head, 0.5))


@pytest.mark.parametrize("strides", [[16, 32], [8, 16, 32, 64], [4, 8, 16, 32]])
@pytest.mark.parametrize("reg_max", [16, 1])
def test_two_and_four_scales_and_plain_distances(strides: list[int], reg_max: int) -> None:
    head = {**HEAD, "strides": strides, "reg_max": reg_max}
    given = [
        np.random.default_rng(index).random(shape).astype(np.float32) * (1 if index % 2 else 5)
        for index, shape in enumerate(output_shapes(head, [128, 192]))
    ]
    boxes, scores, classes = decode(given, head, 0.6)
    expected = dense(given, head, 0.6) if reg_max > 1 else plain(given, head, 0.6)
    found = dict(zip(zip(scores.tolist(), classes.tolist(), strict=True), boxes, strict=True))
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[key], box, atol=1e-3) for key, box in expected.items())


def plain(given: list[np.ndarray], head: dict, confidence: float) -> dict[tuple[float, int], list[float]]:
    """The box of every candidate where the outputs are the distances themselves."""
    found = {}
    for index, stride in enumerate(head["strides"]):
        sides, scores = given[2 * index][0], given[2 * index + 1][0]
        for label, y, x in np.argwhere(scores > np.float32(confidence)):
            left, top, right, bottom = sides[:, y, x].tolist()
            box = (x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom)
            found[float(scores[label, y, x]), int(label)] = [float(side * stride) for side in box]
    return found
