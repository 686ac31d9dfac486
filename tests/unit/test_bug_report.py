"""The report of a fault: logs and documents, nothing of the model, and a list of what is in it."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from mcwbuild import bug_report
from mcwbuild.contract.phases import PHASES, PT, RKNN
from tests.support.commands import mcwbuild
from tests.support.engines import write_package


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run's folder: packages, logs, and what should not be looked at."""
    for phase in PHASES.values():
        write_package(tmp_path / "out" / phase.package, phase)
    logs = tmp_path / "out" / "logs"
    logs.mkdir()
    (logs / "pt.log").write_text(f"from {Path.home()}/secret\n")
    (logs / "rknn.log").write_bytes(b"begin" + b"x" * (2 * bug_report.LOG_MOST) + b"end")
    (logs / "link.log").symlink_to("/etc/passwd")
    os.mkfifo(logs / "pipe.log")
    (tmp_path / "out" / PT.package / "notes.txt").write_text("mine")
    return tmp_path / "out"


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {m.name.partition("/")[2]: opened.extractfile(m).read() for m in opened.getmembers()}  # type: ignore[union-attr]


def test_it_holds_what_is_needed_and_no_model(out: Path, tmp_path: Path) -> None:
    done = mcwbuild("bug-report", out, "--to", "report.tar.gz", "--engine", "local", cwd=tmp_path)
    assert done.code == 0, done.stderr
    files = read(tmp_path / "report.tar.gz")
    documents = {f"{p.package}/{name}" for p in PHASES.values() for name in (p.source, p.performance, "manifest.json")}
    assert documents <= set(files)
    assert {"doctor.json", "versions.json", "settings.json", "packages.json", "logs/pt.log"} <= set(files)
    assert not [name for name in files if name.endswith((".pt", ".onnx", ".rknn", ".npz", ".py", "notes.txt"))]
    assert {"logs/link.log", "logs/pipe.log"}.isdisjoint(files)
    assert all(name in files["CONTENTS.txt"].decode() for name in files if name != "CONTENTS.txt")
    assert "CONTENTS.txt" not in done.stdout.splitlines()[-1]
    assert "report.tar.gz" in done.stdout.splitlines()[-1]


def test_homes_are_hidden_and_long_logs_keep_both_ends(out: Path) -> None:
    files = bug_report.collect(out, {})
    assert files["logs/pt.log"] == b"from ~/secret\n"
    log = files["logs/rknn.log"]
    assert log.startswith(b"begin")
    assert log.endswith(b"end")
    assert len(log) < bug_report.LOG_MOST + 100


def test_a_torn_package_is_told_as_such(out: Path) -> None:
    (out / RKNN.package / RKNN.source).write_text("a: 1\n")
    states = {one["package"]: one["errors"] for one in json.loads(bug_report.collect(out, {})["packages.json"])}
    assert states[PT.package][0]["kind"] == "hash"  # its notes.txt
    assert states[RKNN.package]


def test_it_needs_no_run_and_overwrites_nothing(tmp_path: Path) -> None:
    first = mcwbuild("bug-report", "--to", "a.tar.gz", "--engine", "local", cwd=tmp_path)
    again = mcwbuild("bug-report", "--to", "a.tar.gz", "--engine", "local", cwd=tmp_path)
    assert (first.code, again.code) == (0, 2)
    assert "versions.json" in read(tmp_path / "a.tar.gz")
    assert mcwbuild("bug-report", "nowhere", cwd=tmp_path).code == 2
