"""Calibration over a real graph: the size curve, and what becomes of a split or a list."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mcwbuild.contract import inherit
from mcwbuild.contract.errors import InputError
from stages.common import images
from stages.common.image_set import read_listed
from stages.rknn import calibrate, model, request, size_curve
from stages.rknn.calibration import Calibration
from stages.rknn.model import Model
from stages.rknn.size_curve import SizeCurve
from tests.support import toy_onnx

CONTRACT = inherit.critical(toy_onnx.source())


def toy(folder: Path, **options: Any) -> Model:
    toy_onnx.package(folder, toy_onnx.network(**options))
    return model.read(folder / "best.onnx", folder / "onnx_source.yaml")


def pictures(count: int, grow: float = 0.0) -> list[NDArray[np.uint8]]:
    """Prepared images; each has contrasts larger than the one before by `grow` grey levels."""
    random = np.random.default_rng(4)
    return [
        np.clip(random.normal(128, 10 + grow * number, (32, 32, 3)), 0, 255).astype(np.uint8) for number in range(count)
    ]


def taken(curve: SizeCurve, given: list[NDArray[np.uint8]]) -> int:
    return next((number for number, picture in enumerate(given, 1) if curve.take(picture)), len(given))


def test_ranges_that_stand_still_end_it_at_the_least_size(tmp_path: Path) -> None:
    curve = SizeCurve(toy(tmp_path).path, CONTRACT, 1)
    picture = pictures(1)
    assert taken(curve, picture * 200) == size_curve.LEAST
    assert [point.images for point in curve.points] == [8, 16, 32]
    assert [point.moved for point in curve.points] == [None, 0.0, 0.0]


def test_ranges_that_grow_take_more_images_up_to_the_most(tmp_path: Path) -> None:
    curve = SizeCurve(toy(tmp_path).path, CONTRACT, 1)
    assert taken(curve, pictures(200, grow=0.8)) == size_curve.SIZES[-1]
    assert all(point.moved is not None and point.moved > size_curve.STILL for point in curve.points[1:])


def test_the_ranges_are_those_of_onnx_runtime_run_by_itself(tmp_path: Path) -> None:
    import onnxruntime

    toy(tmp_path)
    graph = onnx.load(str(tmp_path / "best.onnx"))
    graph.graph.output.append(onnx.ValueInfoProto(name="c"))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    given = pictures(16, grow=3.0)
    values = [session.run(["c"], {"images": images.normalise(picture, CONTRACT)})[0] for picture in given]
    curve = SizeCurve(tmp_path / "best.onnx", CONTRACT, 1)
    taken(curve, given)
    low, high = curve.ranges
    place = CONTRACT["input"]["channels"]  # the input's channels come first, then the first convolution
    assert (low[place], high[place]) == pytest.approx((min(v.min() for v in values), max(v.max() for v in values)))
    assert high[0] == max(picture[:, :, 0].max() for picture in given)


def test_a_graph_that_does_not_run_has_no_curve_and_says_why(tmp_path: Path) -> None:
    toy_onnx.package(tmp_path, toy_onnx.network("FooBar"))
    curve = SizeCurve(tmp_path / "best.onnx", CONTRACT, 1)
    assert "FooBar" in curve.reason
    assert taken(curve, pictures(1) * 200) == size_curve.WITHOUT


def arguments(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"dtype": "both", "data": None, "dataset": None, "calibration_images": None, **given})


def calibrated(folder: Path, **given: Any) -> Calibration:
    candidates = request.candidates(arguments(**given))
    assert candidates is not None
    return calibrate.calibrate(candidates, toy(folder), folder / "calibration", 2, lambda done, total: None)


def test_a_training_split_is_chosen_from_and_leaks_are_left_out(tmp_path: Path) -> None:
    data = toy_onnx.dataset(tmp_path / "data", 6)
    train, val = (data.parent / "images" / split for split in ("train", "val"))
    random = np.random.default_rng(9)
    for folder in (train, val):
        for file in folder.iterdir():
            assert cv2.imwrite(str(file), random.integers(0, 256, (40, 30, 3), np.uint8))
    shutil.copyfile(val / "3.png", train / "renamed.png")
    made = calibrated(tmp_path, data=data)
    assert "renamed.png" not in made.images
    assert len(made.images) == 6
    assert made.chosen["by"] == "size curve"
    assert made.chosen["left_out"] == {"damaged": 0, "duplicates": 0, "held_out": 1}
    assert made.chosen["classes"] == {"covered": 2, "of": 2}
    assert made.chosen["reason"] == "all 6 images that there are"
    assert calibrate.notes(made) == [
        "1 images of the training split are in the val or test split too: INT8 is not calibrated with them"
    ]


def test_a_count_is_kept_and_a_list_is_taken_whole_in_its_order(tmp_path: Path) -> None:
    data = toy_onnx.dataset(tmp_path / "data", 5)
    assert len(calibrated(tmp_path / "a", data=data, calibration_images=3).images) == 3
    listing = tmp_path / "data" / "list.txt"
    shutil.copyfile(tmp_path / "data" / "images" / "train" / "0.png", tmp_path / "data" / "again.png")
    listing.write_text("images/train/4.png\nimages/train/0.png\nimages/val/1.png\nagain.png\n")
    made = calibrated(tmp_path / "b", data=data, dataset=listing)
    assert made.images == ("4.png", "0.png", "1.png")
    assert made.chosen["by"] == "list"
    assert made.leaked == ("1.png",)
    assert calibrate.notes(made) == ["1 images of the list are another one byte for byte, and were left out"]


def test_a_long_list_is_chosen_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_onnx.dataset(tmp_path / "data", 7)
    monkeypatch.setattr(request, "WHOLE", 6)
    made = calibrated(tmp_path, dataset=data.parent / "images" / "train")
    assert made.chosen["by"] == "size curve"
    assert made.chosen["candidates"] == 7


def test_every_bad_line_of_a_list_is_told_at_once(tmp_path: Path) -> None:
    data = toy_onnx.dataset(tmp_path / "data", 2)
    (tmp_path / "data" / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    listing = tmp_path / "data" / "list.txt"
    listing.write_text("images/train/0.png\ncut.jpg\ngone.png\n# a comment\n")
    for read in (lambda: read_listed(listing), lambda: request.candidates(arguments(data=data, dataset=listing))):
        with pytest.raises(InputError) as caught:
            read()
        assert [problem.line for problem in caught.value.problems] == [2, 3, 4]
        assert "truncated JPEG" in caught.value.problems[0].message
