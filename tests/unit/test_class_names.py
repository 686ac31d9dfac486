"""Text of every script and every kind of attack as a class name: unchanged everywhere, or refused with the reason."""

from __future__ import annotations

import ast
import json
import unicodedata
from itertools import groupby

import pytest

from mcwbuild.contract import yaml
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.jsontext import load_json
from mcwbuild.contract.terminal import visible
from stages.rknn import script
from tests.support.class_names import POSITIONS, SCALARS, acceptable, check, harmless, name, scalar, source

STEP = 900  # about 1,200 scalar values evenly spread, beside both ends of every run of one category


def sample() -> list[str]:
    """Both ends of every run of characters of one category and direction, and some of all others."""
    ends = []
    kinds = groupby(
        range(SCALARS), key=lambda n: (unicodedata.category(scalar(n)), unicodedata.bidirectional(scalar(n)))
    )
    for number, (kind, run) in enumerate(kinds):
        first, *others = run
        if number % 3 == 0 or kind[0][0] in "CZ":
            ends += [first, *others[-1:]]
    return [scalar(n) for n in sorted({*ends, *range(0, SCALARS, STEP)})]


@pytest.mark.parametrize("position", POSITIONS)
def test_characters_of_every_category_and_plane_are_carried_unchanged_or_refused(position: str) -> None:
    counts = check([name(character, position) for character in sample()])
    assert counts.wrong == []
    assert counts.carried > 2000
    assert counts.refused > 60


HARMLESS = {
    "quotes": 'it\'s "quoted" `x`',
    "triple quotes": '"""; import os  # """ \'\'\'',
    "line breaks": "two\nlines\r\nand\ttabs",
    "template": "{{ 7 * 7 }} {% raw %} ${HOME} $(id) %s {0}",
    "backslashes": "\\u202e \\N{BULLET} \\x1b \\",
    "yaml": "- a: &b !!python/object:os.system 'c' # d",
    "looks like a number": "0o17",
    "looks like a truth": "no",
    "white space": " \u00a0\u3000 ",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e\u00adf",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\U000e0067\U000e007f \u2764\ufe0f",
    "scripts": "Füße 犬 كلب כלב कुत्ता สุนัข პური 개 ぽ ᚠ 𒀀",
    "private": "\ue000\U0010fffd",
    "ci": "::error file=a::b",
    "old ci": "x ##[error]y",
    "html": "<script>alert(1)</script>&amp;",
    "200 of the widest": "\U0010fffd" * 200,
}
REFUSED = {
    "escape": ("\x1b[31mred", "control character U+001B"),
    "nul": ("a\0b", "control character U+0000"),
    "next line": ("a\x85b", "control character U+0085"),
    "line separator": ("a\u2028b", "control character U+2028"),
    "byte order mark": ("\ufeffa", "control character U+FEFF"),
    "bidi": ("gpj.\u202eexe", "U+202E, which changes the direction"),
    "isolate": ("\u2067a", "U+2067, which changes the direction"),
    "no character": ("\U0001fffe", "U+1FFFE, which is not a character"),
    "decomposed": ("cafe\u0301", "not in Unicode's normal form C"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_hostile_looking_names_are_data(kind: str) -> None:
    counts = check([HARMLESS[kind]])
    assert (counts.carried, counts.wrong) == (1, [])
    assert harmless(visible(HARMLESS[kind]))
    ast.parse(script.script("yolo_dfl", {"names": [HARMLESS[kind]]}), feature_version=(3, 8))


@pytest.mark.parametrize("kind", REFUSED)
def test_names_that_libraries_or_people_read_differently_are_refused_with_place_and_reason(kind: str) -> None:
    text, reason = REFUSED[kind]
    assert not acceptable(text)
    with pytest.raises(InputError) as caught:
        yaml.load(yaml.dump(source(["first", text])), "f.yaml")
    (problem,) = caught.value.problems
    assert str(problem).startswith("f.yaml:8:7: ")
    assert reason in problem.message
    assert problem.hint
    assert harmless(str(problem))


def test_twins_that_look_equal_cannot_both_be_names() -> None:
    composed = unicodedata.normalize("NFC", "cafe\u0301")
    assert check([composed]).carried == 1
    assert check([composed, "cafe\u0301"]).refused == 1


def test_half_a_character_is_refused_by_both_readers() -> None:
    with pytest.raises(InputError) as caught:
        yaml.load(yaml.dump(source(["\ud83d"])), "f.yaml")
    assert "this is not YAML: " in str(caught.value.problems[0])
    with pytest.raises(InputError) as caught:
        load_json(json.dumps(source(["\ud83d"])), "f.json")
    assert "U+D83D, which is not a character" in str(caught.value.problems[0])
