"""Every detection architecture of the ultralytics package: rebuilt bit for bit, cut, and decoded as it decodes."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint, read
from stages.common.detection import finish, suppression
from stages.common.images import Placement
from stages.families import recognise
from stages.families.shapes import output_shapes
from stages.families.yolo.architectures import ARCHITECTURES, architecture_of, size_of
from stages.families.yolo.cut import cut
from stages.families.yolo.decode import decode
from stages.families.yolo.network import _difference, _stock, build, quiet_ultralytics

quiet_ultralytics()

import torch  # noqa: E402
import ultralytics  # noqa: E402
from ultralytics.nn.tasks import load_checkpoint, yaml_model_load  # noqa: E402

from tests.support.detectors import NAMES, network, saved  # noqa: E402

MODELS = Path(ultralytics.__file__).parent / "cfg" / "models"
THREE, P2, P6 = [8, 16, 32], [4, 8, 16, 32], [8, 16, 32, 64]
# The smallest stock network of each YAML: its type, strides, bins, and whether it has a one-to-one head.
SMALLEST: dict[str, tuple[str, list[int], int, bool]] = {
    "yolov3-tiny": ("YOLOv3", [16, 32], 16, False),
    "yolov5n": ("YOLOv5u", THREE, 16, False),
    "yolov5n-p6": ("YOLOv5u", P6, 16, False),
    "yolov6n": ("YOLOv6", THREE, 16, False),
    "yolov8n": ("YOLOv8", THREE, 16, False),
    "yolov8n-p2": ("YOLOv8", P2, 16, False),
    "yolov9t": ("YOLOv9", THREE, 16, False),
    "yolov10n": ("YOLOv10", THREE, 16, True),
    "yolo11n": ("YOLO11", THREE, 16, False),
    "yolo12n": ("YOLO12", THREE, 16, False),
    "yolo26n": ("YOLO26", THREE, 1, True),
    "yolo26n-p6": ("YOLO26", P6, 1, True),
}
ONE_TO_ONE = [name for name, (*_, alone) in SMALLEST.items() if alone]
SIZE = [64, 128]


@cache
def rebuilt(name: str) -> tuple[Checkpoint, Any, Any]:
    """A saved network of random weights: the checkpoint, rebuilt by us, loaded by the library."""
    model = network(f"{name}.yaml")
    with torch.no_grad():
        for part, weight in model.model[-1].named_parameters():
            if "dfl" not in part:  # the two heads of YOLOv10 and YOLO26 begin as copies of each other
                weight += 0.1 * torch.randn_like(weight)
    with tempfile.TemporaryDirectory() as folder:
        path = saved(Path(folder), model, SIZE)
        checkpoint = read(path)
        return checkpoint, build(checkpoint), load_checkpoint(path)[0]


@pytest.mark.parametrize("name", SMALLEST)
def test_it_is_told_and_rebuilt_bit_for_bit(name: str) -> None:
    checkpoint, ours, theirs = rebuilt(name)
    kind, strides, _, one_to_one = SMALLEST[name]
    family = recognise(checkpoint)
    described = family.describe(checkpoint)
    assert (described["model"]["type"], described["input"]["size"]) == (kind, SIZE)
    assert described["architecture"]["strides"] == strides
    image = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        (found, raw), (expected, their_raw) = ours(image), theirs(image)
    assert torch.equal(found, expected)
    for part in ("one2many", "one2one") if one_to_one else ("",):
        mine, other = (each[part] if part else each for each in (raw, their_raw))
        assert torch.equal(mine["boxes"], other["boxes"])
        assert torch.equal(mine["scores"], other["scores"])


@pytest.mark.parametrize("name", SMALLEST)
def test_the_cut_gives_the_convolutions_of_the_head_that_is_deployed(name: str) -> None:
    _, ours, _ = rebuilt(name)
    _, strides, bins, one_to_one = SMALLEST[name]
    part, head = cut(ours)
    image = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        outputs, raw = part(image), ours(image)[1]
    assert (head["strides"], head["reg_max"], head["num_classes"]) == (strides, bins, len(NAMES))
    assert head.get("nms", True) is not one_to_one
    assert [list(output.shape) for output in outputs] == output_shapes(head, SIZE)
    deployed = raw["one2one"] if one_to_one else raw
    assert torch.equal(torch.cat([output.flatten(2) for output in outputs[0::2]], 2), deployed["boxes"])
    scores = torch.cat([output.flatten(2) for output in outputs[1::2]], 2)
    # The last elements of a tensor, which fill no vector register, get another sigmoid in the last bit.
    assert torch.allclose(scores, deployed["scores"].sigmoid(), rtol=1e-6, atol=0)
    if one_to_one:
        assert not torch.equal(raw["one2many"]["boxes"], raw["one2one"]["boxes"])
        assert not {id(weight) for weight in ours.model[-1].cv2.parameters()} & {id(one) for one in part.parameters()}


def logits(head: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Random raw outputs as the library's head takes them, and as the cut network gives them."""
    random = torch.Generator().manual_seed(11)
    raw = [3 * torch.randn(shape, generator=random) for shape in output_shapes(head, SIZE)]
    boxes, scores = (torch.cat([one.flatten(2) for one in raw[part::2]], 2) for part in (0, 1))
    outputs = [(one.sigmoid() if index % 2 else one).numpy() for index, one in enumerate(raw)]
    return {"boxes": boxes, "scores": scores, "feats": raw[1::2]}, outputs


