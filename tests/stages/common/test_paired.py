"""Evaluations of the same images beside each other: what rises, what falls, and what is noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mcwbuild.contract import validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.documents import Document
from stages.common import bootstrap, evaluation_file, paired
from stages.common.evaluation_file import Kept
from stages.common.per_image import Matches, PerImage, Shares, means, only_class
from tests.support.scenes import box_matches, detect, scene

IMAGES, CLASSES = 60, 3


def sides(noise: float, seed: int = 0) -> tuple[Matches, Matches]:
    """The same images, found with boxes that are 2 pixels off and with boxes that are `noise` pixels off."""
    _, truth = scene(1000 + seed, IMAGES)
    before, after = (
        [detect(np.random.default_rng([seed, side, n]), one, CLASSES, wide) for n, one in enumerate(truth)]
        for side, wide in ((1, 2), (2, noise))
    )
    return box_matches(before, truth, CLASSES), box_matches(after, truth, CLASSES)


def test_what_is_found_worse_is_worse_beyond_noise_as_a_whole_and_by_class() -> None:
    found = paired.compare(*sides(7))
    (whole,) = [row for row in found["metrics"] if row["metric"] == "map50_95"]
    assert whole["a"] > whole["b"]
    assert whole["interval"][1] < 0
    assert [row["label"] for row in found["classes"]] == [0, 1, 2]
    assert all(row["interval"][1] < 0 for row in found["classes"])


def test_what_is_found_as_well_is_hardly_ever_called_a_change() -> None:
    """One of twenty is to be expected, of all classes together too; here 2 of 60 (seeds 0 to 59) were, both times."""
    wrong = [0, 0]
    for seed in range(12):
        found = paired.compare(*sides(2, seed))
        for place, rows in enumerate((found["metrics"][:1], found["classes"])):
            wrong[place] += any(row["interval"] and not row["interval"][0] < 0 < row["interval"][1] for row in rows)
    assert max(wrong) <= 3


def test_classes_share_the_level() -> None:
    first, second = (only_class(side, 0) for side in sides(2))
    alone = bootstrap.interval(first, second, "map50_95", bootstrap.gain)
    low, high = paired.compare(*sides(2))["classes"][0]["interval"]
    assert isinstance(alone, bootstrap.Interval)
    assert high - low > 1.05 * (alone.high - alone.low)


def test_the_same_evaluation_is_judged_the_same() -> None:
    kept, _ = sides(2)
    found = paired.compare(kept, kept)
    assert {row["reason"] for row in (*found["metrics"], *found["classes"])} == {
        f"Each of the {IMAGES} images is judged as before."
    }


def test_one_class_alone_has_its_own_average_precision() -> None:
    kept, _ = sides(4)
    each = [bootstrap.value(only_class(kept, label), "map50_95") for label in range(CLASSES)]
    assert np.mean(each) == pytest.approx(bootstrap.value(kept, "map50_95"), abs=1e-12)


def test_shares_have_no_classes_and_other_numbers_of_images_nothing_at_all() -> None:
    random = np.random.default_rng(1)
    right = random.random(400) < 0.9
    found = paired.compare(means(top1=right), means(top1=right & (random.random(400) < 0.9)))
    assert found["classes"] == []
    assert found["metrics"][0]["interval"][1] < 0
    assert "400 and 12 images" in paired.compare(means(top1=right), means(top1=right[:12]))["reason"]
    assert "other metrics" in paired.compare(means(top1=right), means(top5=right))["reason"]


def test_classes_without_end_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "_MOST", 1000)
    assert paired.compare(*sides(2))["classes"] == []


def test_the_program_pairs_packages_files_and_says_which_it_cannot_read(tmp_path: Path) -> None:
    folder, told = tmp_path / "pairs", []
    folder.mkdir()
    a, b = sides(7)
    bench = Bench(folder, folder, 1, told.append)
    for name, kept in (("0-a", a), ("0-b", b), ("1-a", a)):
        evaluation_file.write(Kept("ab" * 32, "cd" * 32, kept), folder / f"{name}.npz", bench)
    within(folder / "1-b.npz", b)
    (folder / "10-a.npz").write_bytes(b"PK no archive")
    result = tmp_path / "result.json"
    assert paired.main(["--pairs", str(folder), "--result", str(result), "--nonce", "n", "--out", "x"]) == 0
    made = json.loads(result.read_text())
    assert validate.check(Document(made, "intervals"), "intervals") == []
    assert [row["pair"] for row in made["pairs"]] == [0, 1, 10]
    assert made["pairs"][0]["metrics"] == made["pairs"][1]["metrics"] == paired.compare(a, b)["metrics"]
    assert made["pairs"][2]["reason"].startswith("It cannot be read")


def within(path: Path, kept: PerImage) -> None:
    """As the rknn package holds it: beside a few images' inputs and outputs."""
    named = {f"{paired.WITHIN}{name}": array for name, array in evaluation_file.arrays(kept).items()}
    evaluation_file.write_arrays(path, {"input 0": np.zeros((2, 2, 3), np.uint8), **named})


def test_a_metric_that_is_not_defined_has_no_interval() -> None:
    nothing = Shares({"top1": (np.zeros(20), np.zeros(20))})
    assert paired.compare(nothing, nothing)["metrics"] == [
        {"metric": "top1", "a": None, "b": None, "interval": None, "reason": "top1 is not defined for these images."}
    ]
