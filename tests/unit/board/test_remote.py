"""Reaching a board: the command lines, and what is told where it is not reached. adb is a stand-in, ssh is real."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.board import archive, remote
from mcwbuild.contract.errors import EnvironmentLacking, InputError, Refused, StageFailed

STANDIN = Path(__file__).parents[2] / "support" / "adb_standin.py"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the calls of adb's stand-in, which is the first adb on the path."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "adb"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ADB_CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def packed(folder: Path, program: str) -> Path:
    """An archive whose program is this text."""
    archive.write(folder / "rk3588.tar.gz", {"run_board.py": program.encode()})
    return folder / "rk3588.tar.gz"


RECORDS = "import pathlib, sys\npathlib.Path(sys.argv[2]).write_text('the record')\nsys.stderr.write('measuring\\n')\n"


def measure(board: Any, archive_: Path, told: list[str] | None = None) -> bytes:
    return remote.measure(board, archive_, sys.executable, (told if told is not None else []).append)


def test_adb_is_given_words_and_leaves_nothing_on_the_board(calls: Path, tmp_path: Path) -> None:
    told: list[str] = []
    assert measure(remote.Adb("0123456789ABCDEF"), packed(tmp_path, RECORDS), told) == b"the record"
    assert "measuring" in told
    lines = [json.loads(line) for line in calls.read_text().splitlines()]
    assert {tuple(words[:2]) for words in lines} == {("-s", "0123456789ABCDEF")}
    verbs = [words[2] for words in lines]
    assert verbs == ["shell", "push", "shell", "shell", "pull", "shell"]
    place = Path(lines[1][4]).parent
    assert str(place).startswith("/tmp/mcwbuild-")
    assert f"rm -rf {place};" in lines[-1][3]
    assert not place.exists()


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        ("import sys\nsys.exit('error: no NPU (No module named rknnlite).')", StageFailed,
         "no NPU"),
        ("import sys\nsys.stderr.write('error: No chip.\\n')\nsys.exit(5)", EnvironmentLacking, "No chip."),
        ("import sys\nsys.stderr.write('error: a file changed.\\n')\nsys.exit(6)", Refused, "a file changed."),
        ("pass", StageFailed, "measured nothing"),
    ],
)  # fmt: skip
def test_a_program_that_fails_is_told_and_nothing_stays(
    calls: Path, tmp_path: Path, program: str, error: type[Exception], words: str
) -> None:
    before = set(Path("/tmp").glob("mcwbuild-*"))
    with pytest.raises(error, match=words):
        measure(remote.Adb("A1"), packed(tmp_path, program))
    assert {path for path in Path("/tmp").glob("mcwbuild-*") if len(path.name) == 19} <= before


def test_a_board_without_that_python_is_told(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacking, match="has no Python called 'python9; reboot'"):
        remote.measure(remote.Adb("A1"), packed(tmp_path, RECORDS), "python9; reboot", print)


def test_a_device_that_is_not_there_is_told(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacking, match=r"board missing was not reached.*device 'missing' not found"):
        measure(remote.Adb("missing"), packed(tmp_path, RECORDS))


def test_a_machine_without_adb_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentLacking, match=r"The program adb is not on this machine\. Install adb"):
        measure(remote.Adb("A1"), packed(tmp_path, RECORDS))


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=touch x", "a b", "host;id", "$(id)", "root@", "user@-host", "", "a\nb", "root@host/../x"]
)
def test_names_that_a_shell_or_ssh_could_take_for_more_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no board for --ssh"):
        remote.Ssh(name)
    with pytest.raises(InputError, match="is no serial number"):
        remote.Adb(name or "-s")


@pytest.mark.parametrize("name", ["root@192.168.1.20", "board", "pi@rock-5b.local", "root@fe80::1%eth0", "u_1@h"])
def test_names_of_boards_are_taken(name: str) -> None:
    remote.Ssh(name)


def test_a_port_where_nobody_listens_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EnvironmentLacking, match="no ssh server answers there"):
        measure(remote.Ssh("root@127.0.0.1", port), packed(tmp_path, RECORDS))


def test_a_name_that_is_not_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacking, match="was not reached: its name is not known"):
        measure(remote.Ssh("root@no-such-board.invalid"), packed(tmp_path, RECORDS))
