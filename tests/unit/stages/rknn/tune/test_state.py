"""The tries that outlive a killed run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.rknn.job import Quantization
from stages.rknn.layer_errors import LayerError
from stages.rknn.request import Tries
from stages.rknn.tune import state
from stages.rknn.tune.trial import Trial

CHOSEN = Quantization("normal", "channel", 50, (("c", "float16"),), 0.999)
TRIES = [Trial("int8", "plain", CHOSEN, "failed", "so", 1.5, accuracy=0.5, interval=(1.0, 2.0))]
LAYERS = [LayerError("Conv", ("c", "r"), ("/c", "/r"), ("before",), 0.99, 1.0, None, None)]


def test_what_is_kept_comes_back_to_the_same_search_only(tmp_path: Path) -> None:
    kept = tmp_path / "tuning" / "tries.json"
    place = Tries(kept, kept, own=True)
    assert state.load(place, "key") == ([], [])
    state.save(place, "key", TRIES, LAYERS)
    assert state.load(place, "key") == (TRIES, LAYERS)
    assert state.load(place, "another") == ([], [])
    state.forget(place)
    assert not kept.parent.exists()


def test_the_orchestrators_folder_is_the_orchestrators(tmp_path: Path) -> None:
    place = Tries(tmp_path / "tuning" / "tries.json", None, own=False)
    state.save(place, "key", TRIES, LAYERS)
    state.forget(place)
    assert place.path.is_file()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"key": "key"}', '{"key": "key", "tries": [{}], "layers": []}']
)
def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "tries.json"
    kept.write_text(text)
    assert state.load(Tries(kept, kept, own=True), "key") == ([], [])


def test_a_damaged_try_counts_as_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "tries.json"
    place = Tries(kept, kept, own=True)
    state.save(place, "key", TRIES, LAYERS)
    for damage in ({"interval": 3}, {"quantization": None}, {"surplus": 1}):
        data = json.loads(kept.read_text())
        data["tries"][0] |= damage
        kept.write_text(json.dumps(data))
        assert state.load(place, "key") == ([], [])
        state.save(place, "key", TRIES, LAYERS)
