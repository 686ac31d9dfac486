"""What was found in some images: what changed between two models, and a file that nobody vouches for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import results
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.results import Changes, Found, Item, Picture, Results, changes

JPEG = b"\xff\xd8\xff\xe0more"


def box(x: float, label: int = 0, score: float = 0.9) -> Item:
    return Item(label, score, (x, 0.0, x + 10.0, 10.0))


def test_what_is_lost_extra_and_moved() -> None:
    before = (box(0), box(100), box(200), box(300))
    after = (box(0), box(102), box(500), box(300, label=1))
    assert changes(before, after) == Changes(lost=(2, 3), extra=(2, 3), moved=((1, 1),), kept=((0, 0),))
    assert changes(before, after).weight > changes(before, before).weight == 0
    assert changes((), ()) == Changes()
    assert changes((), (box(0),)) == Changes(extra=(0,))


def test_an_object_is_matched_once_with_the_one_that_overlaps_it_most() -> None:
    assert changes((box(0), box(1)), (box(1),)) == Changes(lost=(0,), kept=((1, 0),))


def test_without_boxes_the_first_answer_counts() -> None:
    cat, dog = Item(0, 0.9), Item(1, 0.8)
    assert changes((cat, dog), (cat,)).weight == 0
    assert changes((cat, dog), (dog, cat)) == Changes(lost=(0,), extra=(0,))
    assert changes((Item(-1, text="A1"),), (Item(-1, text="A7"),)).weight > 0


def made() -> Results:
    pose = Item(0, 0.5, (1.0, 2.0, 3.0, 4.0), ((1.5, 2.5), (2.5, 3.5)))
    picture = Picture("a.jpg", JPEG, 320, 240, 3, (pose,))
    return Results("order", {"int8": Found({3: (pose, Item(-1, None, None, (), "text"))}, (1.0, 0.5))}, (picture,))


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert results.write(tmp_path / "results.json", made())
    assert results.read(tmp_path / "results.json") == made()


def _set(data: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split("/")
    for name in above:
        data = data[int(name)] if isinstance(data, list) else data[name]
    data[int(last) if isinstance(data, list) else last] = value  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "results/2"),
        ("models", []),
        ("models/int8/curve", ["x"]),
        ("models/int8/curve", [float("nan")]),
        ("models/int8/images/3/0/1", "high"),
        ("models/int8/images/3/0/2", [1, 2, 3]),
        ("models/int8/images/3/0/3", [1, 2, 3]),
        ("models/int8/images/3/0/0", None),
        ("pictures/0/jpeg", "no base64!"),
        ("pictures/0/jpeg", "PHN2Zz4="),
        ("pictures/0/width", 0),
        ("pictures", 7),
    ],
)
def test_what_is_not_a_result_is_refused_in_a_sentence(tmp_path: Path, path: str, value: Any) -> None:
    file = tmp_path / "results.json"
    results.write(file, made())
    data = json.loads(file.read_text())
    _set(data, path, value)
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match="is not what a phase wrote"):
        results.read(file)


def test_what_is_too_large_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_BYTES", 100)
    assert not results.write(tmp_path / "results.json", made())
    assert not (tmp_path / "results.json").exists()
