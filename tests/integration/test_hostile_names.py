"""Hostile names of folders, checkpoints, documents and images, through the command line and the real stages."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from mcwbuild.contract import documents
from tests.support.commands import EXAMPLE, mcwbuild

FOLDER = '-a b\'s "q" {{x}} %d : é犬\n\u202e😀'
IMAGES = [
    *("-rf", "a b", 'it\'s "q"', "new\nline", "cafe\u0301", "100%d", "a:b", "\x1b[31mred", "x" * 200, "#hash", "犬😀"),
    *("nel\x85x", "ls\u2028x", os.fsdecode(b"\xff\xfe")),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and a dataset in a linked folder, everything badly called."""
    base = tmp_path_factory.mktemp("names")
    folder = base / FOLDER
    for split in ("train", "val"):
        originals = sorted((EXAMPLE / "images" / split).iterdir())
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for name, image in zip(IMAGES, originals, strict=False):
            shutil.copy(image, folder / "images" / split / f"{name}.jpg")
            shutil.copy(EXAMPLE / "labels" / split / f"{image.stem}.txt", folder / "labels" / split / f"{name}.txt")
    names = (EXAMPLE / "data.yaml").read_text().partition("names:")[2]
    (folder / "data :%.yaml").write_text(f"train: images/train\nval: images/val\nnames:{names}")
    shutil.copy(EXAMPLE / "best.pt", folder / "-best ' é.pt")
    (base / "link to it").symlink_to(folder)
    return base / "link to it"


def test_the_whole_way_with_calibration_works_on_them(place: Path) -> None:
    words = ("run", "--pt=-best ' é.pt", "--data", "data :%.yaml", "--target", "rk3588", "--imgsz", "96", "--json")
    done = mcwbuild(*words, "--name", "-rf {{7*7}}", "--out", "-out ' {{", "--calibration-images", "20", cwd=place)
    assert done.code in (0, 3), done.stderr  # 3: an INT8 gate may be missed at this size; everything is published
    assert len(done.json["packages"]) == 3
    for line in (done.stdout + done.stderr).splitlines():
        assert line.isprintable(), line
    source = documents.read_yaml(place / "-out ' {{" / "rknn_package" / "rknn_source.yaml").value
    assert source["model"]["name"] == "-rf {{7*7}}"
    assert source["quantization"]["int8"]["dataset"]["size"] == len(IMAGES)
    record = json.loads((place / "-out ' {{" / "pt_package" / "performance_pt.json").read_text("ascii"))
    assert record["test_configuration"]["dataset"]["file"] == "data :%.yaml"
    assert mcwbuild("verify", "./-out ' {{", cwd=place).code == 0


@pytest.mark.parametrize("name", ["a\nb.pt", "\x1b[31m.pt", "cafe\u0301.pt", os.fsdecode(b"\xff.pt")])
def test_a_checkpoint_that_no_document_can_name_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    shutil.copy(EXAMPLE / "best.pt", tmp_path / name)
    done = mcwbuild("run", "--pt", name, "--target", "rk3588", "--out", "out", cwd=tmp_path)
    assert done.code == 2
    assert "Rename the file." in done.stderr
    assert all(line.isprintable() for line in done.stderr.splitlines())
    assert not (tmp_path / "out").exists()


def test_a_path_longer_than_any_file_is_a_sentence(tmp_path: Path) -> None:
    done = mcwbuild("run", "--pt", "x" * 300, "--data", "y" * 300, "--target", "rk3588", cwd=tmp_path)
    assert done.code == 2
    assert "bug" not in done.stderr
