"""Checkpoints of the original YOLOv5 (a stand-in of its own form): rebuilt bit for bit, cut, decoded, or refused."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract import inherit
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.marks import Document
from stages.common.checkpoint import read
from stages.families import recognise, source
from stages.families.opened import of_checkpoint
from stages.families.shapes import output_shapes
from stages.families.yolo.network import quiet_ultralytics

quiet_ultralytics()

import torch  # noqa: E402

from tests.support.yolov5 import ANCHORS, DetectionModel, architecture, network, saved  # noqa: E402

NAMES = ("first name", "größer", "third")
SIZE = (64, 96)


@pytest.fixture(scope="module")
def model() -> DetectionModel:
    return network(NAMES, 0.0625)


def half(model: DetectionModel) -> DetectionModel:
    """The network as its checkpoint has it."""
    return deepcopy(model).half().float()


@pytest.mark.parametrize("focus", [False, True])
def test_the_rebuilt_network_is_the_original_bit_for_bit(tmp_path: Path, focus: bool) -> None:
    model = network(NAMES, focus=focus)
    checkpoint = read(saved(tmp_path / "best.pt", model))
    family = recognise(checkpoint)
    image = torch.rand(1, 3, *SIZE)
    for ours, theirs in zip(family.build(checkpoint)(image), half(model)(image, "convolutions"), strict=True):
        assert torch.equal(ours, theirs)


def test_every_candidate_is_decoded_as_the_original_decodes_it(tmp_path: Path, model: DetectionModel) -> None:
    checkpoint = read(saved(tmp_path / "best.pt", model))
    family = recognise(checkpoint)
    part, head = family.cut(family.build(checkpoint))
    image = torch.rand(1, 3, *SIZE)
    outputs = [output.numpy() for output in part(image)]
    assert [list(output.shape) for output in outputs] == output_shapes(head, SIZE)
    expected = half(model)(image, "v7")[0].numpy()
    scores = expected[:, 4:5] * expected[:, 5:]
    rows, kinds = np.nonzero(scores > 0.25)
    boxes, found, classes = family.decode(outputs, head, 0.25)
    assert len(found) == len(rows) > 20
    assert np.array_equal(classes, kinds)
    assert np.abs(found - scores[rows, kinds]).max() < 1e-6
    centre, sides = expected[rows, :2], expected[rows, 2:4] / 2
    assert np.abs(boxes - np.concatenate([centre - sides, centre + sides], 1)).max() < 1e-3


def test_its_source_tells_anchors_size_and_names(tmp_path: Path, model: DetectionModel) -> None:
    checkpoint = read(saved(tmp_path / "best.pt", model))
    described = recognise(checkpoint).describe(checkpoint)
    assert described["model"]["type"] == "YOLOv5"
    assert described["model"]["anchors"] == np.array(ANCHORS).reshape(3, 3, 2).tolist()
    assert described["classes"] == {"names": list(NAMES), "num_classes": 3}
    assert described["input"]["size"] == [64, 64]
    assert described["training"]["framework"] == "yolov5"


def test_other_anchors_than_the_checkpoint_has_break_the_contract(tmp_path: Path, model: DetectionModel) -> None:
    checkpoint = read(saved(tmp_path / "best.pt", model))
    family = recognise(checkpoint)
    own = family.describe(checkpoint)
    assert source.against_file(Document(own, "s.yaml"), of_checkpoint(checkpoint, family))["contract_sha256"]
    changed = deepcopy(own)
    changed["model"]["anchors"][1][0] = [31.0, 61.0]
    without = deepcopy(own)
    del without["model"]["anchors"]
    assert len({inherit.contract_sha256(one) for one in (own, changed, without)}) == 3
    for wrong in (changed, without):
        with pytest.raises(ContractBroken, match=r"model\.anchors"):
            source.against_file(Document(wrong, "s.yaml"), of_checkpoint(checkpoint, family))


def row(index: int, kind: str, args: list[Any]) -> Callable[[DetectionModel], None]:
    def change(model: DetectionModel) -> None:
        model.yaml["backbone"] = [list(one) for one in model.yaml["backbone"]]
        model.yaml["backbone"][index][2:] = [kind, args]

    return change


def key(name: str, value: Any) -> Callable[[DetectionModel], None]:
    return lambda model: model.yaml.update({name: value})


def leaky(model: DetectionModel) -> None:
    model.model[3].act = torch.nn.LeakyReLU(0.1)


def dilated(model: DetectionModel) -> None:
    model.model[3].conv.dilation = (2, 2)


def broken(model: DetectionModel) -> None:
    model.model[3].conv.weight[:] = float("nan")


def more(model: DetectionModel) -> None:
    model.model[3].extra = torch.nn.Conv2d(1, 1, 1)


def no_anchors(model: DetectionModel) -> None:
    model.model[-1].anchors = None


def masks(model: DetectionModel) -> None:
    model.__class__ = type("SegmentationModel", (DetectionModel,), {"__module__": "models.yolo"})
    import sys

    sys.modules["models.yolo"].SegmentationModel = model.__class__


REFUSED = {
    "layer 2 is CBAM": row(2, "CBAM", [128]),
    r"layer 2 is C3 \['wide'\]": row(2, "C3", ["wide"]),
    "weight model.8": row(8, "C3", [512]),
    "more weights than it has": row(2, "C3", [2**30]),
    "layers do not fit together": row(5, "Conv", [512, 3, 1]),
    "its YAML has": key("head", [["x"]]),
    "no Detect": key("head", []),
    "activation is": key("activation", "nn.LeakyReLU(0.1)"),
    "depth_multiple and width_multiple": key("width_multiple", 1e9),
    "4 channels": key("ch", 4),
    "anchors are 0": key("anchors", 0),
    "part model.3.act is a torch.nn": leaky,
    "dilation": dilated,
    "not finite": broken,
    "model.3.extra": more,
    "anchors are missing": no_anchors,
    "models.yolo.SegmentationModel": masks,
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_yolov5_of_known_parts_is_refused_with_what_was_found(
    tmp_path: Path, model: DetectionModel, said: str
) -> None:
    changed = deepcopy(model)
    REFUSED[said](changed)
    checkpoint = read(saved(tmp_path / "best.pt", changed))

    def taken() -> None:
        family = recognise(checkpoint)
        family.describe(checkpoint)
        family.build(checkpoint)

    with pytest.raises(InputError, match=f"(?i){said}"):
        taken()


def test_anchors_that_were_kept_twice_are_taken_once(tmp_path: Path, model: DetectionModel) -> None:
    """Up to version 5.0 the head had `anchor_grid` among its weights too."""
    older = deepcopy(model)
    older.model[-1].register_buffer("anchor_grid", torch.zeros(3, 1, 3, 1, 1, 2))
    checkpoint = read(saved(tmp_path / "best.pt", older))
    recognise(checkpoint).build(checkpoint)


@pytest.mark.parametrize("width", [0.25, 0.0625])
def test_any_width_is_taken(tmp_path: Path, width: float) -> None:
    model = DetectionModel(architecture(1, width), ("one",)).eval()
    checkpoint = read(saved(tmp_path / "best.pt", model))
    recognise(checkpoint).build(checkpoint)
