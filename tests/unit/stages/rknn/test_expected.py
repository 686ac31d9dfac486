"""What of the simulator's outputs is kept in the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common.per_image import means
from stages.rknn import expected
from stages.rknn.expected import Expected

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_outputs_are_kept_without_loss_and_half_as_large_where_they_can(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    whole = random.normal(size=(1, 4, 5)).astype(np.float32)
    halves = random.normal(size=(1, 4, 5)).astype(np.float16).astype(np.float32)
    kept = Expected()
    kept.add(IMAGE, [whole, halves])
    with np.load(kept.write(tmp_path / "expected.npz", None), allow_pickle=False) as found:
        assert np.array_equal(found["input 0"], IMAGE)
        assert found["output 0 0"].dtype == np.float32
        assert np.array_equal(found["output 0 0"], whole)
        assert found["output 0 1"].dtype == np.float16
        assert np.array_equal(found["output 0 1"], halves)


def test_no_more_images_are_kept_than_there_is_room_for(tmp_path: Path) -> None:
    few, large, alone = Expected(), Expected(), Expected()
    for _ in range(9):
        few.add(IMAGE, [np.zeros((1, 2), np.float32)])
        large.add(IMAGE, [np.full(expected.BYTES // 4 - 100, 1 / 3, np.float32)])
        alone.add(IMAGE, [np.full(expected.ALONE // 4, 1 / 3, np.float32)])
    for made, count in ((few, expected.IMAGES), (large, 1)):
        with np.load(made.write(tmp_path / "expected.npz", None)) as found:
            assert len([name for name in found.files if name.startswith("input")]) == count
    assert alone.write(tmp_path / "nothing.npz", None) == ""
    assert not (tmp_path / "nothing.npz").exists()


def test_the_evaluation_comes_back(tmp_path: Path) -> None:
    kept = Expected()
    kept.add(IMAGE, [np.zeros((1, 2), np.float32)])
    file = Path(kept.write(tmp_path / "expected.npz", means(top1=[1, 0, 1], top5=[1, 1, 1])))
    found = expected.evaluation(file)
    assert found is not None
    assert found.values(np.ones((3, 1), np.int32))["top1"] == pytest.approx(2 / 3)
    assert expected.evaluation(Path(kept.write(tmp_path / "none.npz", None))) is None
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match="is not what the rknn phase wrote"):
        expected.evaluation(file)
