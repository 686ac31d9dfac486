"""Packages appear whole or not at all, and nothing hostile gets into one."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import disk, manifest
from mcwbuild.contract.errors import EnvironmentLacking, InputError, McwbuildError, Refused, StageFailed
from mcwbuild.contract.phases import ONNX, RKNN
from mcwbuild.package import Workspace, admit, foreign_files, publish, recover
from tests.support.engines import write_package


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A good output of the onnx stage."""
    write_package(tmp_path / "raw", ONNX)
    return tmp_path / "raw"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir(mode=0o700)
    return tmp_path / "into"


def test_a_good_output_is_copied_as_it_is_with_plain_modes(raw: Path, into: Path) -> None:
    (raw / "best.onnx").chmod(0o4755)
    (raw / "manifest.json").chmod(0o400)
    admit(raw, ONNX, into)
    assert contents(into) == contents(raw)
    assert into.stat().st_mode & 0o7777 == 0o755
    for path in into.iterdir():
        assert path.stat().st_mode & 0o7777 == 0o644
        assert path.stat().st_nlink == 1
        assert path.stat().st_ino != (raw / path.name).stat().st_ino


def test_what_the_phase_may_leave_out_may_be_missing(tmp_path: Path, into: Path) -> None:
    write_package(tmp_path / "out", RKNN)
    (tmp_path / "out" / "best_int8.rknn").unlink()
    admit(tmp_path / "out", RKNN, into)
    assert not (into / "best_int8.rknn").exists()


def link_to_secret(raw: Path) -> None:
    (raw / "best.onnx").unlink()
    (raw / "best.onnx").symlink_to("/etc/passwd")


def relative_link(raw: Path) -> None:
    (raw / "best.onnx").rename(raw.parent / "elsewhere")
    (raw / "best.onnx").symlink_to("../elsewhere")


def dangling_link(raw: Path) -> None:
    (raw / "best.onnx").unlink()
    (raw / "best.onnx").symlink_to("nowhere")


def link_loop(raw: Path) -> None:
    (raw / "best.onnx").unlink()
    (raw / "best.onnx").symlink_to("best.onnx")


def hard_link(raw: Path) -> None:
    os.link(raw / "best.onnx", raw.parent / "other name")


def named_pipe(raw: Path) -> None:
    (raw / "best.onnx").unlink()
    os.mkfifo(raw / "best.onnx")


def unix_socket(raw: Path) -> None:
    (raw / "best.onnx").unlink()
    here = Path.cwd()
    os.chdir(raw)  # a socket's path may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("best.onnx")
    finally:
        os.chdir(here)


def folder_for_a_file(raw: Path) -> None:
    (raw / "best.onnx").unlink()
    (raw / "best.onnx").mkdir()


def sparse_file(raw: Path) -> None:
    with (raw / "best.onnx").open("r+b") as file:
        file.truncate(8 << 40)


def extra_file(raw: Path) -> None:
    (raw / "best.onnx.data").write_text("external weights")


def many_files(raw: Path) -> None:
    for number in range(3000):
        (raw / f"{number}").touch()


def other_case(raw: Path) -> None:
    (raw / "Best.onnx").write_text("twin")


def strange_name(raw: Path) -> None:
    (Path(os.fsdecode(os.fsencode(raw) + b"/\xff\n-rf"))).write_text("")


def deep_folder(raw: Path) -> None:
    (raw / "d" / "d" / "d").mkdir(parents=True)


