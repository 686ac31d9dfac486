"""`mcwbuild explain`, the catalogue and its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcwbuild.contract import failures
from mcwbuild.contract.failure_catalogue import ENTRIES
from tests.support.commands import mcwbuild

ROOT = Path(__file__).parents[2]
LOGS = Path(__file__).parent / "stages" / "rknn" / "logs"


def test_the_page_is_the_catalogues_table() -> None:
    page = (ROOT / "docs" / "failures.md").read_text("utf-8")
    assert page == failures.table() + "\n", "run: mcwbuild explain --table > docs/failures.md"


def test_every_entry_is_named_once_and_says_what_to_do() -> None:
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert entry.cause.endswith(".")
        assert entry.remedy.endswith(".")
        assert "|" not in entry.cause + entry.remedy
        assert all("#" in issue and "/" in issue for issue in entry.cited)


@pytest.mark.parametrize(
    ("log", "name", "layer"),
    [
        ("unknown_operator.txt", "operator-unknown", 'FooBar "/l1/Foo"'),
        ("rk2118_int8_abort.txt", "conv-unsupported", '"x"'),
        ("det_unsupported.txt", "operator-simulated", 'Det "/l1/Det"'),
    ],
)
def test_a_log_of_the_toolkit_is_explained_with_line_and_layer(log: str, name: str, layer: str) -> None:
    done = mcwbuild("explain", LOGS / log, "--json", cwd=ROOT)
    assert done.code == 0, done.stderr
    (first, *_) = json.loads(done.stdout)["found"]
    assert (first["failure"], first["layer"]) == (name, layer)
    lines = (LOGS / log).read_bytes().decode("utf-8").split("\n")
    assert " ".join(first["text"].split()[:3])[-12:] in lines[first["line"] - 1]
    words = mcwbuild("explain", LOGS / log, cwd=ROOT).stdout
    assert f"{LOGS / log}:{first['line']}: {name}" in words
    assert first["remedy"] in words


def test_a_build_that_worked_and_what_nobody_has_seen_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "odd.log").write_bytes(b"E build: something new\xff\x00\n")
    for log in (LOGS / "yolo11n_int8.txt", tmp_path / "odd.log"):
        done = mcwbuild("explain", log, cwd=ROOT)
        assert done.code == 0
        assert "none of the known failures is in it" in done.stdout


def test_a_boards_log_of_the_runtime_is_explained_and_cited(tmp_path: Path) -> None:
    log = tmp_path / "board.log"
    log.write_text("I RKNN: [00:00:00.000] RKNN Runtime Information\nE RKNN: Unsupport CPU op: GatherND in this lib\n")
    done = mcwbuild("explain", log, cwd=ROOT)
    assert ":2: runtime-operator" in done.stdout
    assert "layer   GatherND" in done.stdout
    assert "airockchip/rknn-toolkit2#538" in done.stdout


def test_hostile_logs_cannot_move_the_cursor(tmp_path: Path) -> None:
    log = tmp_path / "hostile.log"
    log.write_text("E build: Unsupport file \x1b[2J\u202ea.webp! \x07\n")
    out = mcwbuild("explain", log, cwd=ROOT).stdout
    assert "calibration-kind" in out
    assert not {"\x1b", "\u202e", "\x07"} & set(out)


def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    for arguments in ((tmp_path / "gone.log",), (tmp_path,), ()):
        done = mcwbuild("explain", *arguments, cwd=ROOT)
        assert done.code == 2
        assert "Traceback" not in done.stderr
