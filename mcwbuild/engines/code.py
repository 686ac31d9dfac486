"""The code that a stage runs: a read-only copy of what a stage may import, and of nothing else.

`<cache>/code/<12 digits of its hash>/{stages,schemas,mcwbuild/__init__.py,mcwbuild/contract}`: the
same tree as in an image, so that the rule about rooms is physical here too.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from pathlib import Path

from mcwbuild.contract import assets, disk

_DIGITS = 12


def _package() -> Path:
    return Path(assets.__file__).resolve().parents[1]


@cache
def files() -> dict[str, Path]:
    """Place in the copy or image -> file of mcwbuild's."""
    found = {"mcwbuild/__init__.py": _package() / "__init__.py"}
    for prefix, folder in (
        ("mcwbuild/contract", _package() / "contract"),
        ("schemas", assets.schemas_dir()),
        ("stages", assets.stages_dir()),
    ):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                found[f"{prefix}/{path.relative_to(folder).as_posix()}"] = path
    return dict(sorted(found.items()))


def _hash(named: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in named.items():
        digest.update(f"{name}\0{disk.sha256_of(path)}\n".encode())
    return digest.hexdigest()


def sha256() -> str:
    """The hash over names and contents of the code."""
    return _hash(files())


def folder(cache_folder: Path) -> Path:
    """The copy, made if it is not there or was changed; its path. Raises OSError."""
    wanted = sha256()
    target = cache_folder / "code" / wanted[:_DIGITS]
    if _is_whole(target, wanted):
        return target
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / ".lock"):  # another run makes the same
        return target if _is_whole(target, wanted) else _made(target)


def _made(target: Path) -> Path:
    temporary = target.with_name(f".tmp-{target.name}-{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        _copy(temporary)
        disk.sync_tree(temporary)
        disk.exchange(temporary, target)
    finally:
        disk.remove_tree(temporary)
    return target


def _copy(target: Path) -> None:
    for name, path in files().items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
        place.chmod(0o444)
    for made in target.rglob("*"):
        if made.is_dir():
            made.chmod(0o555)


def _is_whole(target: Path, wanted: str) -> bool:
    """True where the copy holds exactly these files with these contents.

    What Python compiled of them does not count: only root's Python can write it there, and another run may be using
    the copy, so that it must not be made anew.
    """
    try:
        files_there = (path for path in target.rglob("*") if not path.is_dir() and "__pycache__" not in path.parts)
        there = {path.relative_to(target).as_posix() for path in files_there}
        return there == set(files()) and _hash({name: target / name for name in files()}) == wanted
    except OSError:  # it is not there, or another run is just putting it there
        return False
