"""The pipeline with an engine that only plays: order, freshness, gates, and what may never be published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcwbuild import inspection, pipeline, plan
from mcwbuild.contract import documents, manifest
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import ContractBroken, InputError, McwbuildError, Refused, StageFailed
from mcwbuild.contract.events import Emit, Event
from mcwbuild.contract.phases import ONNX, PT, RKNN
from mcwbuild.contract.resumable import EVALUATIONS, TRAINING
from mcwbuild.engines import StageCall
from mcwbuild.options import resolve
from tests.support.engines import FakeEngine, write_outcome, write_package


class Told:
    """A reporter that keeps what it was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[pipeline.Outcome] = []
        self.events: list[Event] = []

    def begin(self, step: plan.Step, log: Path) -> None:
        self.begun.append(step.name)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def end(self, outcome: pipeline.Outcome) -> None:
        self.ended.append(outcome)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "best.pt").write_bytes(b"weights")
    return tmp_path / "out"


def steps(out: Path, **flags: Any) -> tuple[plan.Step, ...]:
    settings = resolve({"target": "rk3588", **flags}, {}, out.parent)
    return plan.run_steps(out.parent / "best.pt", "toy", settings, None, out)


def states(outcomes: list[pipeline.Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def make(call: StageCall, emit: Emit) -> int:
    """The stage does its work."""
    write_package(call.staging / "out", call.phase)
    write_outcome(call, 0)
    return 0


def fail_gate(folder: Path) -> None:
    """Turn the package's record into one whose gate was missed."""
    path = folder / ONNX.performance
    record = documents.read_json(path).value
    gate = {**record["validation"]["gates"][0], "status": "failed", "reason": "map50_95 dropped by 9 %."}
    record["validation"] = {**record["validation"], "status": "failed", "gates": [gate]}
    documents.write_json(path, record)
    manifest.write(folder, ONNX, {})


def undecided(folder: Path) -> None:
    """Turn the package's record into one whose images do not decide."""
    path = folder / ONNX.performance
    record = documents.read_json(path).value
    gate = {**record["validation"]["gates"][0], "status": "undecided", "reason": "The 12 images do not decide."}
    record["validation"] = {**record["validation"], "status": "undecided", "gates": [gate]}
    documents.write_json(path, record)
    manifest.write(folder, ONNX, {})


def test_three_packages_are_made_and_an_unchanged_run_makes_none(out: Path) -> None:
    engine = FakeEngine(make)
    assert states(pipeline.execute(steps(out), engine, out, Told())) == ["made"] * 3
    assert inspection.packages_in(out) == tuple(out / phase.package for phase in (PT, ONNX, RKNN))
    assert states(pipeline.execute(steps(out), engine, out, Told())) == ["fresh"] * 3
    assert len(engine.calls) == 3


def test_what_changed_is_made_again_and_what_stands_on_it(out: Path) -> None:
    engine = FakeEngine(make)
    pipeline.execute(steps(out), engine, out, Told())
    assert states(pipeline.execute(steps(out, algorithm="mmse"), engine, out, Told())) == ["fresh", "fresh", "made"]
    (out.parent / "best.pt").write_bytes(b"other weights")
    assert states(pipeline.execute(steps(out), engine, out, Told()))[0] == "made"


def test_a_damaged_package_is_not_fresh(out: Path) -> None:
    engine = FakeEngine(make)
    pipeline.execute(steps(out), engine, out, Told())
    with (out / ONNX.package / "best.onnx").open("ab") as file:
        file.write(b"rot")
    assert states(pipeline.execute(steps(out), engine, out, Told()))[1] == "made"
    assert manifest.verify(out / ONNX.package) == []


def test_a_missed_gate_keeps_the_package_and_ends_the_way(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase)
        if call.phase is ONNX:
            fail_gate(call.staging / "out")
        code = 3 if call.phase is ONNX else 0
        write_outcome(call, code)
        return code

    for _ in range(2):  # the second run finds the package fresh and says the same
        outcomes = pipeline.execute(steps(out), FakeEngine(play), out, Told())
        missed = pipeline.missed_gates(outcomes)
        assert missed is not None
        assert "dropped by 9 %" in str(missed)
        assert (out / ONNX.package).is_dir()
        assert not (out / RKNN.package).exists()


def test_a_stages_error_arrives_with_its_type_and_nothing_is_published(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        error = Refused("best.pt would call os.system.", "It is a global in data.pkl.", "Do not load it.")
        write_outcome(call, 6, error.as_dict())
        return 6

    with pytest.raises(Refused, match=r"os\.system"):
        pipeline.execute(steps(out), FakeEngine(play), out, Told())
    assert inspection.packages_in(out) == ()


def older_nonce(call: StageCall, emit: Emit) -> int:
    write_package(call.staging / "out", call.phase)
    write_outcome(call, 0)
    path = call.staging / "result.json"
    path.write_text(path.read_text().replace(call.nonce, "0" * 16))
    return 0


def no_outcome(call: StageCall, emit: Emit) -> int:
    write_package(call.staging / "out", call.phase)
    return 0


def other_code(call: StageCall, emit: Emit) -> int:
    write_package(call.staging / "out", call.phase)
    write_outcome(call, 0)
    return 137


@pytest.mark.parametrize("play", [older_nonce, no_outcome, other_code])
def test_success_is_an_outcome_of_this_run_and_its_exit_code(out: Path, play: Any) -> None:
    with pytest.raises(StageFailed, match="without an outcome"):
        pipeline.execute(steps(out), FakeEngine(play), out, Told())
    assert inspection.packages_in(out) == ()


def test_a_link_in_a_stages_output_is_refused(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase)
        (call.staging / "out" / "best.pt").unlink()
        (call.staging / "out" / "best.pt").symlink_to("/etc/passwd")
        write_outcome(call, 0)
        return 0

    with pytest.raises(Refused) as raised:
        pipeline.execute(steps(out), FakeEngine(play), out, Told())
    assert [problem.message for problem in raised.value.problems if "symbolic link" in problem.message]
    assert inspection.packages_in(out) == ()


def test_a_stage_that_changes_a_critical_value_is_not_believed(out: Path) -> None:
    def swap(source: dict[str, Any]) -> None:
        source["input"]["format"] = "RGB"

    def play(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase, swap if call.phase is ONNX else lambda source: None)
        write_outcome(call, 0)
        return 0

    with pytest.raises(ContractBroken, match=r"input\.format"):
        pipeline.execute(steps(out), FakeEngine(play), out, Told())
    assert not (out / ONNX.package).exists()


def test_an_input_that_changes_while_it_is_read_is_not_built_on(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase)
        (out.parent / "best.pt").write_bytes(b"somebody trains on")
        write_outcome(call, 0)
        return 0

    with pytest.raises(StageFailed, match="changed while it was read"):
        pipeline.execute(steps(out), FakeEngine(play), out, Told())
    assert inspection.packages_in(out) == ()


def test_a_missing_input_is_named_before_anything_runs(out: Path) -> None:
    (out.parent / "best.pt").unlink()
    engine = FakeEngine(make)
    with pytest.raises(InputError) as raised:
        pipeline.execute(steps(out), engine, out, Told())
    assert "best.pt" in str(raised.value.problems[0])
    assert engine.calls == []


def test_no_staging_is_left_whatever_happens(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        (call.staging / "out").mkdir()
        (call.staging / "out" / "junk").write_text("")
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, McwbuildError)):
        pipeline.execute(steps(out), FakeEngine(play), out, Told())
    assert [path.name for path in out.iterdir() if path.name.startswith(".tmp")] == []


def test_what_a_person_put_at_the_packages_place_is_kept_and_nothing_runs(out: Path) -> None:
    (out / PT.package).mkdir(parents=True)
    (out / PT.package / "notes.txt").write_text("mine")
    engine = FakeEngine(make)
    with pytest.raises(InputError, match="would be lost"):
        pipeline.execute(steps(out), engine, out, Told())
    assert (out / PT.package / "notes.txt").read_text() == "mine"
    assert engine.calls == []


def training_step(out: Path, *, anew: bool = False) -> plan.Step:
    folder = out.parent
    for name in ("train.yaml", "data.yaml"):
        (folder / name).write_text(name)
    chosen = resolve({"data": str(folder / "data.yaml")}, {}, folder)
    found = Dataset(folder / "data.yaml", folder, ("a",), {})
    return plan.train_step(folder / "train.yaml", None, "toy", chosen, found, out, anew=anew)


def test_a_stopped_training_goes_on_from_its_state_and_leaves_none_behind(out: Path) -> None:
    given: list[bytes | None] = []

    def play(call: StageCall, emit: Emit) -> int:
        state = dict(call.inputs).get("--resume")
        given.append(None if state is None else state.read_bytes())
        if len(given) < 3:
            (call.staging / TRAINING.staged).mkdir()
            (call.staging / TRAINING.staged / TRAINING.file).write_bytes(b"epoch %d" % len(given))
            raise KeyboardInterrupt
        return make(call, emit)

    engine = FakeEngine(play)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pipeline.execute([training_step(out)], engine, out, Told())
    assert states(pipeline.execute([training_step(out)], engine, out, Told())) == ["made"]
    assert given == [None, b"epoch 1", b"epoch 2"]
    assert not (out / TRAINING.folder).exists()
    assert states(pipeline.execute([training_step(out)], engine, out, Told())) == ["fresh"]


def test_a_step_goes_on_with_the_state_of_each_kind_of_its_work(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        for kind in (TRAINING, EVALUATIONS["pt"]):
            (call.staging / kind.staged).mkdir()
            (call.staging / kind.staged / kind.file).write_text(kind.file)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.execute([training_step(out)], FakeEngine(play), out, Told())
    engine = FakeEngine(make)
    assert states(pipeline.execute([training_step(out)], engine, out, Told())) == ["made"]
    given = dict(engine.calls[-1].inputs)
    assert given["--resume"] == (out / TRAINING.folder / TRAINING.file).resolve()
    assert given["--resume-evaluation"].name == "pt.npz"
    assert not list(out.glob(".evaluation*"))


def test_a_training_begun_anew_takes_neither_the_state_nor_the_package(out: Path) -> None:
    engine = FakeEngine(make)
    pipeline.execute([training_step(out)], engine, out, Told())
    (out / TRAINING.folder).mkdir()
    (out / TRAINING.folder / TRAINING.file).write_bytes(b"old")
    assert states(pipeline.execute([training_step(out, anew=True)], engine, out, Told())) == ["made"]
    assert "--resume" not in dict(engine.calls[-1].inputs)
    assert not (out / TRAINING.folder).exists()


def test_an_undecided_gate_is_missed_only_where_the_run_is_strict(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase)
        if call.phase is ONNX:
            undecided(call.staging / "out")
        write_outcome(call, 0)
        return 0

    engine = FakeEngine(play)
    outcomes = pipeline.execute(steps(out), engine, out, Told())
    assert [outcome.missed for outcome in outcomes[:2]] == [None] * 2
    outcomes = pipeline.execute(steps(out), engine, out, Told(), strict=True)
    assert states(outcomes) == ["fresh"] * 2  # nothing is made anew for it, and nothing is built on it
    missed = pipeline.missed_gates(outcomes)
    assert missed is not None
    assert (missed.code, missed.found) == (3, "The 12 images do not decide.")


def test_gates_reach_the_phases_that_they_are_of(out: Path) -> None:
    given = "int8.map50=0.02,onnx.map50_95=1%"
    pt, onnx, rknn = steps(out, gates=given)
    assert "--gate" not in pt.options
    assert onnx.options[onnx.options.index("--gate") + 1] == "onnx.map50_95=1%"
    assert rknn.options[rknn.options.index("--gate") + 1] == "int8.map50=0.02"


def test_an_evaluation_goes_to_the_next_phase_where_there_is_one(out: Path) -> None:
    def play(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase)
        if call.phase is PT:
            (call.staging / "out" / PT.evaluation).write_bytes(b"kept")
            manifest.write(call.staging / "out", PT, {})
        write_outcome(call, 0)
        return 0

    engine = FakeEngine(play)
    pipeline.execute(steps(out), engine, out, Told())
    given = [dict(call.inputs).get("--evaluation") for call in engine.calls]
    assert given == [None, (out / PT.package / PT.evaluation).resolve(), None]


def test_an_error_of_a_stage_names_its_log(out: Path) -> None:
    with pytest.raises(StageFailed) as raised:
        pipeline.execute(steps(out), FakeEngine(lambda call, emit: 137), out, Told())
    assert raised.value.log == str(out.absolute() / "logs" / "pt.log")


@pytest.mark.parametrize("code", [130, 143])
def test_a_stage_that_somebody_else_stops_is_a_failure_and_no_interruption(out: Path, code: int) -> None:
    with pytest.raises(StageFailed, match="somebody else"):
        pipeline.execute(steps(out), FakeEngine(lambda call, emit: code), out, Told())
