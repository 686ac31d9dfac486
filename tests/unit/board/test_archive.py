"""The archive for the board: the same bytes for the same files, and nothing taken from one that is not ours."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from mcwbuild.board import archive
from mcwbuild.contract.errors import Refused

FILES = {"run_board.py": b"print()\n", "images/0000.png": b"\x89PNG", "pack.json": b"{}"}


def test_the_same_files_make_the_same_bytes_whenever_and_whoever(tmp_path: Path) -> None:
    source = tmp_path / "0000.png"
    source.write_bytes(FILES["images/0000.png"])
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    archive.write(first, FILES)
    os.utime(source, (1, 1))
    source.chmod(0o600)
    archive.write(second, dict(reversed({**FILES, "images/0000.png": source}.items())))
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as made:
        assert [member.name for member in made] == sorted(f"mcwbuild-board/{name}" for name in (*FILES, "SHA256SUMS"))
        assert {(m.uid, m.gid, m.uname, m.gname, m.mode, m.isreg()) for m in made} == {(0, 0, "", "", 0o644, True)}
    assert str(tmp_path).encode() not in gzip.decompress(first.read_bytes())


def test_it_unpacks_with_tar_and_here(tmp_path: Path) -> None:
    archive.write(tmp_path / "made.tar.gz", FILES)
    done = subprocess.run(["tar", "-xzf", "made.tar.gz"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "mcwbuild-board", check=True)
    folder = archive.read(tmp_path / "made.tar.gz", tmp_path / "here")
    assert (folder / "images" / "0000.png").read_bytes() == b"\x89PNG"


def hostile(file: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    """An archive with these members."""
    with tarfile.open(file, "w:gz") as made:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            made.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("mcwbuild-board/../../outside"),
        member("../outside"),
        member("mcwbuild-board/.hidden"),
        member("mcwbuild-board/a b"),
        member("mcwbuild-board/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("mcwbuild-board/hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("mcwbuild-board/pipe", tarfile.FIFOTYPE),
        member("mcwbuild-board/folder", tarfile.DIRTYPE),
    ],
    ids=lambda bad: bad.name,
)
def test_a_hostile_member_is_refused_and_nothing_is_outside(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    file = hostile(tmp_path / "bad.tar.gz", bad)
    with pytest.raises(Refused, match="is not an archive of"):
        archive.read(file, tmp_path / "in" / "here")
    assert {path.name for path in tmp_path.iterdir()} <= {"bad.tar.gz", "in"}


def test_a_changed_or_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar.gz"
    archive.write(whole, FILES)
    (tmp_path / "cut.tar.gz").write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "text.tar.gz").write_text("no archive")
    changed = hostile(
        tmp_path / "changed.tar.gz", member("mcwbuild-board/pack.json"), member("mcwbuild-board/SHA256SUMS")
    )
    for name in ("cut", "text", changed.name.removesuffix(".tar.gz")):
        with pytest.raises(Refused):
            archive.read(tmp_path / f"{name}.tar.gz", tmp_path / f"in-{name}")
