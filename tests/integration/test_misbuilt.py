"""Models that were built wrongly while every document agrees: caught by a gate, or by what is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign import misbuilt

NETWORK = "shapes"
CAUGHT = {  # kind -> what tells it
    "colours exchanged": "map50_95",
    "classes permuted": "map50_95",
    "another size": "exit code 2",
    "a .rknn with another std": "are not those that rknn_source.yaml describes",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sound packages' folder, and their dataset."""
    folder = tmp_path_factory.mktemp("sound")
    return folder, misbuilt.prepare(folder, NETWORK)


@pytest.mark.parametrize("kind", CAUGHT)
def test_a_model_that_was_built_wrongly_is_caught(kind: str, sound: tuple[Path, Path]) -> None:
    folder, data = sound
    assert CAUGHT[kind] in misbuilt.trial(folder, NETWORK, data, kind)