@pytest.mark.parametrize(
    "spoil",
    [
        link_to_secret, relative_link, dangling_link, link_loop, hard_link, named_pipe, unix_socket,
        folder_for_a_file, sparse_file, extra_file, many_files, other_case, strange_name, deep_folder,
    ],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_a_hostile_output_is_refused_and_named(raw: Path, into: Path, spoil: Callable[[Path], None]) -> None:
    spoil(raw)
    with pytest.raises(Refused) as raised:
        admit(raw, ONNX, into)
    assert 1 <= len(raised.value.problems) <= 25
    assert all(str(problem).isascii() and "\n" not in str(problem) for problem in raised.value.problems)
    assert b"root:" not in b"".join(contents(into).values())


def test_an_output_folder_that_is_a_link_is_refused(raw: Path, into: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(raw)
    with pytest.raises(Refused):
        admit(tmp_path / "link", ONNX, into)


def test_missing_and_empty_files_are_the_stages_failure_all_at_once(raw: Path, into: Path) -> None:
    (raw / "best.onnx").write_bytes(b"")
    (raw / "onnx_source.yaml").unlink()
    with pytest.raises(StageFailed) as raised:
        admit(raw, ONNX, into)
    assert {problem.file for problem in raised.value.problems} == {"best.onnx", "onnx_source.yaml"}


def test_no_output_at_all_is_the_stages_failure(tmp_path: Path, into: Path) -> None:
    with pytest.raises(StageFailed, match="no package"):
        admit(tmp_path / "nothing", ONNX, into)


def test_a_file_that_grows_while_it_is_copied_is_noticed(
    raw: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk.copy_open

    def grow(source: int, target: Path, limit: int) -> int:
        if target.name == "best.onnx":
            with (raw / "best.onnx").open("ab") as file:
                file.write(b"more")
        return real(source, target, limit)

    monkeypatch.setattr(disk, "copy_open", grow)
    with pytest.raises(StageFailed) as raised:
        admit(raw, ONNX, into)
    assert [(problem.file, "grew" in problem.message) for problem in raised.value.problems] == [("best.onnx", True)]


def test_a_second_run_on_one_folder_is_told_who_is_there(tmp_path: Path) -> None:
    with (
        Workspace(tmp_path / "out"),
        pytest.raises(EnvironmentLacking, match=f"process {os.getpid()} on"),
        Workspace(tmp_path / "out", patience=0.1),
    ):
        pass
    with Workspace(tmp_path / "out", patience=0.1):
        pass


def test_a_run_leaves_no_staging_behind_whatever_it_did(tmp_path: Path) -> None:
    def run(workspace: Workspace) -> None:
        staging = workspace.staging(ONNX)
        assert staging.stat().st_mode & 0o7777 == 0o700
        assert staging != workspace.staging(ONNX)
        (staging / "d").mkdir()
        raise RuntimeError

    with pytest.raises(RuntimeError), Workspace(tmp_path / "out") as workspace:
        run(workspace)
    assert names(tmp_path / "out") == [".lock"]


def test_leftovers_of_ours_are_swept_and_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / ".tmp-mcwbuild-onnx-0123abcd" / "out").mkdir(parents=True)
    (tmp_path / ".tmp-somebody-else").mkdir()
    (tmp_path / ".old-letters-0123abcd").mkdir()
    (tmp_path / "rk3588").mkdir()
    recover(tmp_path)
    assert names(tmp_path) == [".old-letters-0123abcd", ".tmp-somebody-else", "rk3588"]


def test_a_parked_package_goes_back_unless_the_new_one_is_there(tmp_path: Path) -> None:
    write_package(tmp_path / ".old-onnx_package-0123abcd", ONNX)
    write_package(tmp_path / "rk3588" / ".old-rknn_package-0123abcd", RKNN)
    write_package(tmp_path / "rk3588" / "rknn_package", RKNN)
    recover(tmp_path)
    assert manifest.verify(tmp_path / "onnx_package") == []
    assert names(tmp_path / "rk3588") == ["rknn_package"]


def test_a_package_is_published_in_place_of_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "rk3588" / "onnx_package"
    for name in ("first", "second"):
        package = tmp_path / ".staging"
        write_package(package, ONNX, lambda source, name=name: source["model"].update(name=name))
        expected = contents(package)
        publish(package, target)
        assert contents(target) == expected
        assert not package.exists()
    assert names(tmp_path / "rk3588") == ["onnx_package"]


def test_a_package_that_changed_after_it_was_hashed_is_refused(tmp_path: Path) -> None:
    write_package(tmp_path / "package", ONNX)
    with (tmp_path / "package" / "best.onnx").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(Refused) as raised:
        publish(tmp_path / "package", tmp_path / "onnx_package")
    assert raised.value.problems
    assert not (tmp_path / "onnx_package").exists()


@pytest.mark.parametrize("extra", ["notes.txt", "best.onnx", None])
def test_what_the_user_put_there_is_not_lost(tmp_path: Path, extra: str | None) -> None:
    target = tmp_path / "onnx_package"
    if extra is None:
        target.write_text("a file")
    elif extra == "notes.txt":
        write_package(target, ONNX)
        (target / extra).write_text("mine")
    else:
        target.mkdir()
        (target / extra).write_text("made by hand")
    before = target.read_text() if extra is None else contents(target)
    assert foreign_files(target)
    write_package(tmp_path / "package", ONNX)
    with pytest.raises(InputError, match="did not publish"):
        publish(tmp_path / "package", target)
    assert (target.read_text() if extra is None else contents(target)) == before


def test_a_full_disk_is_one_error_and_the_old_package_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "onnx_package"
    write_package(target, ONNX)
    before = contents(target)
    write_package(tmp_path / "package", ONNX, lambda source: source["model"].update(name="new"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(McwbuildError) as raised:
        publish(tmp_path / "package", target)
    assert raised.value.code == 5
    assert contents(target) == before


COUNTED = ("write", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "fchmod")


def publish_until(out: Path, point: int, one_step: bool) -> int:
    """Admit and publish in a child that kills itself at its disk operation number `point`; its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    steps = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **words: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **words)

        return step

    code = 1
    try:
        with Workspace(out) as workspace:
            package = workspace.staging(ONNX)
            for name in COUNTED:
                setattr(os, name, counted(getattr(os, name)))
            disk.rename_exchange = counted(disk.rename_exchange if one_step else lambda first, second: False)
            admit(out.parent / "raw", ONNX, package)
            publish(package, out / "onnx_package")
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("one_step", [True, False])
def test_killed_at_any_disk_operation_the_old_or_the_new_package_is_there_whole(tmp_path: Path, one_step: bool) -> None:
    out = tmp_path / "out"
    target = out / "onnx_package"
    write_package(target, ONNX)
    write_package(tmp_path / "raw", ONNX, lambda source: source["model"].update(name="new"))
    shutil.copytree(target, tmp_path / "old")
    old, new = contents(target), contents(tmp_path / "raw")
    found = []
    status = signal.SIGKILL.value
    while status == signal.SIGKILL:
        status = publish_until(out, len(found) + 1, one_step)
        with Workspace(out):
            assert names(out) == [".lock", ".lock-holder", "onnx_package"]
        assert contents(target) in (old, new), f"killed at operation {len(found) + 1}"
        found.append(contents(target) == new)
        disk.remove_tree(target)
        shutil.copytree(tmp_path / "old", target)
    assert status == 0
    assert len(found) > 20
    assert found == sorted(found), "once the new package is there it stays"
    assert not found[0]
    assert found[-2], "the last operations only clean up"
