"""What reaches a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract.terminal import visible
from mcwbuild.report.text import seconds_text, size_text


@given(st.text())
def test_no_control_or_bidi_character_reaches_a_terminal(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Zl", "Zp", "Cs"}


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_of_any_script_is_left_alone(text: str) -> None:
    assert visible(text) == text


def test_escapes_show_what_was_there() -> None:
    assert visible("a\x1b[31mb\n\u202ec") == "a\\x1b[31mb\\n\\u202ec"


def test_figures_for_people() -> None:
    assert [seconds_text(s) for s in (0.42, 12.3, 185)] == ["0.4 s", "12 s", "3 min 05 s"]
    assert [size_text(s) for s in (12, 5_412_345, 7_100_000_000)] == ["12 B", "5.4 MB", "7.1 GB"]
