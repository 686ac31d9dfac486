"""What the pt phase measures of each task's trained network, against the validation of the library that trained it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.draw_tasks import write
from mcwbuild.contract import dataset, documents
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.stage import parser
from stages.common import images as pictures
from stages.common.checkpoint import read
from stages.common.detection import kept_of
from stages.common.ground_truth import Form, read_labels
from stages.common.mask_metrics import Outlines, encoded, judge_masks
from stages.common.segmentation import Segments
from stages.common.tasks import LOW_CONFIDENCE
from stages.families import recognise
from stages.families.yolo.network import quiet_ultralytics
from stages.families.yolo.preparation import LETTERBOXED
from stages.pt.stage import STAGE
from stages.pt.torchvision_operators import register_missing

quiet_ultralytics()

import torch  # noqa: E402

OPERATORS = register_missing()  # they last as long as this

from ultralytics import YOLO  # noqa: E402
from ultralytics.data.utils import polygons2masks_overlap  # noqa: E402
from ultralytics.utils import ops  # noqa: E402

from tests.support.train_models import NETWORKS  # noqa: E402
from tests.support.trained import checkpoint as trained  # noqa: E402

SIZE, IOU, LIMIT = 64, 0.7, 300
CLASSIFIED = 96  # the classifier's
MOST = 0.005  # share by which the two may differ
# The library's name of each task's main metric.
MAIN = {
    "classify": "metrics/accuracy_top1",
    "detect": "metrics/mAP50-95(B)",
    "segment": "metrics/mAP50-95(M)",
    "pose": "metrics/mAP50-95(P)",
    "obb": "metrics/mAP50-95(B)",
}


@cache
def drawn(task: str) -> Path:
    """Images that the training did not see."""
    import tempfile

    return write(Path(tempfile.mkdtemp()), NETWORKS[task][2], 6, 64, seed=2, large=True)  # type: ignore[arg-type]


@cache
def library_says(task: str) -> float:
    """The library's own validation, at the same size, limit and overlap."""
    settings = {"batch": 1, "rect": False, "workers": 0, "device": "cpu", "plots": False, "verbose": False}
    side = CLASSIFIED if task == "classify" else SIZE
    measured = {"imgsz": side, "conf": LOW_CONFIDENCE, "iou": IOU, "max_det": LIMIT}
    project = drawn(task).parent / f"runs-{task}"
    found = YOLO(trained(task)).val(data=str(drawn(task)), project=str(project), **settings, **measured)
    return float(found.results_dict[MAIN[task]])


def we_say(task: str, out: Path) -> dict[str, Any]:
    """`accuracy_metrics` of the phase."""
    words = ["--pt", trained(task), "--data", drawn(task), "--out", out, "--iou", IOU, "--threads", 1]
    words += ["--max-detections", LIMIT]
    STAGE.work(
        STAGE.require(parser(STAGE).parse_args([str(word) for word in words])), Bench(out, out, 1, lambda event: None)
    )
    record = documents.read_json(out / "performance_pt.json").value
    figures: dict[str, Any] = record["accuracy_metrics"]
    return figures


@pytest.mark.parametrize("task", [task for task in MAIN if task != "segment"])
def test_the_baseline_is_the_library_s_own_figure(tmp_path: Path, task: str) -> None:
    ours = we_say(task, tmp_path)["top1" if task == "classify" else "map50_95"]
    assert ours > 0.5
    assert ours == pytest.approx(library_says(task), rel=MOST)


def test_masks_counted_as_the_library_counts_give_its_figure(tmp_path: Path) -> None:
    """It counts in the padded input at a quarter of its size, where each pixel is many of the image; here the image's
    own pixels count. The boxes, scores and masks are the same: counted in its way they give its figure."""
    checkpoint = read(trained("segment"))
    family = recognise(checkpoint)
    network, head = family.cut(family.build(checkpoint))
    contract = {"input": {"size": [SIZE, SIZE], "format": "RGB"}, "preprocessing": LETTERBOXED}
    split = dataset.read(drawn("segment")).splits["val"]
    results, truths = [], []
    for image, labels in zip(split, read_labels(split, len(checkpoint.names), Form("polygon")), strict=True):
        picture = pictures.read(image)
        prepared, at = pictures.prepare(picture, contract)
        with torch.no_grad():
            outputs = network(torch.from_numpy(prepared.transpose(2, 0, 1).copy())[None].float() / 255)
        boxes, scores, classes, rows, prototypes = family.decode(
            [part.numpy() for part in outputs], head, LOW_CONFIDENCE
        )
        kept = kept_of(boxes, scores, classes, IOU, LIMIT)
        quarter = (SIZE // 4, SIZE // 4)
        found = ops.process_mask(*map(torch.from_numpy, (prototypes, rows[kept], boxes[kept])), (SIZE, SIZE)).numpy()
        masks = tuple((mask.astype(bool), 0, 0) for mask in found)
        results.append(encoded(Segments(boxes[kept], scores[kept], classes[kept], masks, quarter)))
        polygons = [points * [at.width, at.height] + [at.left, at.top] for points in labels.points]
        resampled = [np.float32(part) for part in ops.resample_segments(polygons, 1000)]
        whole, order = polygons2masks_overlap((SIZE, SIZE), resampled, downsample_ratio=4)
        truth = tuple((whole == number, 0, 0) for number in range(1, len(order) + 1))
        runs = encoded(Segments(np.zeros((len(order), 4)), np.ones(len(order)), labels.classes[order], truth, quarter))
        truths.append(Outlines(runs.boxes, runs.classes, runs.masks, quarter))
    figures = judge_masks(results, truths, checkpoint.names, 0.25).metrics
    ours = we_say("segment", tmp_path)
    print(f"library {library_says('segment'):.4f}, as it counts {figures['map50_95']:.4f}, ours {ours['map50_95']:.4f}")
    assert figures["map50_95"] == pytest.approx(library_says("segment"), rel=MOST)
    assert ours["map50_95"] > 0.5
