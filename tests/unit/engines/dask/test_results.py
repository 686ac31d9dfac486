"""What a stage left, on its way to the driver: hostile until the gate has seen it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mcwbuild import gate
from mcwbuild.contract.errors import EnvironmentLacking, Refused, StageFailed
from mcwbuild.contract.events import Event, Finished, Progressed, from_line
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.dask import results
from mcwbuild.engines.dask.objects import COPY
from mcwbuild.engines.dask.order import Kept, Report
from mcwbuild.engines.dask.voice import Voice
from tests.support.engines import write_package

Paths = tuple[Path, Path, Path]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The worker's staging folder with a package in it, the attempt's folder, the driver's staging folder."""
    made = tuple(tmp_path / name for name in ("far", "attempt", "near"))
    for path in made:
        path.mkdir()
    write_package(made[0] / "out", ONNX)
    (made[0] / "result.json").write_text(json.dumps({"nonce": "n", "file": "/scratch/in/home/a.yaml"}))
    (tmp_path / "log").write_bytes(b"reading /scratch/in/home/a.yaml \xff\n")
    return made[0], made[1], made[2]


def sent(paths: Paths) -> Report:
    """The report on what lies in the worker's staging folder."""
    files, odd = results.keep(paths[0], paths[0].parent / "log", ONNX, paths[1])
    return Report("a", "tcp://w", 0, None, files, odd, 0, "/scratch/in")


def arrive(paths: Paths, report: Report) -> None:
    """The way back through JSON, and into the driver's staging folder."""
    report = results.from_data(json.loads(json.dumps(results.as_data(report))))
    results.admit(report, paths[1], paths[2], paths[2].parent / "near.log")


def test_a_package_its_state_and_its_log_arrive(paths: Paths) -> None:
    (paths[0] / "tuning").mkdir()
    (paths[0] / "tuning" / "tries.json").write_text("{}")
    arrive(paths, sent(paths))
    for path in (paths[0] / "out").iterdir():
        assert (paths[2] / "out" / path.name).read_bytes() == path.read_bytes()
    assert gate.outcome(paths[2]) == {"nonce": "n", "file": "/home/a.yaml"}
    assert (paths[2] / "tuning" / "tries.json").read_text() == "{}"
    assert (paths[2].parent / "near.log").read_bytes() == b"reading /home/a.yaml \xff\n"
    assert sorted(path.name for path in paths[2].iterdir()) == ["out", "result.json", "tuning"]


TRAPS: dict[str, Callable[[Path], object]] = {
    "a link": lambda out: (out / "best.onnx").unlink() or (out / "best.onnx").symlink_to("/etc/passwd"),
    "a hard link": lambda out: os.link(out / "best.onnx", out.parent / "again"),
    "a pipe": lambda out: (out / "best.onnx").unlink() or os.mkfifo(out / "best.onnx"),
    "a folder": lambda out: (out / "best.onnx").unlink() or (out / "best.onnx").mkdir(),
    "too large": lambda out: os.truncate(out / "best.onnx", 3 << 30),
    "another name": lambda out: (out / "more").touch(),
    "many names": lambda out: [(out / str(number)).touch() for number in range(1000)],
    "output is a link": lambda out: (out.rename(out.parent / "x"), out.symlink_to("/etc")),
    "output is a file": lambda out: (out.rename(out.parent / "x"), out.touch()),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_the_gate_refuses_here_it_refuses_from_afar(paths: Paths, trap: str, tmp_path: Path) -> None:
    TRAPS[trap](paths[0] / "out")
    report = sent(paths)
    assert len(report.files) < 100
    arrive(paths, report)
    into = tmp_path / "package"
    into.mkdir()
    with pytest.raises(Refused):
        gate.admit(paths[2] / "out", ONNX, into)
    for name in report.files:
        assert b"root:" not in (paths[1] / name.name).read_bytes()


def test_an_output_that_is_missing_or_empty_is_so_there(paths: Paths, tmp_path: Path) -> None:
    for path in (paths[0] / "out").iterdir():
        path.unlink()
    arrive(paths, sent(paths))
    assert list((paths[2] / "out").iterdir()) == []
    (paths[0] / "out").rmdir()
    (paths[2] / "out").rmdir()
    with pytest.raises(FileExistsError):
        sent(paths)  # an attempt's folder is written once
    with pytest.raises(StageFailed):
        gate.admit(paths[2] / "out", ONNX, tmp_path)


def test_a_file_that_changed_on_the_way_is_noticed_and_nothing_is_taken(paths: Paths) -> None:
    report = sent(paths)
    changed = next(one for one in report.files if one.place == "out/best.onnx")
    (paths[1] / changed.name).write_bytes(b"another")
    with pytest.raises(EnvironmentLacking) as raised:
        arrive(paths, report)
    assert raised.value.kind == COPY
    assert list(paths[2].iterdir()) == []


@pytest.mark.parametrize("place", ["../x", "out/../../x", "/etc/x", "home/x", "", "out/a/b"])
def test_a_place_outside_of_the_staging_folder_is_refused(paths: Paths, place: str) -> None:
    report = sent(paths)
    with pytest.raises(Refused):
        arrive(paths, replace(report, files=(Kept(place, report.files[0].name, report.files[0].sha256),)))


class Worker:
    """Keeps what is told."""

    address = "tcp://w"

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log_event(self, topic: str, message: dict[str, str]) -> None:
        """One message."""
        self.lines.append(message["line"])


def test_progress_is_thinned_and_the_last_word_is_told() -> None:
    worker = Worker()
    voice = Voice(worker, "t", "c", "a", "/scratch/in")  # type: ignore[arg-type]
    events: list[Event] = [Progressed("evaluate", done, 1000) for done in range(1, 1001)]
    for event in [*events, Finished("evaluate", 1.0, "of /scratch/in/home/data.yaml")]:
        voice.emit(event)
    said = [from_line(line) for line in worker.lines]
    assert said[0] == events[0]
    assert said[-2] == events[-1]
    assert said[-1] == Finished("evaluate", 1.0, "of /home/data.yaml")
    assert len(said) == voice.said < 20
