"""An evaluation in ONNX Runtime that was killed: the phase that goes on writes the same accuracy and results."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.resumable import EVALUATIONS
from mcwbuild.contract.stage import parser
from stages.common import checkpoint as checkpoints
from stages.common import keeping
from stages.common.evaluation_state import Found
from stages.families import recognise
from stages.onnx.stage import STAGE
from tests.support.drawn import draw
from tests.support.make_checkpoint import main as make_checkpoint

NAMES = ("first", "second name", "third")
IMAGES, TIMED, LIFE = 64, 32, 52  # after LIFE too few are left to make copies of the process for, were they all


class Killed(Exception):
    """The process is gone."""


def work(inputs: Path, out: Path, *flags: object) -> list[str]:
    """Run the stage's own part in two threads, kept in `out`; returns what it notes."""
    (out / "package").mkdir(parents=True, exist_ok=True)
    given = ["--pt", inputs / "best.pt", "--source", inputs / "training_source.yaml", "--no-simplify", *flags]
    told: list[Event] = []
    args = parser(STAGE).parse_args(["--out", str(out), "--threads", "2", *map(str, given)])
    STAGE.work(STAGE.require(args), Bench(out / "package", out, 2, told.append))
    return [event.text for event in told if isinstance(event, Noted)]


def test_the_same_comes_of_an_evaluation_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_checkpoint(str(tmp_path / "best.pt"), "yolo11n.yaml", "64,96", *NAMES)
    checkpoint = checkpoints.read(tmp_path / "best.pt")
    documents.write_yaml(tmp_path / "training_source.yaml", recognise(checkpoint).describe(checkpoint, "toy"))
    data = draw(tmp_path / "dataset", NAMES, IMAGES)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    work(tmp_path, whole, "--data", data)
    assert not (whole / EVALUATIONS["onnx"].folder).exists()  # it was through too soon
    monkeypatch.setattr(keeping, "EVERY", 0.0)
    monkeypatch.setattr(keeping, "_SHARE", 0)
    added, add = [], keeping.Keeper.add

    def mortal(keeper: keeping.Keeper, found: Found) -> None:
        add(keeper, found)
        added.append(found)
        if len(added) == LIFE - TIMED:
            raise Killed

    monkeypatch.setattr(keeping.Keeper, "add", mortal)
    with pytest.raises(Killed):
        work(tmp_path, stopped, "--data", data)
    told = work(tmp_path, stopped, "--data", data)
    assert f"The evaluation goes on at image {LIFE} of {IMAGES}: an earlier run was stopped there." in told
    for name in ("evaluation_onnx.npz", "results_onnx.json"):
        assert (stopped / "package" / name).read_bytes() == (whole / "package" / name).read_bytes()
    records = [documents.read_json(out / "package" / "performance_onnx.json").value for out in (whole, stopped)]
    assert records[0]["accuracy_metrics"] == records[1]["accuracy_metrics"]
