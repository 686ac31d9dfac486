"""The states that the attempts at a call have left: the newest of each kind, by its flag."""

from __future__ import annotations

import os
from pathlib import Path

from mcwbuild.contract.resumable import EVALUATIONS, KINDS, TRAINING, TUNING
from mcwbuild.engines.dask import state


def leave(folder: Path, kind_folder: str, file: str, content: str, when: int) -> None:
    path = folder / state.FOLDER / kind_folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (when, when))


def test_each_kind_of_work_has_its_last_state(tmp_path: Path) -> None:
    fp16, int8 = EVALUATIONS["fp16"], EVALUATIONS["int8"]
    leave(tmp_path / "call" / "1", TUNING.staged, TUNING.file, "old tries", 1000)
    leave(tmp_path / "call" / "2", TUNING.staged, TUNING.file, "new tries", 2000)
    leave(tmp_path / "call" / "1", fp16.staged, fp16.file, "half an evaluation", 3000)
    found = state.newest(tmp_path / "call", tmp_path)
    assert {flag: path.read_text() for flag, path in found.items()} == {
        "--resume": "new tries",
        "--resume-fp16": "half an evaluation",
    }
    assert int8.flag not in found
    assert state.newest(tmp_path / "none", tmp_path) == {}


def test_what_a_looking_worker_keeps_is_found(tmp_path: Path) -> None:
    staging, attempt = tmp_path / "staging", tmp_path / "call" / "1"
    for kind in KINDS:
        if kind is not TRAINING:
            (staging / kind.staged).mkdir(parents=True)
            (staging / kind.staged / kind.file).write_text(kind.file)
    state.Saved(staging, attempt, _looked=-state.EVERY).look()
    assert len(state.newest(tmp_path / "call", tmp_path)) == len({kind.flag for kind in KINDS})


def test_no_two_kinds_that_a_step_may_have_share_a_place_or_a_flag() -> None:
    for phase in ("pt", "onnx", "rknn"):
        mine = [kind for kind in KINDS if kind.phase == phase]
        assert len({kind.flag for kind in mine}) == len(mine)
    assert len({kind.folder for kind in KINDS}) == len({kind.staged for kind in KINDS}) == len(KINDS)
