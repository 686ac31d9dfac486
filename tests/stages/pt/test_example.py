"""The example is worth measuring on: a wrong channel order, padding or normalisation each costs accuracy on it."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import inherit
from stages.common import checkpoint
from stages.common.evaluate import Settings, evaluate
from stages.common.image_set import open_images
from stages.families import recognise
from stages.pt.torch_runner import TorchRunner

EXAMPLE = Path(__file__).parents[3] / "examples" / "shapes"
SABOTAGES: dict[str, dict[str, dict[str, Any]]] = {
    "BGR instead of RGB": {"input": {"format": "BGR"}},
    "black padding": {"preprocessing": {"padding": {"enabled": True, "color": [0, 0, 0], "position": "center"}}},
    "ImageNet's mean and std": {
        "preprocessing": {
            "normalize": {
                "enabled": True,
                "method": "mean_std",
                "mean": [123.675, 116.28, 103.53],
                "std": [58.395, 57.12, 57.375],
            }
        }
    },
}


@cache
def example() -> tuple[Any, dict[str, Any]]:
    read = checkpoint.read(EXAMPLE / "best.pt")
    family = recognise(read)
    contract = inherit.critical(inherit.complete(family.describe(read)))
    return (family, *family.cut(family.build(read))), contract


def map50_95(change: dict[str, dict[str, Any]]) -> float:
    (family, network, head), contract = example()
    contract = copy.deepcopy(contract)
    for block, values in change.items():
        contract[block] |= values
    images = open_images(EXAMPLE / "data.yaml", None, contract)
    found = evaluate(
        TorchRunner(network, contract, threads=2),
        lambda outputs, confidence: family.decode(outputs, head, confidence),
        images.images,
        images.labels,
        contract,
        Settings(confidence=0.25, iou=0.7, max_detections=300, threads=2),
    )
    return float(found.metrics["map50_95"])


@cache
def baseline() -> float:
    return map50_95({})


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_costs_at_least_a_tenth(name: str) -> None:
    assert map50_95(SABOTAGES[name]) <= 0.9 * baseline()


def test_the_network_finds_what_was_drawn() -> None:
    assert baseline() > 0.7


def test_images_are_not_square_and_their_background_is_not_the_padding() -> None:
    import cv2

    images = [cv2.imread(str(path)) for path in sorted((EXAMPLE / "images" / "val").iterdir())]
    assert all(image.shape[0] != image.shape[1] for image in images)
    corners = [image[2, 2].astype(int) for image in images]
    assert sum(bool(abs(corner - 114).max() > 10) for corner in corners) > 0.9 * len(corners)


def test_together_they_are_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) <= 8_000_000
