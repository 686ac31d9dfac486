"""Preparation and decoding, against the library that trained the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ultralytics.data.augment import LetterBox
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.nms import non_max_suppression

from stages.common.detection import nms
from stages.common.images import prepare
from stages.families.shapes import output_shapes
from stages.families.yolo.decode import decode

RANDOM = np.random.default_rng(5)


def contract(size: tuple[int, int], position: str) -> dict:
    return {
        "input": {"size": list(size), "format": "BGR"},
        "preprocessing": {
            "resize": {"method": "letterbox"},
            "padding": {"enabled": True, "color": [114, 114, 114], "position": position},
        },
    }


@pytest.mark.parametrize("size", [(640, 640), (384, 640), (256, 256), (96, 160)])
@pytest.mark.parametrize("position", ["center", "top_left"])
def test_the_letterbox_is_the_library_s_pixel_for_pixel(size: tuple[int, int], position: str) -> None:
    reference = LetterBox(size, center=position == "center")
    for _ in range(25):
        rows, columns = (int(side) for side in RANDOM.integers(1, 900, 2))
        image = RANDOM.integers(0, 256, (rows, columns, 3), np.uint8)
        prepared, at = prepare(image, contract(size, position))
        assert np.array_equal(prepared, reference(image=image)), (rows, columns)
        wanted = reference.get_params({"img": image})
        assert (at.left, at.top, (at.width, at.height)) == (wanted["left"], wanted["top"], wanted["new_unpad"])


def detect(classes: int, size: list[int]) -> tuple[Detect, dict, list[np.ndarray], torch.Tensor]:
    """The library's head on random logits: itself, as data, the cut outputs, and what it makes of them."""
    torch.manual_seed(classes)
    head = Detect(nc=classes, ch=(8, 8, 8)).eval()
    head.stride = torch.tensor([8.0, 16.0, 32.0])
    described = {"family": "yolo_dfl", "strides": [8, 16, 32], "reg_max": head.reg_max, "num_classes": classes}
    shapes = output_shapes(described, size)
    raw = [torch.randn(shape) * (2 if index % 2 else 4) for index, shape in enumerate(shapes)]
    boxes = torch.cat([logits.flatten(2) for logits in raw[::2]], 2)
    scores = torch.cat([logits.flatten(2) for logits in raw[1::2]], 2)
    predictions = head._inference({"boxes": boxes, "scores": scores, "feats": raw[::2]})
    cut = [logits.sigmoid() if index % 2 else logits for index, logits in enumerate(raw)]
    return head, described, [output.numpy() for output in cut], predictions


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("size", [[64, 64], [96, 160]])
def test_boxes_and_scores_are_the_library_s(classes: int, size: list[int]) -> None:
    _, described, outputs, predictions = detect(classes, size)
    boxes, scores, labels = decode(outputs, described, 0.6)
    order = np.argsort(labels, kind="stable")  # decode lists scale after scale, the library class after class
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    centre, sides, all_scores = predictions[0, :2], predictions[0, 2:4], predictions[0, 4:].numpy()
    corners = torch.cat([centre - sides / 2, centre + sides / 2]).T.numpy()
    expected_labels, cells = np.nonzero(all_scores > 0.6)
    assert len(scores) == len(cells) > 0
    assert np.array_equal(labels, expected_labels)
    assert np.abs(scores - all_scores[expected_labels, cells]).max() < 1e-6
    assert np.abs(boxes - corners[cells]).max() < 1e-3


@pytest.mark.parametrize("confidence", [0.001, 0.25, 0.9])
@pytest.mark.parametrize("iou", [0.45, 0.7])
def test_detections_are_those_of_the_library_s_validation(confidence: float, iou: float) -> None:
    _, described, outputs, predictions = detect(3, [96, 160])
    boxes, scores, labels = decode(outputs, described, confidence)
    kept = nms(boxes, scores, labels, iou, 300)
    reference = non_max_suppression(predictions, confidence, iou, multi_label=True, max_det=300)[0].numpy()
    assert len(kept) == len(reference)
    assert np.allclose(scores[kept], reference[:, 4], atol=1e-6)
    assert np.array_equal(labels[kept], reference[:, 5])
    assert np.abs(boxes[kept] - reference[:, :4]).max() < 2e-3  # the library adds 7680 per class: float32 loses bits
