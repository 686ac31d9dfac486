"""The strict JSON reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcwbuild.contract.bounds import DOCUMENT_VALUES
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.jsontext import load_json
from mcwbuild.contract.marks import MAX_DEPTH, Document
from tests.unit.contract.strategies import DATA

BASE = '{\n  "a": [1, -2.5e3, true, null],\n  "b": {"c": "x\\u00e9\\n"}\n}\n'


def read(text: str) -> Document | InputError:
    try:
        return load_json(text, "f.json")
    except InputError as error:
        return error


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_json(text, "f.json")
    return [str(problem) for problem in caught.value.problems]


@given(DATA, st.sampled_from((None, 1, "\t")), st.booleans())
def test_it_reads_what_the_library_writes(data: Any, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    assert repr(load_json(text, "f").value) == repr(data)


@settings(max_examples=300)
@given(st.data())
def test_it_accepts_nothing_that_the_library_refuses(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(BASE)))
    text = (
        BASE[:at]
        + data.draw(st.text(max_size=2) | st.sampled_from('[]{}:,"0-e.'))
        + BASE[at + data.draw(st.integers(0, 3)) :]
    )
    found = read(text)
    if isinstance(found, InputError):
        assert found.problems
    else:
        assert repr(found.value) == repr(json.loads(text.removeprefix("\ufeff")))  # editors on Windows write one


def test_places_are_lines_and_columns_from_one() -> None:
    document = load_json(BASE, "f")
    assert document.place(("a", 1)) == (2, 12)
    assert document.key_place(("b", "c")) == (3, 9)


def test_duplicate_keys_and_numbers_that_cannot_be_kept_are_all_told() -> None:
    assert problems('{"a": NaN, "a": 1,\n"b": [Infinity, -Infinity, 1e999]}') == [
        "f.json:1:7: NaN is not a number that can be kept (write null and the reason)",
        'f.json:1:12: the key "a" is there twice, first in line 1 (remove one)',
        "f.json:2:7: Infinity is not a number that can be kept (write null and the reason)",
        "f.json:2:17: -Infinity is not a number that can be kept (write null and the reason)",
        'f.json:2:28: "1e999" is not a number that can be kept (write a finite number)',
    ]


@pytest.mark.parametrize("digits", [20, 399, 401, 100_000])
def test_whole_numbers_without_end_are_refused_at_once(digits: int) -> None:
    assert "is not a number that can be kept" in problems("9" * digits)[0]


@pytest.mark.parametrize("text", ["", "{", "[1,]", "{'a': 1}", '{"a": 01}', "nul", '"a', "1 2", '{"a" 1}', "\x0b1"])
def test_what_is_not_json_has_its_place(text: str) -> None:
    assert problems(text)[0].startswith("f.json:1:")


def test_depth_and_number_of_values_are_limited() -> None:
    assert "nested too deep" in problems("[" * (MAX_DEPTH + 5))[0]
    assert "nested too deep" in problems("[" * 400_000)[0]
    assert "too many values" in problems("[" + "1," * (DOCUMENT_VALUES.value + 1) + "1]")[0]


def test_many_values_in_one_line_keep_their_places() -> None:
    text = "[" + ", ".join(["1"] * 50_000) + "]"
    assert load_json(text, "f").place((49_999,)) == (1, 2 + 3 * 49_999)


def test_hostile_characters_in_escapes_are_refused() -> None:
    assert "U+202E" in problems('{"a": "x\\u202e"}')[0]
    assert "not a character" in problems('{"a": "\\ud800"}')[0]
