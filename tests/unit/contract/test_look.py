"""Paths that cannot be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild.contract import dataset, documents, look
from mcwbuild.contract.errors import InputError

IMPOSSIBLE = {
    "too long": "a" * 300,
    "too deep": "a/" * 3000 + "b",
    "a NUL": "a\0b",
    "a loop": "loop/b",
    "under a file": "file/b",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_what_cannot_be_looked_at_is_not_there(folder: Path, kind: str) -> None:
    path = folder / IMPOSSIBLE[kind]
    assert not look.is_file(path)
    assert not look.is_folder(path)
    assert not look.exists(path)


@pytest.mark.parametrize("written", ["\\ud800", "a\\0b"])
def test_text_that_no_file_system_holds_is_refused_as_a_folder(folder: Path, written: str) -> None:
    (folder / "data.yaml").write_text(f'path: "{written}"\ntrain: "{written}"\nval: x\nnames: [a]\n')
    with pytest.raises(InputError, match="not a usable"):
        dataset.read(folder / "data.yaml")


@pytest.mark.parametrize("kind", [kind for kind in IMPOSSIBLE if kind != "a NUL"])
def test_documents_and_datasets_that_name_such_paths_are_refused_in_a_sentence(folder: Path, kind: str) -> None:
    name = IMPOSSIBLE[kind]
    with pytest.raises(InputError):
        documents.read_text(folder / name)
    (folder / "list.txt").write_text(f"{name}.jpg\n")
    (folder / "data.yaml").write_text(f"path: {name}\ntrain: {name}\nval: {name}\nnames: [a]\n")
    for read, file in ((dataset.read_list, "list.txt"), (dataset.read, "data.yaml")):
        with pytest.raises(InputError, match="not a usable") as caught:
            read(folder / file)
        assert caught.value.problems
