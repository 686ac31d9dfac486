"""Segmentation, pose and oriented detection: rebuilt bit for bit, cut, and decoded as the library decodes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import read
from stages.common.detection import suppression
from stages.common.images import Placement, place
from stages.common.pose_metrics import similarity
from stages.common.segmentation import finish_segments
from stages.common.turned import corners_of, finish_turned, probabilistic_iou, turned_nms, turned_to_image
from stages.common.turned_metrics import _smallest
from stages.families import recognise
from stages.families.family import Family
from stages.families.shapes import output_shapes
from stages.families.yolo.network import quiet_ultralytics
from stages.families.yolo.preparation import LETTERBOXED

quiet_ultralytics()

import torch  # noqa: E402
from ultralytics.nn.tasks import load_checkpoint  # noqa: E402
from ultralytics.utils import ops  # noqa: E402
from ultralytics.utils.metrics import batch_probiou, kpt_iou  # noqa: E402
from ultralytics.utils.nms import TorchNMS, non_max_suppression  # noqa: E402

from tests.support.detectors import NAMES, saved, untrained  # noqa: E402

RANDOM = np.random.default_rng(11)
SIZE = (96, 128)
TASKS = {"seg": "segment", "pose": "pose", "obb": "obb"}
NETWORKS = [f"{family}-{suffix}" for suffix in TASKS for family in ("yolov8n", "yolo11n", "yolo26n")]


@cache
def cut_of(name: str) -> tuple[Family, dict[str, Any], list[np.ndarray], torch.Tensor, Any]:
    """The family, the head, the cut outputs for an image, what the library's head makes of it, and its prototypes."""
    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder), untrained(f"{name}.yaml"), imgsz=128, task=TASKS[name.rpartition("-")[2]])
        checkpoint = read(path)
        family = recognise(checkpoint)
        network = family.build(checkpoint)
        theirs = load_checkpoint(path)[0].float().eval()
    image = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        expected, parts = theirs(image)
        rebuilt = network(image)[0]
        for own, other in zip(tensors(rebuilt), tensors(expected), strict=True):
            assert torch.equal(own, other)
        cut, head = family.cut(network)
        outputs = [output.numpy() for output in cut(image)]
        theirs.model[-1].end2end = False  # else its boxes come as corners
        raw = theirs.model[-1]._inference(parts.get("one2one", parts))
    return family, head, outputs, raw, parts.get("one2one", parts).get("proto")


