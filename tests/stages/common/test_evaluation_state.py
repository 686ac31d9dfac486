"""What an evaluation keeps: the same to the bit when it is read; nothing where it is another's, damaged or made up."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common import evaluation_state
from stages.common.classification import Ranking
from stages.common.detection import Detections
from stages.common.evaluation_file import write_arrays
from stages.common.evaluation_state import Found
from stages.common.mask_metrics import encoded
from stages.common.poses import Poses
from stages.common.segmentation import Segments
from stages.common.texts import Text
from stages.common.turned import TurnedBoxes

CLASSES, KEY = 5, "a" * 64
MUTANTS = 2000
Draw = Callable[[np.random.Generator, int], Any]


def parts(random: np.random.Generator, count: int, sides: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes, scores = random.random((count, sides), np.float32), random.random(count, np.float32)
    return boxes, scores, random.integers(0, CLASSES, count)


def segments(random: np.random.Generator, count: int) -> Any:
    masks = tuple((random.random((5 + index, 7)) > 0.4, index, 2 * index) for index in range(count))
    return encoded(Segments(*parts(random, count), masks, (30, 40)))


DRAWN: Mapping[str, Draw] = {
    "object_detection": lambda random, count: Detections(*parts(random, count)),
    "segmentation": segments,
    "pose": lambda random, count: Poses(*parts(random, count), random.random((count, 17, 3), np.float32)),
    "oriented_detection": lambda random, count: TurnedBoxes(*parts(random, count, 5)),
    "classification": lambda random, count: Ranking(*parts(random, count)[:0:-1]),
    "ocr": lambda random, count: Text(*parts(random, count)[:0:-1]),
    "generic": lambda random, count: None,
}


def drawn(task: str) -> list[Found]:
    generator = np.random.default_rng(7)
    return [Found(DRAWN[task](generator, count), (30, 40), count == 2) for count in (3, 0, 2, 1)]


def kept(folder: Path, task: str) -> Path:
    path = folder / "state.npz"
    path.write_bytes(evaluation_state.encode(task, KEY, drawn(task)))
    return path


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(same(value, vars(other)[name]) for name, value in vars(one).items())
    return bool(one == other)


@pytest.mark.parametrize("task", DRAWN)
def test_what_is_read_is_what_was_found_to_the_bit(tmp_path: Path, task: str) -> None:
    found = evaluation_state.read(kept(tmp_path, task), task, KEY, CLASSES)
    assert len(found) == 4
    assert all(same(one, other) for one, other in zip(drawn(task), found, strict=True))


def test_an_empty_result_keeps_the_type_that_it_had(tmp_path: Path) -> None:
    none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    (tmp_path / "state").write_bytes(
        evaluation_state.encode("object_detection", KEY, [*drawn("object_detection"), Found(none, (3, 4), False)])
    )
    found = evaluation_state.read(tmp_path / "state", "object_detection", KEY, CLASSES)
    assert same(found[-1].result, none)
    assert same(found[0].result, drawn("object_detection")[0].result)


def test_another_evaluations_state_is_not_taken(tmp_path: Path) -> None:
    path = kept(tmp_path, "object_detection")
    assert evaluation_state.read(path, "object_detection", "b" * 64, CLASSES) == []
    assert evaluation_state.read(path, "oriented_detection", KEY, CLASSES) == []
    assert evaluation_state.read(path, "generic", KEY, CLASSES) == []
    assert evaluation_state.read(path, "object_detection", KEY, 2) == []
    assert evaluation_state.read(tmp_path / "none", "object_detection", KEY, CLASSES) == []


def test_a_result_of_a_kind_that_is_not_known_is_not_kept() -> None:
    with pytest.raises(ValueError, match="a result"):
        evaluation_state.encode("pose", KEY, drawn("object_detection"))
    odd = Detections(np.zeros((1, 4), object), np.zeros(1, np.float32), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="tuple"):
        evaluation_state.encode("object_detection", KEY, [Found(odd, (3, 4), False)])


@pytest.mark.parametrize("task", ["object_detection", "segmentation"])
def test_a_state_with_damaged_bytes_is_taken_whole_or_not_at_all(tmp_path: Path, task: str) -> None:
    path, chance = kept(tmp_path, task), random.Random(11)
    whole, sound = path.read_bytes(), drawn(task)
    for _ in range(MUTANTS // 2):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
        found = evaluation_state.read(path, task, KEY, CLASSES)
        assert not found or all(same(one, other) for one, other in zip(sound, found, strict=True))


def stored(named: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    write_arrays(file, named, zipfile.ZIP_STORED)
    return file.getvalue()


ODD = (-1, 0, 1, 2, 7, 255, 1 << 31, 1 << 62, -(1 << 63))


def changed(array: np.ndarray, chance: random.Random) -> np.ndarray:
    """The array with another value, length, type or shape."""
    way = chance.randrange(6)
    flat = array.copy().reshape(-1)
    if way == 0 and flat.size and flat.dtype.kind in "iuf":
        odd = np.array([chance.choice([*ODD, np.nan, np.inf] if flat.dtype.kind == "f" else ODD)])
        flat[chance.randrange(flat.size)] = odd.astype(flat.dtype)[0]
        return flat.reshape(array.shape)
    if way == 1 and array.ndim:
        return array[:-1]
    if way == 2 and array.ndim:
        return np.concatenate([array, array[:1]])
    if way == 3:
        return array[None]
    return array.astype(chance.choice(["<f8", "<i4", "<u1", ">i8", "<U8", "?"])) if way == 4 else flat[:0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("task", [task for task in DRAWN if task != "generic"])
def test_a_state_that_is_made_up_gives_sound_results_or_none(tmp_path: Path, task: str) -> None:
    path, chance = kept(tmp_path, task), random.Random(5)
    with np.load(path, allow_pickle=False) as archive:
        whole = dict(archive)
    for _ in range(MUTANTS // 6):
        named = dict(whole)
        for _ in range(chance.randint(1, 3)):
            name = chance.choice(list(named))
            if name == "key":
                del named[name]
                break
            try:
                named[name] = changed(named[name], chance)
            except ValueError:  # numpy does not convert one to the other
                continue
        path.write_bytes(stored(named))
        for one in evaluation_state.read(path, task, KEY, CLASSES):
            assert (one.result.classes < CLASSES).all()
            assert (one.result.classes >= 0).all()
            assert len(one.result.scores) == len(one.result.classes)
            assert np.isfinite(one.result.scores).all()


@pytest.mark.parametrize("counts", [b"", b"\xff\xff", b"ZZZZ", b"oooooooooooooooo", b"0", b"PPYo1"])
def test_masks_that_a_library_in_c_must_not_see_are_refused(tmp_path: Path, counts: bytes) -> None:
    path = kept(tmp_path, "segmentation")
    with np.load(path, allow_pickle=False) as archive:
        whole = dict(archive)
    first = int(whole["lengths"][0])
    whole["runs"] = np.concatenate([np.frombuffer(counts, np.uint8), whole["runs"][first:]])
    whole["lengths"][0] = len(counts)
    path.write_bytes(stored(whole))
    assert evaluation_state.read(path, "segmentation", KEY, CLASSES) == []


def test_a_pickle_in_it_is_not_run(tmp_path: Path) -> None:
    path = kept(tmp_path, "object_detection")
    with np.load(path, allow_pickle=False) as archive:
        whole = dict(archive)
    np.savez(path, **{**whole, "scores": np.array([print] * len(whole["scores"]), object)})
    assert evaluation_state.read(path, "object_detection", KEY, CLASSES) == []


def test_a_state_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path, "object_detection")
    monkeypatch.setattr(evaluation_state, "MAX_BYTES", path.stat().st_size - 1)
    assert evaluation_state.read(path, "object_detection", KEY, CLASSES) == []