@pytest.mark.parametrize("name", SMALLEST)
def test_decoding_is_the_library_s_own(name: str) -> None:
    _, _, theirs = rebuilt(name)
    head = cut(theirs)[1]
    raw, outputs = logits(head)
    own = theirs.model[-1]
    own.end2end, own.xyxy = False, True
    try:
        with torch.no_grad():
            expected = own._inference(raw)[0].numpy()
    finally:
        own.xyxy = False
    boxes, scores, classes = decode(outputs, head, 0.0)
    cells = expected.shape[1]
    assert len(boxes) == cells * len(NAMES)
    order = np.argsort(classes, kind="stable")  # decode lists scale after scale, the library class after class
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    assert np.array_equal(classes, np.repeat(np.arange(len(NAMES)), cells))
    assert np.abs(boxes - np.tile(expected[:4].T, (len(NAMES), 1))).max() < 1e-3
    assert np.allclose(scores, expected[4:].reshape(-1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ONE_TO_ONE)
@pytest.mark.parametrize("limit", [7, 150])  # the library gives no more than there are cells: 168 of this small input
def test_a_one_to_one_head_gives_the_library_s_best_candidates_unsuppressed(name: str, limit: int) -> None:
    _, _, theirs = rebuilt(name)
    head = cut(theirs)[1]
    raw, outputs = logits(head)
    own = theirs.model[-1]
    own.end2end, own.max_det = True, limit
    try:
        with torch.no_grad():
            expected = own.postprocess(own._inference(raw).permute(0, 2, 1))[0].numpy()
    finally:
        own.end2end, own.max_det = False, 300
    wide = 10_000  # pixels: nothing is clipped
    moved = decode(outputs, head, 0.0)
    moved[0][:] += wide / 2
    found = finish(moved, Placement(1, 1, 0, 0, wide, wide), (wide, wide), suppression(head, 0.7), limit)
    assert len(found.scores) == limit
    assert np.allclose(found.scores, expected[:, 4], rtol=1e-6, atol=0)
    assert np.array_equal(found.classes, expected[:, 5].astype(int))
    assert np.abs(found.boxes - wide / 2 - expected[:, :4]).max() < 2e-3  # 2e-3: the shift costs four digits


def stock_names() -> list[str]:
    """The library's names of all sizes of the supported YAMLs."""
    made = []
    for one in ARCHITECTURES:
        file = Path(one.stock.format(size="")).stem
        head, version, rest = re.fullmatch(r"(yolov?)(\d+)(.*)", file).groups()
        made += [f"{head}{version}{size}{rest}" for size in one.sizes or ("",)]
    return made


def told_by(name: str) -> Checkpoint:
    """A checkpoint that names its YAML, as far as telling its architecture needs one."""
    kind = "ultralytics.nn.tasks.DetectionModel"
    yaml = {**yaml_model_load(f"{name}.yaml"), "channels": 3, "nc": len(NAMES)}
    return Checkpoint(Path("best.pt"), "", 0, kind, "detect", NAMES, (), yaml, {}, {}, {}, {})


def test_every_size_is_told_and_its_yaml_is_the_library_s_own() -> None:
    names = stock_names()
    assert len(names) == len(set(names)) == 3 + 5 * 11 + 5 + 6
    for name in names:
        checkpoint = told_by(name)
        architecture = architecture_of(checkpoint)
        stock = _stock(checkpoint, architecture)
        assert _difference(checkpoint, stock) == ""
        assert stock["backbone"] == checkpoint.yaml["backbone"]
        size = size_of(checkpoint, architecture)
        assert size == (re.match(r"yolov?\d+([a-z]?)", name)[1] if architecture.sizes else "")
        assert [one for one in ARCHITECTURES if one.stem.fullmatch(name)] == [architecture]


def test_every_stock_detector_of_these_families_is_in_the_table() -> None:
    """And what is not is another task, another backbone, or takes words."""
    folders = {one.stock.partition("/")[0] for one in ARCHITECTURES}
    files = {f"{folder}/{file.name}" for folder in folders for file in (MODELS / folder).glob("*.yaml")}
    ours = {one.stock.format(size=size) for one in ARCHITECTURES for size in one.sizes or ("",)}
    assert ours <= files
    other = re.compile(r".*(?:-(?:cls|seg|pose|obb|sem|depth|ghost|rtdetr|world|worldv2)|/yoloe-).*")
    assert [file for file in sorted(files - ours) if not other.fullmatch(file)] == []


@pytest.mark.parametrize(
    ("name", "own"), [("yolov3-tiny.yaml", {"width_multiple": 0.25}), ("yolo26n.yaml", {"end2end": False})]
)
def test_a_width_of_one_s_own_and_an_exchanged_head_are_rebuilt_as_they_are(
    tmp_path: Path, name: str, own: dict[str, Any]
) -> None:
    path = saved(tmp_path, network({**yaml_model_load(name), **own}))
    rebuilt, theirs = build(read(path)), load_checkpoint(path)[0].float().eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(rebuilt(image)[0], theirs(image)[0])
    assert cut(rebuilt)[1].get("nms", True)


def test_a_fused_one_to_one_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fused network"):
        build(read(saved(tmp_path, network("yolov10n.yaml").eval().fuse(verbose=False))))