def tensors(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [part for one in value for part in tensors(one)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cut_network_has_the_shapes_that_its_head_says(name: str) -> None:
    family, head, outputs, _, _ = cut_of(name)
    assert family.heads == {head["family"]}
    assert [list(output.shape) for output in outputs] == output_shapes(head, SIZE)
    assert len(head["outputs"]) == len(outputs)
    assert head.get("nms", True) != name.startswith("yolo26")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_candidate_is_decoded_as_the_library_decodes_it(name: str) -> None:
    family, head, outputs, raw, proto = cut_of(name)
    classes = len(NAMES)
    threshold = float(raw[0, 4 : 4 + classes].quantile(0.7))
    boxes, scores, labels, *more = family.decode(outputs, head, threshold)
    order = np.argsort(labels, kind="stable")  # decode lists scale after scale, the library class after class
    values = raw[0].numpy()
    expected_labels, cells = np.nonzero(values[4 : 4 + classes] > threshold)
    assert len(order) == len(cells) > 50
    assert np.array_equal(labels[order], expected_labels)
    assert np.abs(scores[order] - values[4 + expected_labels, cells]).max() < 1e-6
    expected = values[:4, cells].T
    extra = values[4 + classes :, cells].T
    if name.endswith("obb"):
        expected = np.concatenate([expected, extra], axis=1)
    else:
        expected = np.concatenate([expected[:, :2] - expected[:, 2:] / 2, expected[:, :2] + expected[:, 2:] / 2], 1)
    assert np.abs(boxes[order] - expected).max() < 2e-3
    if name.endswith("pose"):
        assert np.abs(more[0][order].reshape(len(order), -1) - extra).max() < 2e-3
    elif name.endswith("seg"):
        assert np.abs(more[0][order] - extra).max() < 1e-4
        assert np.abs(more[1] - proto[0].numpy()).max() < 1e-4


@pytest.mark.parametrize("name", ["yolov8n-obb", "yolo11n-obb"])
def test_turned_boxes_that_stay_are_those_that_the_library_keeps(name: str) -> None:
    family, head, outputs, raw, _ = cut_of(name)
    threshold = float(raw[0, 4 : 4 + len(NAMES)].quantile(0.7))
    boxes, scores, labels = family.decode(outputs, head, threshold)
    settings = {"multi_label": True, "nc": len(NAMES), "max_det": 100, "rotated": True}
    expected = non_max_suppression(raw, threshold, 0.47, **settings)[0].numpy()
    kept = turned_nms(boxes, scores, labels, 0.47, 100)
    assert np.allclose(boxes[kept], expected[:, [0, 1, 2, 3, 6]], atol=2e-3)
    assert np.allclose(scores[kept], expected[:, 4], atol=1e-6)
    assert np.array_equal(labels[kept], expected[:, 5])


@pytest.mark.parametrize("shape", [(96, 128), (60, 128), (144, 112), (333, 517), (41, 40)])
def test_masks_are_the_library_s_own_at_the_images_size(shape: tuple[int, int]) -> None:
    size = (128, 128)
    placement = place(shape, {"input": {"size": size}, "preprocessing": LETTERBOXED})
    prototypes = RANDOM.normal(0, 1, (8, 32, 32)).astype(np.float32)
    coefficients = RANDOM.normal(0, 1, (20, 8)).astype(np.float32)
    corners = np.sort(RANDOM.uniform(0, 128, (20, 2, 2)), axis=1).reshape(20, 4).astype(np.float32)
    candidates = (corners, np.linspace(0.9, 0.1, 20).astype(np.float32), np.arange(20), coefficients, prototypes)
    found = finish_segments(candidates, placement, shape, None, 300)
    expected = ops.process_mask_native(
        torch.from_numpy(prototypes), torch.from_numpy(coefficients), torch.from_numpy(found.boxes.copy()), shape
    ).numpy()
    for (mask, top, left), wanted in zip(found.masks, expected, strict=True):
        whole = np.zeros(shape, np.uint8)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        assert (whole != wanted).sum() <= 1e-3 * wanted.size  # sums in another order, where they are all but 0
    assert expected.any()


def turned_boxes(count: int) -> np.ndarray:
    places, sides = RANDOM.uniform(0, 60, (count, 2)), RANDOM.uniform(2, 40, (count, 2))
    return np.concatenate([places, sides, RANDOM.uniform(-4, 4, (count, 1))], axis=1)


def test_probabilistic_iou_and_its_suppression_are_the_library_s() -> None:
    one, other = turned_boxes(60), turned_boxes(40)
    assert np.allclose(probabilistic_iou(one, other), batch_probiou(one, other).numpy(), atol=1e-9)
    assert np.allclose(np.diag(probabilistic_iou(one, one)), 1, atol=1e-3)
    scores = RANDOM.permutation(60).astype(np.float32) / 60
    kept = turned_nms(one, scores, np.zeros(60, np.int64), 0.3, 300)
    expected = TorchNMS.fast_nms(torch.from_numpy(one), torch.from_numpy(scores), 0.3, iou_func=batch_probiou)
    assert kept.tolist() == expected.tolist()
    apart = turned_nms(one, scores, np.arange(60), 0.3, 10)
    assert apart.tolist() == np.argsort(-scores)[:10].tolist()


def test_corners_and_smallest_boxes_are_the_library_s() -> None:
    boxes = turned_boxes(50)
    corners = corners_of(boxes)
    assert np.allclose(corners, ops.xywhr2xyxyxyxy(torch.from_numpy(boxes)).numpy(), atol=1e-9)
    own = np.array([_smallest(points) for points in corners])
    theirs = ops.xyxyxyxy2xywhr(corners.reshape(50, 8))
    assert (np.diag(probabilistic_iou(own, theirs)) > 0.99).all()
    assert (np.diag(probabilistic_iou(own, boxes)) > 0.99).all()


def test_turned_boxes_go_back_to_the_image_with_their_corners() -> None:
    boxes = turned_boxes(40).astype(np.float32)
    same = turned_to_image(boxes, Placement(0.5, 0.5, 8, 4, 64, 64))
    wanted = (corners_of(boxes) - [8, 4]) / 0.5
    assert np.allclose(corners_of(same), wanted, atol=1e-3)
    rounded = turned_to_image(boxes, Placement(0.5, 0.505, 8, 4, 64, 64))  # two sides rounded to pixels
    assert np.abs(corners_of(rounded) - (corners_of(boxes) - [8, 4]) / [0.5, 0.505]).max() < 0.5
    found = finish_turned(
        (boxes, np.ones(40, np.float32), np.zeros(40, np.int64)), Placement(1, 1, 0, 0, 9, 9), (9, 9), None, 5
    )
    assert np.allclose(found.boxes[:, :4], boxes[:5, :4], rtol=1e-5)
    assert suppression({"nms": False}, 0.7) is None


@pytest.mark.parametrize("count", [5, 17])
def test_the_similarity_of_keypoints_is_the_library_s(count: int) -> None:
    from ultralytics.utils.metrics import OKS_SIGMA

    found, truth = (RANDOM.uniform(0, 50, (number, count, 3)) for number in (9, 6))
    truth[..., 2] = RANDOM.integers(0, 3, truth.shape[:2])
    areas = RANDOM.uniform(50, 2000, 6)
    sigma = OKS_SIGMA if count == 17 else np.ones(count) / count
    expected = kpt_iou(*(torch.from_numpy(part) for part in (truth, found)), torch.from_numpy(areas), sigma).numpy().T
    assert np.allclose(similarity(found, truth, areas), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [None, [4], [4, 5], ["a", 3], [0, 3]])
def test_keypoints_that_are_none_are_refused(tmp_path: Path, shape: Any) -> None:
    model = untrained("yolo11n-pose.yaml")
    model.yaml["kpt_shape"] = shape
    checkpoint = read(saved(tmp_path, model, task="pose"))
    with pytest.raises(InputError, match=r"keypoints of best\.pt cannot be used"):
        recognise(checkpoint).describe(checkpoint)


def test_a_pose_of_two_numbers_has_no_visibilities(tmp_path: Path) -> None:
    model = untrained("yolo11n-pose.yaml", keypoints=(4, 2))
    checkpoint = read(saved(tmp_path, model, imgsz=64, task="pose"))
    family = recognise(checkpoint)
    assert family.describe(checkpoint)["classes"]["keypoints"] == [4, 2]
    cut, head = family.cut(family.build(checkpoint))
    outputs = [output.numpy() for output in cut(torch.rand(1, 3, 64, 64))]
    assert [list(output.shape) for output in outputs] == output_shapes(head, [64, 64])
    assert (family.decode(outputs, head, 0.0)[3][..., 2] == 1).all()
