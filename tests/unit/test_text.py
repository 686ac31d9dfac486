"""What reaches a terminal."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract.terminal import cell_text, visible
from mcwbuild.report.text import seconds_text, size_text
from tests.support.commands import mcwbuild


@given(st.text())
def test_no_control_or_bidi_character_reaches_a_terminal(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Zl", "Zp", "Cs"}


@given(st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters=":#")))
def test_ordinary_text_of_any_script_is_left_alone(text: str) -> None:
    assert visible(text) == text


def test_escapes_show_what_was_there() -> None:
    assert visible("a\x1b[31mb\n\u202ec") == "a\\x1b[31mb\\n\\u202ec"


COMMANDS = (
    "::error file=a::b",
    "  ::add-mask::x",
    "\u3000::debug::x",
    "\ufe0f::error::x",
    "##[error]x",
    "a ##[group]b",
    "###[x]",
    "#\ufe0f#[error]x",
    ":::stop-commands::x",
)


@pytest.mark.parametrize("text", COMMANDS)
def test_no_text_commands_a_ci_runner(text: str) -> None:
    """As actions/runner looks for them: `::` after white space, `##[` anywhere, unseen characters left out."""
    for shown in (visible(text), cell_text(text)):
        seen = "".join(c for c in shown if "!" <= c <= "~")
        assert not seen.startswith("::")
        assert "##[" not in seen
    assert "::" not in cell_text(f"far{text}")


@pytest.mark.parametrize("text", ["a::b", "torch::nms # [1]", "#[x]", ": :", "a: b"])
def test_colons_and_marks_that_command_nobody_stay(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_argument_or_file_name_stays_harmless_on_both_streams(tmp_path: Path, command: str) -> None:
    for words in (("verify", command), ("config", "show", command), (command,), ("run", "--pt", command + ".pt")):
        done = mcwbuild(*words, cwd=tmp_path)
        assert done.code == 2
        for line in (done.stdout + done.stderr).splitlines():
            seen = "".join(c for c in line if "!" <= c <= "~")
            assert not seen.startswith("::"), line
            assert "##[" not in seen, line


def test_json_results_hold_no_command_and_the_same_text(tmp_path: Path) -> None:
    done = mcwbuild("config", "show", "--json", cwd=tmp_path, environment={"MCWBUILD_NAME": "##[error]\x1b::x"})
    assert "##[" not in done.stdout
    assert done.json["name"]["value"] == "##[error]\x1b::x"


def test_an_ascii_terminal_gets_escapes_and_no_crash(tmp_path: Path) -> None:
    done = mcwbuild("config", "show", cwd=tmp_path, environment={"MCWBUILD_NAME": "犬", "PYTHONIOENCODING": "ascii"})
    assert done.code == 0, done.stderr
    assert "\\u72ac" in done.stdout


def test_figures_for_people() -> None:
    assert [seconds_text(s) for s in (0.42, 12.3, 185)] == ["0.4 s", "12 s", "3 min 05 s"]
    assert [size_text(s) for s in (12, 5_412_345, 7_100_000_000)] == ["12 B", "5.4 MB", "7.1 GB"]
