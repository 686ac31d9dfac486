"""An evaluation that was stopped goes on: fewer images are run, and the results are the same to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common import keeping
from stages.common.evaluate import Evaluation, Settings, evaluate
from stages.common.image_set import ImageSet, open_images
from stages.common.keeping import Keeping, Place
from tests.stages.common.test_evaluate import CONTRACT, Finder, decode, drawn

IMAGES, TIMED = 40, 4
SETTINGS = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=1, warmup=0, timed=TIMED)


class Stopped(Exception):
    """The evaluation was killed."""


class Mortal(Finder):
    """A network whose machine dies after so many images; what it finds depends on the image alone."""

    def __init__(self, life: int) -> None:
        super().__init__()
        self.life = life

    def run(self, feed: np.ndarray) -> list[np.ndarray]:
        if self.fed > self.life:
            raise Stopped
        (table,) = super().run(feed)
        table[:, :4] += np.float32(feed.mean() % 1) / 3
        return [table]

    def alone(self) -> Mortal:
        return self


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    monkeypatch.setattr(keeping, "EVERY", 0.0)  # whatever was found is kept at once
    monkeypatch.setattr(keeping, "_SHARE", 0)
    return open_images(drawn(tmp_path, IMAGES), None, CONTRACT)


class Told(list[str]):
    """What is noted."""


def run(
    images: ImageSet, state: Path, life: int = 1000, settings: Settings = SETTINGS, about: Any = "model"
) -> tuple[Evaluation, Told, Mortal]:
    told, runner = Told(), Mortal(life)
    place = Place(state, state if state.is_file() else None, own=True)
    kept = Keeping(place, lambda: {"model": about}, told.append)
    found = evaluate(runner, decode, images.images, images.labels, CONTRACT, settings, None, kept)
    return found, told, runner


def bits(found: Evaluation) -> Any:
    values = [(one.boxes.tobytes(), one.scores.tobytes(), one.classes.tobytes()) for one in found.results]
    return found.metrics, values, found.not_finite


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("life", [10, 37])
def test_it_goes_on_with_the_same_results(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, life: int
) -> None:
    settings = replace(SETTINGS, threads=threads)
    whole = evaluate(Mortal(1000), decode, images.images, images.labels, CONTRACT, settings)
    state = tmp_path / "kept" / "state.npz"
    one = replace(settings, threads=1)
    monkeypatch.setattr(keeping.Keeper, "_own_key", lambda self: "k" * 64)  # the threads are part of it
    with pytest.raises(Stopped):
        run(images, state, life, one)
    found, told, runner = run(images, state, settings=settings)
    assert told == [f"The evaluation goes on at image {life} of {IMAGES}: an earlier run was stopped there."]
    assert threads > 1 or runner.fed == TIMED + IMAGES - life
    assert bits(found) == bits(whole)
    assert found.inference["runs"] == TIMED


def test_one_that_is_stopped_again_loses_nothing(images: ImageSet, tmp_path: Path) -> None:
    state = tmp_path / "kept" / "state.npz"
    with pytest.raises(Stopped):
        run(images, state, 20)
    with pytest.raises(Stopped):
        run(images, state, TIMED + 8)
    _, told, runner = run(images, state)
    assert "at image 28 of 40" in told[0]
    assert runner.fed == TIMED + 12
    _, told, runner = run(images, state)  # through, but killed before the package was there
    assert "at image 40 of 40" in told[0]
    assert runner.fed == TIMED


def test_another_evaluation_does_not_take_it(images: ImageSet, tmp_path: Path) -> None:
    state = tmp_path / "kept" / "state.npz"
    with pytest.raises(Stopped):
        run(images, state, 20)
    data = state.read_bytes()
    for change in ({"about": "another"}, {"settings": replace(SETTINGS, iou=0.6)}):
        _, told, runner = run(images, state, **change)  # type: ignore[arg-type]
        assert told == []
        assert runner.fed == IMAGES
        state.write_bytes(data)
    image = images.images[-1]
    assert isinstance(image, Path)
    image.write_bytes(images.images[0].read_bytes())  # type: ignore[union-attr]
    assert run(images, state)[1] == []


def test_what_is_too_large_is_not_kept(images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_BYTES", 10)
    state = tmp_path / "kept" / "state.npz"
    run(images, state)
    assert not state.exists()


def test_one_that_is_through_at_once_keeps_nothing_and_makes_no_key(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path, 6), None, CONTRACT)

    def about() -> dict[str, Any]:
        raise AssertionError("nobody needs it")

    place = Place(tmp_path / "kept" / "state.npz", None, own=True)
    kept = Keeping(place, about, lambda _: None)
    evaluate(Mortal(100), decode, images.images, images.labels, CONTRACT, SETTINGS, None, kept)
    assert not place.path.parent.exists()


def test_a_state_is_forgotten_by_who_owns_it(tmp_path: Path) -> None:
    for own in (True, False):
        place = Place(tmp_path / "kept" / "state.npz", None, own)
        place.path.parent.mkdir(exist_ok=True)
        place.path.touch()
        place.forget()
        assert place.path.exists() != own
