"""A phase's gates from two evaluations, and the file that carries one of them from phase to phase."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.events import Event
from mcwbuild.contract.limits import overrides
from stages.common import bootstrap, evaluation_file, metrics
from stages.common.evaluation_file import Kept, order_of
from stages.common.gates import Question, Side, gates, previous_side
from stages.common.per_image import Matches, means
from tests.support.scenes import box_matches, detect, scene

NAMES = ["a", "b", "c"]
MODEL, ORDER = "ab" * 32, "cd" * 32
ROWS = [{"name": "out", "cosine": 0.97, "max_error": 1.0, "snr_db": 20.0}]


def sides(noise: float, images: int = 40) -> tuple[Side, Side]:
    """The same images before, and after with boxes that are `noise` pixels off."""
    before, truth = scene(1, images, noise=2)
    random = np.random.default_rng(4)
    after = [detect(random, one, 3, noise) for one in truth]
    return side(before, truth), side(after, truth)


def side(found: list, truth: list) -> Side:
    verdict = metrics.judge_boxes(found, truth, NAMES, 0.25)
    return Side(verdict.metrics, verdict.per_image)


def ask(given: str = "") -> Question:
    return Question("int8", "onnx", "map50_95", overrides(given), "int8")


@pytest.mark.parametrize(("noise", "limit", "expected"), [(9, "20%", "failed"), (2, "40%", "passed")])
def test_a_large_drop_fails_and_a_small_one_passes_with_its_interval(noise: float, limit: str, expected: str) -> None:
    (made,) = gates(ask(f"int8.map50_95={limit}"), *sides(noise), ROWS)
    assert made.status == expected
    assert made.interval is not None
    assert made.interval[0] < (made.drop_percent or 0) < made.interval[1]
    assert (made.images, made.loosened) == (40, True)


def test_where_the_limit_lies_inside_the_interval_more_images_are_asked_for() -> None:
    before, after = sides(4)
    (first,) = gates(ask(), before, after, ROWS)
    assert first.drop_percent is not None
    (made,) = gates(ask(f"int8.map50_95={first.drop_percent + 2:.1f}%"), before, after, ROWS)
    assert made.status == "undecided"
    assert (made.images_needed or 0) > 40
    (strict,) = gates(ask(f"int8.map50_95={first.drop_percent - 2:.1f}%"), before, after, ROWS)
    assert strict.status == "undecided"


def test_every_metric_with_a_limit_has_a_gate() -> None:
    given = "int8.map50=0.02,int8.f1=3%,int8.cosine=0.01,int8.top1=1%,onnx.map50=1%"
    made = {gate.metric: gate for gate in gates(ask(given), *sides(9), ROWS)}
    assert list(made) == ["map50_95", "map50", "f1", "cosine", "top1"]
    assert made["map50"].limit_absolute == 0.02
    assert made["map50"].interval is not None
    assert made["f1"].interval_reason == "f1 is not kept image by image."
    assert (made["cosine"].status, made["cosine"].drop_absolute) == ("failed", pytest.approx(0.03))
    assert (made["top1"].status, made["top1"].reason) == ("unmeasured", "top1 is not measured of this task.")
    assert all(gate.variant == "int8" for gate in made.values())


def test_an_evaluation_that_does_not_fit_gives_no_interval_and_says_why() -> None:
    before, after = sides(3)
    assert before.per_image is not None
    kept = Kept(MODEL, ORDER, before.per_image)
    cases = [
        (None, "was not given"),
        (replace(kept, model_sha256="00"), "another model"),
        (replace(kept, order="00"), "other images"),
        (replace(kept, per_image=box_matches(*scene(1, 9), 3)), "different numbers of images"),
        (replace(kept, per_image=box_matches(*scene(9, 40), 3)), "does not add up"),
    ]
    for other, said in cases:
        (made,) = gates(ask(), previous_side(before.metrics, "", other, MODEL, ORDER), after, ROWS)
        assert made.interval is None
        assert said in str(made.interval_reason)
        assert made.status in ("passed", "failed")
    (made,) = gates(ask(), previous_side(before.metrics, "", kept, MODEL, ORDER), after, ROWS)
    assert made.interval is not None
    (made,) = gates(ask(), previous_side({}, "No labels.", kept, MODEL, ORDER), after, ROWS)
    assert (made.status, made.reason) == ("unmeasured", "No labels.")


def test_the_order_of_the_images_is_told_by_their_names_wherever_they_lie() -> None:
    names = [Path("val/a.png"), Path("val/b.png"), Path("other/a.png")]
    here, there = ([root / name for name in names] for root in (Path("/data"), Path("/in/1")))
    assert order_of(here) == order_of(there)
    assert order_of(here) != order_of(here[::-1])
    assert order_of([]) == order_of([np.zeros((2, 2, 3))])


def bench(folder: Path, told: list[Event]) -> Bench:
    return Bench(folder, folder, 1, told.append)


def written(folder: Path, kept: Kept) -> Path:
    evaluation_file.write(kept, folder / "evaluation_pt.npz", bench(folder, []))
    return folder / "evaluation_pt.npz"


def test_an_evaluation_comes_back_from_its_file(tmp_path: Path) -> None:
    of_boxes = box_matches(*scene(3, 20), 4)
    of_ranks = means(top1=[1, 0, 1], top5=[1, 1, 1])
    for per_image, metric in ((of_boxes, "map50_95"), (of_ranks, "top1")):
        file = written(tmp_path, Kept(MODEL, ORDER, per_image))
        first = file.read_bytes()
        back = evaluation_file.read(file)
        assert (back.model_sha256, back.order) == (MODEL, ORDER)
        drawn = bootstrap.draws(per_image.count, 20)
        assert np.array_equal(back.per_image.values(drawn)[metric], per_image.values(drawn)[metric])
        assert written(tmp_path, back).read_bytes() == first


def test_one_that_is_too_large_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_file, "MAX_BYTES", 100)
    told: list[Event] = []
    evaluation_file.write(Kept(MODEL, ORDER, means(top1=[1.0])), tmp_path / "e.npz", bench(tmp_path, told))
    assert not (tmp_path / "e.npz").exists()
    assert len(told) == 1


SOUND = box_matches(*scene(3, 20), 4)
Edit = Callable[[dict[str, Any]], Any]
HOSTILE: dict[str, Edit] = {
    "an image that is not there": lambda a: a["images"].__setitem__(0, 20),
    "a negative image": lambda a: a["objects"].__setitem__(0, -1),
    "more hits than objects": lambda a: a["hits"].__setitem__(slice(None), 1023),
    "a threshold that there is not": lambda a: a["hits"].__setitem__(0, 1 << 12),
    "classes that do not add up": lambda a: a["results"].__setitem__(0, 10**15),
    "a negative class": lambda a: a["instances"].__setitem__(0, -5),
    "one array less": lambda a: a.pop("hits"),
    "one array more": lambda a: a.update(more=np.zeros(3)),
    "another type": lambda a: a.update(images=a["images"].astype(np.float64)),
    "another shape": lambda a: a.update(images=a["images"][None]),
    "no images": lambda a: a.update(count=np.array(0, "<i8")),
    "a text that is too long": lambda a: a.update(order=np.array("x" * 65)),
    "a share that is not a number": lambda a: (
        [a.pop(name) for name in ("images", "hits", "results", "objects", "instances")],
        a.update({"share top1": np.full((2, 20), np.nan)}),
    ),
}


@pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, edit: Edit) -> None:
    arrays = {"model_sha256": np.array(MODEL), "order": np.array(ORDER), **evaluation_file.arrays(SOUND)}
    edit(arrays)
    with (tmp_path / "e.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)
    with pytest.raises(InputError, match="is no evaluation"):
        evaluation_file.read(tmp_path / "e.npz")


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled_and_nothing_is_blown_up(tmp_path: Path) -> None:
    file, sprung = tmp_path / "e.npz", tmp_path / "sprung"
    with file.open("wb") as stream:
        np.savez(stream, count=np.array([Trap(sprung)], dtype=object))
    with pytest.raises(InputError, match="is no evaluation"):
        evaluation_file.read(file)
    assert not sprung.exists()
    bomb = io.BytesIO()
    np.lib.format.write_array(bomb, np.zeros(80_000_000))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bomb.getvalue())
    assert file.stat().st_size < evaluation_file.MAX_BYTES
    with pytest.raises(InputError, match="1 arrays of 640000128 bytes"):
        evaluation_file.read(file)
    for data in (b"", b"PK\x03\x04 no archive", b"\x00" * 500):
        file.write_bytes(data)
        with pytest.raises(InputError):
            evaluation_file.read(file)


def test_a_part_of_what_is_kept_is_that_of_its_images() -> None:
    found, truth = scene(6, 20)
    places = [3, 4, 11, 19]
    from stages.common.per_image import only

    part = only(box_matches(found, truth, 4), places)
    again = box_matches([found[place] for place in places], [truth[place] for place in places], 4)
    assert isinstance(part, Matches)
    assert bootstrap.value(part, "map50_95") == pytest.approx(bootstrap.value(again, "map50_95"), abs=1e-12)
    ranks = only(means(top1=np.arange(20) / 20), places)
    assert bootstrap.value(ranks, "top1") == pytest.approx(np.mean(places) / 20)
