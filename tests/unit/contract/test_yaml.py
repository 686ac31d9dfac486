"""The strict YAML loader and its writer."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mcwbuild.contract import yaml
from mcwbuild.contract.bounds import DOCUMENT_BYTES, DOCUMENT_VALUES
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.marks import MAX_DEPTH
from tests.unit.contract.strategies import DATA, LEAVES, TEXT, TRICKY

BASE = """\
model: {name: a, type: "b", task: 'c'}
list:
  - 1
  - -2.5e3
  - [true, null, ~]
text: |
  two
  lines
folded: >-
  one
  line
"""


def exact(value: Any) -> str:
    """Equal only where types, order and signs are equal too."""
    return repr(value)


def read(text: str) -> yaml.Document | InputError:
    try:
        return yaml.load(text, "f.yaml")
    except InputError as error:
        return error


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        yaml.load(text, "f.yaml")
    assert caught.value.problems
    return [str(problem) for problem in caught.value.problems]


@given(DATA)
@example({"a": -0.0, "b": 1e-05, "c": 1e16, "d": 5e-324, "e": [[], {}, [[1, 2], [3]]], "f" * 5000: {"g": [None]}})
def test_what_is_dumped_reads_back_exactly(data: Any) -> None:
    assert exact(yaml.load(yaml.dump(data), "f").value) == exact(data)


@given(DATA)
@example([{"a": 1e-05, "b": 1e16, "c": -1e-300}])
def test_dumped_text_is_ascii_and_the_same_for_readers_of_yaml_1_1(data: Any) -> None:
    text = yaml.dump(data)
    assert text.isascii()
    assert pyyaml.safe_load(text) == data


@given(TEXT | TRICKY, TEXT | TRICKY)
def test_any_accepted_text_stays_as_it_is_as_value_and_as_key(key: str, value: str) -> None:
    data = {key: value, "list": [value, {key: value}]}
    assert exact(yaml.load(yaml.dump(data), "f").value) == exact(data)


@given(DATA)
def test_json_whose_characters_are_not_escaped_is_yaml(data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False)
    assume(all(len(part) < 900 for part in text.split('"')))  # YAML's limit for a key in one line
    assert yaml.load(text, "f").value == data


@settings(max_examples=400)
@given(st.data())
def test_a_damaged_document_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    text = BASE
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 5)))
        text = text[:at] + data.draw(st.text(max_size=3) | st.sampled_from("[]{}:,&*!|>'\"%@`#-?\t\n ")) + text[end:]
    found = read(text)
    if isinstance(found, InputError):
        assert {problem.file for problem in found.problems} == {"f.yaml"}
    else:
        assert exact(yaml.load(yaml.dump(found.value), "f").value) == exact(found.value)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text("abc xyz", min_size=1).map(str.strip), max_size=5
    )
)
def test_plain_words_are_read_as_pyyaml_reads_them(data: dict[str, str]) -> None:
    words = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
    assume(not words & (set(data) | set(data.values())))
    text = "".join(f"{key}: {value}\n" for key, value in data.items())
    assert yaml.load(text, "f").value == pyyaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("1e-3", 0.001),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", "1_000"),
        ("+5", 5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0", 0),
        ("'010'", "010"),
        ("=", "="),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_scalars_have_the_types_of_version_1_2(text: str, value: Any) -> None:
    assert exact(yaml.load(f"a: {text}", "f").value["a"]) == exact(value)


@given(LEAVES)
def test_a_scalar_alone_is_a_document(value: Any) -> None:
    assert exact(yaml.load(yaml.dump(value), "f").value) == exact(value)


def test_keys_are_text_whatever_they_look_like() -> None:
    assert yaml.load("{0: a, true: b, ~: c, 1.0: d}", "f").value == {"0": "a", "true": "b", "~": "c", "1.0": "d"}


def test_places_are_lines_and_columns_from_one() -> None:
    document = yaml.load("a:\n  b: [1, 22]\n'c': {d: e}\n", "f")
    assert document.place(("a", "b", 1)) == (2, 10)
    assert document.key_place(("a", "b")) == (2, 3)
    assert document.key_place(("c", "d")) == (3, 7)


def test_a_missing_value_has_its_parents_place() -> None:
    document = yaml.load("a:\n  b: 1\n", "f")
    assert document.place(("a", "x", 3)) == document.place(("a",)) == (2, 3)


def test_every_duplicate_key_is_told() -> None:
    found = problems("a: 1\nb: {c: 1, c: {d: 1, d: 2}}\n'a': 3\n")
    assert [line.split(" the key")[0] for line in found] == ["f.yaml:2:11:", "f.yaml:2:21:", "f.yaml:3:1:"]


def test_numbers_that_two_versions_read_differently_are_refused() -> None:
    assert "write 640" in problems("a: 0640")[0]
    assert "write 0," in problems("a: 00")[0]


@pytest.mark.parametrize("number", [".nan", "-.inf", "1e400", "18446744073709551616", "9" * 300])
def test_numbers_that_cannot_be_kept_are_refused(number: str) -> None:
    assert "is not a number that can be kept" in problems(f"a: {number}")[0]


def test_digits_without_end_are_text_and_take_no_time() -> None:
    assert yaml.load("a: " + "9" * 100_000, "f").value["a"] == "9" * 100_000


@pytest.mark.parametrize(
    "text", ["a: &x 1\nb: *x\n", "a: !!python/object:os.system x\n", "a: {<<: {b: 1}}\n", "? [a]\n: b\n"]
)
def test_references_tags_and_strange_keys_are_refused(text: str) -> None:
    assert problems(text)


def test_a_billion_laughs_stop_at_the_first_line() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "a0" in problems("\n".join(lines))[0]


def test_size_depth_and_number_of_values_are_limited() -> None:
    assert "larger than" in problems("a: " + "x" * DOCUMENT_BYTES.value)[0]
    assert "levels" in problems("[" * (MAX_DEPTH + 5) + "]" * (MAX_DEPTH + 5))[0]
    deep = problems("[" * 400_000)[0]
    assert "levels" in deep or "nesting depth" in deep  # libyaml's own limit from PyYAML 6.0.4 on
    assert "values" in problems("[" + "1," * (DOCUMENT_VALUES.value + 1) + "]")[0]


@pytest.mark.parametrize("character", ["\u202e", "\u2028", "\x85", "\x07", "\ufffe", "\x7f", "\u200f"])
def test_hostile_characters_are_refused_as_text_and_as_escape(character: str) -> None:
    assert problems(f"a: 'x{character}y'\n")
    assert problems(f'a: "x\\u{ord(character):04x}y"\n')


def test_names_that_look_equal_and_are_not_are_refused() -> None:
    assert "normal form" in problems("a: e\u0301\n")[0]


def test_a_byte_order_mark_at_the_beginning_is_no_trouble() -> None:
    assert yaml.load("\ufeffa: 1\n", "f").value == {"a": 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: 2}, b"x", {"a": {1, 2}}])
def test_what_yaml_cannot_hold_is_not_written(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        yaml.dump({"a": value} if not isinstance(value, dict) else value)


def test_people_read_block_style_with_numbers_in_line() -> None:
    assert yaml.dump({"input": {"size": [640, 640], "names": ["a", "no"]}}) == (
        'input:\n  size: [640, 640]\n  names:\n    - a\n    - "no"\n'
    )
