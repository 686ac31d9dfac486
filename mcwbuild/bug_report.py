"""What somebody who looks into a fault has to know, in one archive: versions, settings, logs, documents; no model."""

from __future__ import annotations

import gzip
import importlib.metadata
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcwbuild import __version__, inspection
from mcwbuild.contract import disk, look
from mcwbuild.contract.phases import MANIFEST, SUMS, Phase
from mcwbuild.package import LOGS
from mcwbuild.process import answer, git_commit

FOLDER = "mcwbuild-bug-report"
CONTENTS = "CONTENTS.txt"
LOG_MOST = 2_000_000  # bytes of a log: its beginning and its end
DOCUMENT_MOST = 4_000_000  # bytes of a document
_LIBRARIES = ("click", "docker", "filelock", "jsonschema", "platformdirs", "PyYAML", "rich", "uv")
_LEFT_OUT = """
Not in it: models (.pt, .onnx, .rknn), images, labels, what was kept of evaluations (.npz), npu_inference.py, and
of the environment all but MCWBUILD_*. Your home folder is written as ~. Class names, paths of your files and what the
libraries printed are in it: look through it before you send it.
"""


def collect(out: Path | None, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> content of the report on the run in `out`; `facts` become a JSON document each."""
    files = {f"{name}.json": _json(value) for name, value in {"versions": versions(), **facts}.items()}
    if out is not None:
        files |= dict(_logs(out))
        packages = inspection.packages_in(out)
        files["packages.json"] = _json([_state(package, out) for package in packages])
        for package in packages:
            files |= dict(_documents(package, out))
    return {CONTENTS: _contents(files, out), **files}


def versions() -> dict[str, Any]:
    """Of the program, its libraries, the system and the daemon."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "mcwbuild": __version__,
        "git_commit": git_commit(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": found,
        "docker": answer("docker", "version", "--format", "{{.Server.Version}} {{.Server.Os}} {{.Server.Arch}}"),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if name.startswith("MCWBUILD_")},
    }


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """A .tar.gz with the files below `mcwbuild-bug-report/`, whole or not at all. Raises OSError."""
    made = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=made, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    disk.write_atomic(target, made.getvalue())


def _contents(files: Mapping[str, bytes], out: Path | None) -> bytes:
    lines = [f"{len(content):>9}  {name}" for name, content in files.items()]
    about = f"the run in {out}" if out is not None else "this machine; no run was named"
    return _own("\n".join([f"mcwbuild {__version__}, about {about}", "", *lines, _LEFT_OUT])).encode()


def _json(value: Any) -> bytes:
    return _own(json.dumps(value, indent=2, ensure_ascii=True, default=str) + "\n").encode()


def _own(text: str) -> str:
    """The text without the name of the user's home folder."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _logs(out: Path) -> Iterator[tuple[str, bytes]]:
    for name, content in _texts(out / LOGS, LOG_MOST):
        yield f"{LOGS}/{name}", content


def _documents(package: Path, out: Path) -> Iterator[tuple[str, bytes]]:
    """Documents by their names, whatever else lies there."""
    phase = inspection.phase_of(package)
    wanted = _names(phase) if phase is not None else ()
    place = package.relative_to(out) if package != out else Path(package.name)
    for name, content in _texts(package, DOCUMENT_MOST, wanted):
        yield f"{place.as_posix()}/{name}", content


def _names(phase: Phase) -> tuple[str, ...]:
    return tuple(name for name in (phase.source, phase.performance, phase.board, MANIFEST, SUMS) if name)


def _texts(folder: Path, most: int, only: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Regular files of a folder, not followed through links, as text, with the middle of long ones left out."""
    names = sorted(os.listdir(folder)) if look.is_folder(folder) else []  # noqa: PTH208
    for name in names:
        path = folder / name
        if (only is not None and name not in only) or not stat.S_ISREG(path.lstat().st_mode):
            continue
        with look.opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(most // 2 if size > most else most)
            if size > most:
                file.seek(-most // 2, os.SEEK_END)
                data += b"\n... %d bytes left out ...\n" % (size - most) + file.read(most // 2)
        yield ascii(name)[1:-1], _own(data.decode("utf-8", "replace")).encode()


def _state(package: Path, out: Path) -> dict[str, Any]:
    """What `verify` says of the package."""
    phase = inspection.phase_of(package)
    found = [] if phase is None else inspection.inspect(package, phase)
    place = package.relative_to(out) if package != out else Path(package.name)
    return {"package": place.as_posix(), "errors": [error.as_dict() for error in found]}
