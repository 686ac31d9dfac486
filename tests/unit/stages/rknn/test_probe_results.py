"""Results of every task as text, to the bit; and nothing taken from a board that is not results."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest

from stages.common.classification import Ranking
from stages.common.detection import Detections
from stages.common.poses import Poses
from stages.common.segmentation import Segments
from stages.common.texts import Text
from stages.common.turned import TurnedBoxes
from stages.rknn.probe import results

CLASSES = 7
RANDOM = np.random.default_rng(5)


def common(count: int, sides: int = 4) -> dict[str, Any]:
    return {
        "boxes": RANDOM.normal(50, 20, (count, sides)).astype(np.float32),
        "scores": RANDOM.random(count).astype(np.float32),
        "classes": RANDOM.integers(0, CLASSES, count),
    }


def made(kind: Any, count: int) -> Any:
    """A result with `count` things in it."""
    if kind in (Ranking, Text):
        fields = common(count)
        return kind(fields["classes"], fields["scores"])
    if kind is Poses:
        return Poses(**common(count), keypoints=RANDOM.normal(50, 20, (count, 5, 3)).astype(np.float32))
    if kind is Segments:
        masks = tuple((RANDOM.random((3 + n, 5)) < 0.5, n, 2 * n) for n in range(count))
        return Segments(**common(count), masks=masks, shape=(60, 80))
    return kind(**common(count, 5 if kind is TurnedBoxes else 4))


@pytest.mark.parametrize("kind", [Detections, Segments, Poses, TurnedBoxes, Ranking, Text])
def test_results_come_back_to_the_bit(kind: Any) -> None:
    given = [made(kind, count) for count in (3, 0, 11)]
    found = results.decode(results.encode(given), kind, 3, CLASSES)
    for one, other in zip(given, found, strict=True):
        for name, value in vars(one).items():
            if name == "masks":
                assert len(value) == len(other.masks)
                for (part, *place), (again, *there) in zip(value, other.masks, strict=True):
                    assert place == there
                    assert np.array_equal(part, again)
            else:
                assert np.array_equal(value, getattr(other, name))
                assert np.asarray(value).dtype == np.asarray(getattr(other, name)).dtype


def test_too_many_results_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MOST", 1000)
    with pytest.raises(results.TooLarge, match="1000 are allowed"):
        results.encode([made(Detections, 300)])


def archive(**arrays: Any) -> str:
    """Arrays as a hostile board would write them."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return base64.b64encode(file.getvalue()).decode()


GOOD = {
    "0 boxes": np.zeros((1, 4), np.float32),
    "0 scores": np.zeros(1, np.float32),
    "0 classes": np.zeros(1, np.int64),
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no base64!", "."),
        (base64.b64encode(b"no archive").decode(), "damaged"),
        (archive(**{**GOOD, "0 classes": np.array([CLASSES])}), "is not one of 7"),
        (archive(**{**GOOD, "0 classes": np.array([-1])}), "is not one of 7"),
        (archive(**{**GOOD, "0 scores": np.zeros(2, np.float32)}), "not of one length"),
        (archive(**{**GOOD, "0 scores": np.zeros(1, np.float64)}), "is float64"),
        (archive(**{**GOOD, "0 boxes": np.array([[{}]], object)}), "."),
        (archive(**{name: GOOD[name] for name in ("0 boxes", "0 scores")}), "missing"),
    ],
)
def test_what_is_no_result_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        results.decode(text, Detections, 1, CLASSES)


def test_a_mask_outside_of_its_image_is_refused() -> None:
    good = made(Segments, 2)
    far = Segments(good.boxes, good.scores, good.classes, (*good.masks[:1], (good.masks[1][0], 58, 0)), good.shape)
    with pytest.raises(ValueError, match="outside of it"):
        results.decode(results.encode([far]), Segments, 1, CLASSES)
