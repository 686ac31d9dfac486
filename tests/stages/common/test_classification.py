"""Labelled folders and top-1, top-5, against counting by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mcwbuild.contract import dataset
from mcwbuild.contract.errors import ContractBroken, InputError
from stages.common.classification import Ranking
from stages.common.image_set import open_images
from stages.common.ranking_metrics import judge_rankings
from stages.common.tasks import TASKS

NAMES = ["ant", "bee", "cat"]


def contract(task: str = "classification", names: list[str] = NAMES) -> dict[str, Any]:
    return {"model": {"task": task}, "classes": {"names": names, "num_classes": len(names)}}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two images of each class to train with, one to measure on."""
    for split, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(NAMES):
            place = tmp_path / "insects" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                cv2.imwrite(str(place / f"{number}.png"), np.full((8, 8, 3), 40 * label, np.uint8))
    return tmp_path / "insects"


def test_folders_of_classes_are_read_as_ultralytics_reads_them(folders: Path) -> None:
    found = dataset.read(folders)
    assert found.by_folder
    assert found.names == tuple(NAMES)
    assert {split: len(images) for split, images in found.splits.items()} == {"train": 6, "val": 3}
    opened = open_images(folders, None, contract())
    assert opened.labels is not None
    assert [int(label.classes[0]) for label in opened.labels] == [0, 1, 2]
    (folders / "val").rename(folders / "validation")
    assert len(dataset.read(folders).splits["val"]) == 3


def test_a_folder_without_splits_or_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a usable dataset") as caught:
        dataset.read(tmp_path)
    assert "neither a train nor a val folder" in str(caught.value.problems[0])
    (tmp_path / "val" / "a").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        dataset.read(tmp_path)
    assert "val holds no images" in str(caught.value.problems[0])


def test_a_dataset_of_another_kind_is_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The model's task is object_detection, and this is folders of classes"):
        open_images(folders, None, contract("object_detection"))
    with pytest.raises(ContractBroken, match="Class 0 is 'ant'"):
        open_images(folders, None, contract(names=["bee", "ant", "cat"]))
    (tmp_path / "data.yaml").write_text("train: insects/train\nval: insects/val\nnames: [ant, bee, cat]\n")
    with pytest.raises(InputError, match="The model's task is classification, and this is a data"):
        open_images(tmp_path / "data.yaml", None, contract())


def test_top_1_and_top_5_are_shares_of_the_images() -> None:
    random = np.random.default_rng(0)
    names = [f"class {number}" for number in range(9)]
    truth = random.integers(0, 8, 200).tolist()  # the last class has no images
    orders = [random.permutation(9) for _ in truth]
    found = [Ranking(order, np.linspace(0.9, 0.0, 9, dtype=np.float32)) for order in orders]
    record = judge_rankings(found, truth, names, 0.25).metrics
    ranks = np.array([order.tolist().index(label) for order, label in zip(orders, truth, strict=True)])
    assert record["top1"] == pytest.approx((ranks == 0).mean(), abs=1e-6)
    assert record["top5"] == pytest.approx((ranks < 5).mean(), abs=1e-6)
    third = ranks[np.array(truth) == 2]
    assert record["per_class"][2] == {
        "name": "class 2",
        "top1": pytest.approx((third == 0).mean(), abs=1e-6),
        "top5": pytest.approx((third < 5).mean(), abs=1e-6),
        "instances": len(third),
    }
    assert record["per_class"][8]["top1"] is None
    assert judge_rankings([], [], names, 0.25).metrics["status"] == "unmeasured"


def test_what_is_not_a_number_is_no_class() -> None:
    broken = Ranking(np.arange(3), np.full(3, np.nan, np.float32))
    sound = TASKS["classification"].sound(broken)
    assert judge_rankings([sound], [0], NAMES, 0.25).metrics["top1"] == 0.0
