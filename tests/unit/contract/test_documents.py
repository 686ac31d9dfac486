"""Documents on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.errors import InputError


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        documents.read(path)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return str(problem).removeprefix(f"{path}")


def test_yaml_and_json_come_back_as_written(tmp_path: Path) -> None:
    data = {"names": ["no", "größer", "😀"], "size": [640, 640], "x": None}
    documents.write_yaml(tmp_path / "a.yaml", data)
    documents.write_json(tmp_path / "a.json", data)
    assert documents.read(tmp_path / "a.yaml").value == documents.read(tmp_path / "a.json").value == data
    assert (tmp_path / "a.json").read_bytes().isascii()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.yaml"]


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing.yaml") == ": the file is missing"
    assert refusal(tmp_path) == ": the file cannot be opened: it is a folder"
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    assert refusal(tmp_path / "latin.yaml") == ":2:7: the file is not UTF-8 text (save it as UTF-8)"
    (tmp_path / "large.yaml").write_bytes(b"\xff" * 2_000_000)
    assert refusal(tmp_path / "large.yaml") == ": the file is larger than 1000 kB"


def test_text_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        documents.write_yaml(tmp_path / "a.yaml", {"names": ["a\u202eb"]})
    with pytest.raises(ValueError, match="JSON"):
        documents.write_json(tmp_path / "a.json", {"map50": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_is_indented_and_ends_in_a_newline(tmp_path: Path) -> None:
    documents.write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    text = (tmp_path / "a.json").read_text()
    assert text == json.dumps({"b": 1, "a": [2]}, indent=2) + "\n"
