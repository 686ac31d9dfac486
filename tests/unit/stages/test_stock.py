"""Architectures by the name of their YAML, and what is said of a name that is none."""

from __future__ import annotations

import pytest

from mcwbuild.contract.errors import InputError
from stages.families.yolo.stock import stock

KNOWN = {
    "yolov3.yaml": ("YOLOv3", ""),
    "yolov3-tiny.yaml": ("YOLOv3", ""),
    "yolov5s.yaml": ("YOLOv5u", "s"),
    "yolov5m6.yaml": ("YOLOv5u", "m"),
    "yolov6l.yaml": ("YOLOv6", "l"),
    "yolov8x-p2.yaml": ("YOLOv8", "x"),
    "yolov9e.yaml": ("YOLOv9", "e"),
    "yolov10b.yaml": ("YOLOv10", "b"),
    "yolo11n.yaml": ("YOLO11", "n"),
    "yolo11.yaml": ("YOLO11", "n"),
    "yolo12s.yaml": ("YOLO12", "s"),
    "yolo26n-p6.yaml": ("YOLO26", "n"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_every_architecture_is_known_by_its_name(name: str) -> None:
    found = stock(name)
    assert (found.architecture.type, found.size) == KNOWN[name]
    assert (found.name, found.task) == (name, "detect")


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("yolo11q.yaml", None, "Did you mean yolo11"),
        ("yolo1n.yaml", None, "Did you mean yolo1"),
        ("yolov9n.yaml", None, "Did you mean yolov9"),
        ("yolo11-n.yaml", None, "Did you mean yolo11n.yaml?"),
        ("../yolo11n.yaml", None, "Did you mean yolo11n.yaml?"),
        ("resnet.yaml", None, "for example yolo11n.yaml"),
        ("yolov10n-seg.yaml", None, "Its task is segmentation"),
        ("yolo11n.yaml", "segment", "Its task is detect"),
    ],
)
def test_another_name_is_refused_with_what_was_meant(name: str, task: str | None, said: str) -> None:
    with pytest.raises(InputError, match=r".") as caught:
        stock(name, task)
    assert said in str(caught.value)
