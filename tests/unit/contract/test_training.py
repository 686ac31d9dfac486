"""`train.yaml`: what is read of it, and the example that `init --train` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcwbuild.contract import schemas, training
from mcwbuild.contract.errors import InputError


def written(folder: Path, text: str) -> Path:
    (folder / "train.yaml").write_text(text)
    return folder / "train.yaml"


def test_an_architecture_has_no_weights_and_a_checkpoint_lies_beside_the_file(tmp_path: Path) -> None:
    config = training.read(written(tmp_path, "model: yolo11n.yaml\nepochs: 3\ntask: detect\n"))
    assert (config.model, config.task, dict(config.settings)) == ("yolo11n.yaml", "detect", {"epochs": 3})
    assert config.weights is None
    assert training.read(written(tmp_path, "model: old/best.pt\n")).weights == tmp_path / "old" / "best.pt"


def test_the_example_is_valid_and_names_every_field(tmp_path: Path) -> None:
    text = training.example()
    assert training.read(written(tmp_path, text)).settings == {}
    everything = re.sub(r"^# ([a-z0-9_]+: .*)$", r"\1", text, flags=re.MULTILINE)
    config = training.read(written(tmp_path, everything))
    fields = set(schemas.schema("train")["properties"]) - {"schema", "model", "task"}
    assert set(config.settings) == fields


def test_an_unknown_key_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        training.read(written(tmp_path, "model: yolo11n.yaml\nepoch: 3\n"))
    assert "did you mean `epochs`?" in str(caught.value.problems[0])
