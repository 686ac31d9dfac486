"""ONNX files as other people export them: Ultralytics' own networks and head, with random weights.

For tests that run in the onnx stage's environment, and a program for those that do not:

    python foreign_onnx.py best.pt model.onnx     (Ultralytics' own `export format=onnx`)
"""

from __future__ import annotations

import io
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import torch
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import dist2bbox, make_anchors

SMALL = {  # a network of two scales that exports in a fraction of a second, with the library's own head
    "nc": 2,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
    ],
    "head": [[[2, 3], 1, "Detect", ["nc"]]],
}


HEADS: dict[str, tuple[str, list[Any]]] = {  # by task: the library's class of networks, and the arguments of its head
    "Detect": ("DetectionModel", ["nc"]),
    "Segment": ("SegmentationModel", ["nc", 8, 16]),
    "Pose": ("PoseModel", ["nc", "kpt_shape"]),
    "OBB": ("OBBModel", ["nc", 1]),
    "Classify": ("ClassificationModel", ["nc"]),
}


def small(head: str, classes: int, best: bool = False, **more: Any) -> torch.nn.Module:
    """The network of `SMALL` with the library's own `head`, in export mode; of `Pose26` and its like with two heads.

    `best`: the one-to-one head is taken, as `yolo export nms=False` does. Scores spread over 0..1.
    """
    torch.manual_seed(0)
    kind, arguments = HEADS[head.removesuffix("26")]
    features: Any = [2, 3] if kind != "ClassificationModel" else 3
    newer = {"end2end": True, "reg_max": 1} if head.endswith("26") or best else {}
    whole = {**SMALL, "kpt_shape": [5, 3], **newer, **more, "nc": classes, "head": [[features, 1, head, arguments]]}
    model = getattr(tasks, kind)(whole, ch=3, nc=classes, verbose=False).train()
    with torch.no_grad():
        model(torch.rand(4, 3, 64, 64))
    last = model.eval().requires_grad_(False).model[-1]
    last.export, last.format = True, "onnx"
    if kind != "ClassificationModel":
        last.end2end = best
        for scores in last.one2one["cls_head"] if best else last.one2many["cls_head"]:
            torch.nn.init.normal_(scores[-1].weight, std=0.3)
            torch.nn.init.normal_(scores[-1].bias, std=2.0)
    return model


def network(architecture: str | dict[str, Any], classes: int, *, joined: bool = False) -> torch.nn.Module:
    """A detector with its head in export mode; scores spread over 0..1. `joined` is the head's form up to 8.3."""
    torch.manual_seed(0)
    model = DetectionModel(architecture, ch=3, nc=classes, verbose=False).eval().requires_grad_(False)
    head = model.model[-1]
    for boxes, scores in zip(head.cv2, head.cv3, strict=True):
        for last in (boxes[-1], scores[-1]):
            torch.nn.init.normal_(last.weight, std=0.3)
            torch.nn.init.normal_(last.bias, std=2.0)
    head.export, head.format = True, "onnx"
    if joined:
        head.forward = lambda features: _joined(head, features)
    return model


def _joined(head: Any, features: list[torch.Tensor]) -> torch.Tensor:
    """`Detect.forward` and `_inference` of ultralytics 8.0 to 8.3, written after their description."""
    maps = [torch.cat((boxes(x), scores(x)), 1) for x, boxes, scores in zip(features, head.cv2, head.cv3, strict=True)]
    flat = torch.cat([each.view(1, head.no, -1) for each in maps], 2)
    anchors, strides = (part.transpose(0, 1) for part in make_anchors(maps, head.stride, 0.5))
    boxes, scores = flat.split((head.reg_max * 4, head.nc), 1)
    placed = dist2bbox(head.dfl(boxes), anchors.unsqueeze(0), xywh=True, dim=1) * strides
    return torch.cat((placed, scores.sigmoid()), 1)


def export(
    model: torch.nn.Module,
    size: Sequence[int],
    opset: int = 17,
    *,
    slim: bool = False,
    metadata: Mapping[str, str] | None = None,
    names: tuple[str, ...] = ("images", "output0"),
) -> bytes:
    """The serialised model of an input [1, 3, H, W] and the outputs `names[1:]`; those without a name as it comes.

    By the TorchScript exporter up to opset 17, else dynamo.
    """
    example = torch.zeros(1, 3, *size)
    model(example)  # the head keeps the anchors of the last size
    stream = io.BytesIO()
    with warnings.catch_warnings(), redirect_stdout(None):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            stream,
            input_names=[names[0]],
            output_names=list(names[1:]),
            opset_version=opset,
            dynamo=opset > 17,
            external_data=False,
            verbose=False,
        )
    made = onnx.load_from_string(stream.getvalue())
    made = onnxslim.slim(made) if slim else made
    for key, value in (metadata or {}).items():
        made.metadata_props.add(key=key, value=value)
    data: bytes = made.SerializeToString()
    return data


def metadata(names: Sequence[str], size: Sequence[int], stride: int, **changes: str) -> dict[str, str]:
    """What Ultralytics 8.4.190 writes into an ONNX file."""
    return {
        "description": "Ultralytics YOLO11n model trained on data.yaml",
        "date": "2026-11-23T02:13:11.123456",
        "version": "8.4.190",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "stride": str(stride),
        "task": "detect",
        "imgsz": str(list(size)),
        "names": str(dict(enumerate(names))),
        "channels": "3",
        **changes,
    }


def main(checkpoint: str, target: str) -> None:
    """Export as `yolo export format=onnx opset=17` does."""
    from ultralytics import YOLO

    copy = Path(target).with_suffix(".pt")
    shutil.copyfile(checkpoint, copy)
    YOLO(copy).export(format="onnx", opset=17)  # writes beside the checkpoint


if __name__ == "__main__":
    main(*sys.argv[1:])
