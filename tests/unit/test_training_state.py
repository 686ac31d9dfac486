"""The state of a training: kept whatever ends the run, taken over only where it is a plain file, then forgotten."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mcwbuild.contract import disk
from mcwbuild.contract.phases import ONNX, PT
from mcwbuild.contract.resumable import EVALUATIONS, TRAINING
from mcwbuild.package import Workspace


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_state(staging: Path, content: bytes) -> Path:
    """What a stage that trains leaves in its staging folder after an epoch."""
    state = staging / TRAINING.staged / TRAINING.file
    state.parent.mkdir()
    state.write_bytes(content)
    return state


def test_the_state_of_a_training_outlives_the_run_and_is_forgotten_with_its_package(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        assert workspace.state(TRAINING) is None
        leave_state(workspace.staging(PT), b"after epoch 1")
    state = tmp_path / TRAINING.folder / TRAINING.file
    with Workspace(tmp_path) as workspace:
        assert workspace.state(TRAINING) == state
        assert state.read_bytes() == b"after epoch 1"
        leave_state(workspace.staging(PT), b"after epoch 2")
        workspace.forget(TRAINING)
        assert workspace.state(TRAINING) is None
    assert names(tmp_path) == [".lock"]


def test_the_state_of_a_killed_run_is_kept_by_the_next_one(tmp_path: Path) -> None:
    staging = tmp_path / ".tmp-mcwbuild-pt-0123abcd"
    staging.mkdir()
    leave_state(staging, b"after epoch 7")
    with Workspace(tmp_path) as workspace:
        state = workspace.state(TRAINING)
        assert state is not None
        assert state.read_bytes() == b"after epoch 7"
        assert state.stat().st_mode & 0o7777 == 0o644
    assert not staging.exists()


def test_a_stage_has_no_say_in_another_phase_s_work(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        leave_state(workspace.staging(ONNX), b"made up")
    with Workspace(tmp_path) as workspace:
        assert workspace.state(TRAINING) is None


def test_a_phase_that_is_done_keeps_what_the_next_one_has_left(tmp_path: Path) -> None:
    kind = EVALUATIONS["onnx"]
    with Workspace(tmp_path) as workspace:
        state = workspace.staging(ONNX) / kind.staged / kind.file
        state.parent.mkdir()
        state.write_bytes(b"half")
    with Workspace(tmp_path) as workspace:
        for other in (TRAINING, EVALUATIONS["pt"]):
            workspace.forget(other)
        assert workspace.state(kind) == tmp_path / kind.folder / kind.file


def to_a_link(state: Path, secret: Path) -> None:
    state.unlink()
    state.symlink_to(secret)


def to_a_second_name(state: Path, secret: Path) -> None:
    state.unlink()
    os.link(secret, state)


def to_a_pipe(state: Path, secret: Path) -> None:
    state.unlink()
    os.mkfifo(state)


def to_a_linked_folder(state: Path, secret: Path) -> None:
    shutil.rmtree(state.parent)
    (secret.parent / "far").mkdir()
    (secret.parent / "far" / TRAINING.file).write_bytes(b"theirs")
    state.parent.symlink_to(secret.parent / "far")


def to_nothing(state: Path, secret: Path) -> None:
    state.write_bytes(b"")


@pytest.mark.parametrize("spoil", [to_a_link, to_a_second_name, to_a_pipe, to_a_linked_folder, to_nothing])
def test_what_is_no_state_is_not_admitted_and_the_older_one_stays(
    tmp_path: Path, spoil: Callable[[Path, Path], None]
) -> None:
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_bytes(b"the user's")
    with Workspace(out) as workspace:
        leave_state(workspace.staging(PT), b"older")
    with Workspace(out) as workspace:
        spoil(leave_state(workspace.staging(PT), b"newer"), secret)
    assert (out / TRAINING.folder / TRAINING.file).read_bytes() == b"older"
    assert secret.read_bytes() == b"the user's"
    assert names(out / TRAINING.folder) == [TRAINING.file]
    assert not list(out.glob(".tmp-*"))


def test_a_disk_that_is_full_when_a_run_ends_loses_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, Workspace(tmp_path) as workspace:
        leave_state(workspace.staging(PT), b"after epoch 3")
        patched.setattr(disk, "copy_open", full)
    with Workspace(tmp_path) as workspace:
        state = workspace.state(TRAINING)
        assert state is not None
        assert state.read_bytes() == b"after epoch 3"
