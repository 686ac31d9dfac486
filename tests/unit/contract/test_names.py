"""Names of files and of the model: taken as they are, or refused with the reason."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract import names
from mcwbuild.contract.errors import InputError

GOOD = ["-rf.pt", "a b.pt", 'it\'s "q".pt', "{{x}}%d:*.pt", "é犬😀.pt", "a\u200db.pt", "x" * 250, "::error::x"]
BAD = ["a\nb.pt", "a\tb.pt", "a\\b.pt", "\x1b[31m.pt", "cafe\u0301.pt", "a\u202eb.pt", "a\x85b.pt", "a\udcffb.pt"]


def test_file_names_that_documents_can_hold_are_taken_whatever_their_folder_is_called() -> None:
    names.require_file_names(Path("fol\nder\u202e") / name for name in GOOD)


@pytest.mark.parametrize("name", BAD)
def test_other_file_names_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError, match="Rename the file") as caught:
        names.require_file_names([Path("folder") / name])
    (problem,) = caught.value.problems
    assert str(problem).isascii()
    assert "is not accepted" in problem.message or "normal form C" in problem.message


def test_a_given_model_name_is_kept_and_a_folders_is_brought_to_normal_form() -> None:
    twin = unicodedata.normalize("NFD", "Füße")
    assert names.model_name("Füße", given=True) == names.model_name(twin, given=False) == "Füße"
    for name, given_ in ((twin, True), ("a\x1bb", True), ("a\udcff", False)):
        with pytest.raises(InputError, match="--name"):
            names.model_name(name, given=given_)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_a_models_folder_is_one_folder_below_the_present_one(name: str) -> None:
    folder = names.folder_name(name)
    assert Path("build", folder).parent == Path("build")
    assert folder.strip(".")
    assert len(folder.encode()) <= 120


def test_ordinary_model_names_are_their_folders_names() -> None:
    assert [names.folder_name(name) for name in ("cats v2", "犬", "../../x", "..", "a/b")] == [
        *("cats v2", "犬", "..-..-x", "model", "a-b"),
    ]
