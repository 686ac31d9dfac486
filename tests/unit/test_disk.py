"""Files and trees on disk: written whole or not at all, exchanged in one step, removed whatever they are."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcwbuild.contract import disk

DEPTH = 1500  # more than Python's recursion limit
ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_by_exactly_these_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old and longer")
    disk.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert names(tmp_path) == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_a_name_of_full_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    disk.write_atomic(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_hash_is_that_of_hashlib(tmp_path: Path) -> None:
    data = os.urandom(disk.CHUNK + 17)
    (tmp_path / "f").write_bytes(data)
    assert disk.sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def trees(tmp_path: Path) -> tuple[Path, Path]:
    new, old = tmp_path / "staging" / "new", tmp_path / "package"
    for folder, text in ((new, "new"), (old, "old")):
        folder.mkdir(parents=True)
        (folder / "f").write_text(text)
    return new, old


@pytest.mark.parametrize("one_step", [True, False])
def test_trees_change_places_in_one_step_or_in_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool
) -> None:
    new, target = trees(tmp_path)
    if not one_step:
        monkeypatch.setattr(disk, "rename_exchange", lambda first, second: False)
    assert disk.exchange(new, target)
    assert (target / "f").read_text() == "new"
    assert (new / "f").read_text() == "old"
    assert names(tmp_path) == ["package", "staging"]


def test_a_tree_goes_to_a_free_place(tmp_path: Path) -> None:
    new, target = trees(tmp_path)
    disk.remove_tree(target)
    assert not disk.exchange(new, target)
    assert (target / "f").read_text() == "new"
    assert not new.exists()


@pytest.mark.parametrize("existed", [True, False])
def test_an_exchange_ends_with_the_sync_of_the_folder_that_holds_the_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    new, target = trees(tmp_path)
    if not existed:
        disk.remove_tree(target)
    synced: list[tuple[str, str]] = []
    monkeypatch.setattr(disk, "sync_folder", lambda folder: synced.append((folder.name, (target / "f").read_text())))
    disk.exchange(new, target)
    assert synced == [(tmp_path.name, "new"), ("staging", "new")]


def test_the_parking_name_tells_its_place(tmp_path: Path) -> None:
    for name in ("onnx_package", "a-b-", "x"):
        assert disk.parked_target(disk.old_name(tmp_path / name)) == tmp_path / name


def hostile(top: Path) -> None:
    """Depth beyond the recursion limit, modes without rights, links, pipes, names of every kind."""
    here = Path.cwd()
    top.mkdir()
    (top.parent / "outside").write_text("stays")
    try:
        os.chdir(top)
        for _ in range(DEPTH):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    (top / "link").symlink_to("../outside")
    (top / "folder link").symlink_to(top.parent)
    (top / "loop").symlink_to("loop")
    os.mkfifo(top / "pipe")
    for name in (b"\xff\xfe", b"-rf", b"new\nline", b"n" * 255, "\u00e9".encode(), "e\u0301".encode(), b"trailing "):
        folder = top / os.fsdecode(name)
        folder.mkdir()
        (folder / "f").write_text("")
    (top / "closed" / "closed").mkdir(parents=True)
    (top / "closed" / "closed" / "f").write_text("")
    (top / "closed" / "closed").chmod(0)
    (top / "closed").chmod(0)


def test_any_tree_is_removed_and_nothing_outside_of_it(tmp_path: Path) -> None:
    hostile(tmp_path / "top")
    disk.remove_tree(tmp_path / "top")
    assert names(tmp_path) == ["outside"]
    assert (tmp_path / "outside").read_text() == "stays"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; others run the test above as such")
def test_a_user_without_privileges_can_remove_folders_of_mode_000(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2]); from mcwbuild.contract import disk\n"
        "os.setgid(65534); os.setuid(65534); top = Path(sys.argv[1], 'top'); (top / 'a' / 'b').mkdir(parents=True)\n"
        "(top / 'a' / 'b' / 'f').write_text(''); (top / 'a' / 'b').chmod(0); (top / 'a').chmod(0); top.chmod(0)\n"
        "disk.remove_tree(top); sys.exit(top.exists())"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", "test_")):
            folder.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path), str(ROOT)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_folder_is_removed_and_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    disk.remove_tree(tmp_path / "link")
    disk.remove_tree(tmp_path / "nothing")
    assert names(tmp_path) == ["target"]


def test_syncing_a_tree_touches_every_file_and_folder_and_follows_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "f").write_text("f")
    (top / "out").symlink_to("/etc")
    synced: list[str] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    disk.sync_tree(top)
    assert synced[0] == str(top / "a" / "f")
    assert synced[1:] == [str(top / "a" / "b"), str(top / "a"), str(top)]


def test_a_copy_stops_at_its_limit(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    source = os.open(tmp_path / "sparse", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            disk.copy_open(source, tmp_path / "copy", 100)
    finally:
        os.close(source)
    assert (tmp_path / "copy").stat().st_size <= 101
