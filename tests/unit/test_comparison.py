"""`mcwbuild compare`: what differs, what of it is noise, and answers of the pairing program that nobody believes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcwbuild import comparison, pairing
from mcwbuild.comparison import Comparison, Measure
from mcwbuild.contract import documents, manifest
from mcwbuild.contract.errors import InputError, StageFailed
from mcwbuild.contract.phases import ONNX, PHASES, PT, RKNN, Phase
from mcwbuild.engines import StageCall
from mcwbuild.published import find, read_all
from tests.support.commands import mcwbuild
from tests.support.engines import FakeEngine, write_package

Edit = Callable[[dict[str, Any]], Any]
COMMAND = ["python", "-m", "stages.rknn", "--algorithm", "normal", "--calibration-images", "50", "--previous", "x.json"]
TOOLS = {"rknn-toolkit2": "2.3.2", "numpy": "1.26.4"}


def same(_: dict[str, Any]) -> None:
    """Leave it as it is."""


def package(
    folder: Path, phase: Phase, *, source: Edit = same, record: Edit = same, facts: dict[str, Any] | None = None
) -> None:
    """A package, edited as somebody who also puts the hashes right."""
    write_package(folder, phase, source)
    found = documents.read_json(folder / phase.performance).value
    record(found)
    documents.write_json(folder / phase.performance, found)
    manifest.write(folder, phase, {"command": COMMAND, "tools": TOOLS, **(facts or {})})


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that are the same."""
    for name in ("a", "b"):
        for phase in PHASES.values():
            package(tmp_path / name / phase.package, phase)
    return tmp_path / "a", tmp_path / "b"


def compared(a: Path, b: Path) -> Comparison:
    sides = [read_all(find(place))[0] for place in (a, b)]
    pairs, *only = comparison.pairs(*sides)
    return comparison.compare((a, b), pairs, (only[0], only[1]))


def figures(made: Comparison, model: str) -> dict[str, Measure]:
    (found,) = [one for one in made.models if one.model == model]
    return {one.name: one for one in (*found.metrics, *found.figures)}


def test_two_runs_that_are_the_same_differ_in_nothing(runs: tuple[Path, Path]) -> None:
    made = compared(*runs)
    assert [one.model for one in made.models] == ["PT", "ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert (made.contract, made.options, made.inputs, made.tools, made.worse) == ((), (), (), (), ())
    assert {one.verdict for model in made.models for one in model.metrics} == {"the same"}


def test_contract_options_and_versions_are_named_with_both_values(runs: tuple[Path, Path]) -> None:
    a, b = runs

    def tuned(source: dict[str, Any]) -> None:
        source["rknn"]["toolkit_version"] = "2.5.0"
        source["rknn"]["optimization"]["level"] = 2
        source["preprocessing"]["padding"]["color"] = [0, 0, 0]

    words = [*COMMAND[:4], "mmse", *COMMAND[5:], "--strict"]
    made_by = {"engine": "docker", "environment": {"code": "ab" * 32}}
    facts = {"command": words, "tools": {**TOOLS, "rknn-toolkit2": "2.5.0"}, "provenance": made_by}
    package(b / RKNN.package, RKNN, source=tuned, facts=facts)
    made = compared(a / RKNN.package, b / RKNN.package)
    assert [(one.what, one.a, one.b) for one in made.options if one.what.startswith("--")] == [
        ("--algorithm", "normal", "mmse"),
        ("--strict", None, "on"),
    ]
    assert ("rknn.optimization.level", 2) in [(one.what, one.b) for one in made.options]
    tools = {one.what: (one.a, one.b) for one in made.tools}
    assert tools["rknn-toolkit2"] == tools["compiler"] == ("2.3.2", "2.5.0")
    assert (tools["engine"], tools["stage's code"]) == ((None, "docker"), (None, "ab" * 6))
    assert [one.what for one in made.contract] == ["preprocessing.padding.color"]


def test_a_figure_that_differs_is_not_called_worse_without_an_interval(runs: tuple[Path, Path]) -> None:
    a, b = runs
    package(b / ONNX.package, ONNX, record=lambda record: record["accuracy_metrics"].update(map50_95=0.1))
    made = compared(a, b)
    found = figures(made, "ONNX")["map50_95"]
    assert (found.verdict, found.interval) == ("unknown", None)
    assert "kept no evaluation" in str(found.reason)
    assert made.worse == ()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: r["test_configuration"]["dataset"].update(sha256="00" * 32), "other images or labels"),
        (lambda r: r["test_configuration"]["dataset"].update(labels=False), "no labelled images"),
        (lambda r: r["test_configuration"]["evaluation"].update(iou=0.5), "another iou"),
        (same, "kept no evaluation"),
    ],
)
def test_images_that_cannot_be_paired_are_not_and_it_is_said_why(
    runs: tuple[Path, Path], edit: Edit, said: str
) -> None:
    package(runs[1] / PT.package, PT, record=edit)
    (model,) = [one for one in compared(*runs).models if one.model == "PT"]
    assert said in str(model.unpaired)


def test_latencies_of_different_machines_or_threads_are_not_compared(runs: tuple[Path, Path]) -> None:
    a, b = runs

    def elsewhere(record: dict[str, Any]) -> None:
        record["device"]["model"] = "Another CPU"
        record["inference_performance"]["threads"] = 8

    def slower(record: dict[str, Any]) -> None:
        record["inference_performance"]["latency_ms"]["total"]["p50"] = 3.0

    package(b / PT.package, PT, record=elsewhere)
    package(b / ONNX.package, ONNX, record=slower)
    made = compared(a, b)
    assert figures(made, "PT")["latency_ms"].reason == (
        "Not compared: model Some CPU and Another CPU; threads 2 and 8."
    )
    assert figures(made, "ONNX")["latency_ms"].difference == 1.5
    assert figures(made, "rk3588 INT8")["latency_ms"].reason == "The simulator's time is not the NPU's."


ROW = {"metric": "map50_95", "a": 0.685, "b": 0.6, "interval": [-0.1, -0.05], "reason": None}
ANSWER = {"pair": 0, "images": 40, "reason": None, "metrics": [ROW], "classes": []}


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ({"interval": [-0.1, -0.05]}, "worse"),
        ({"interval": [-0.1, 0.05]}, "within noise"),
        ({"interval": [0.01, 0.05]}, "better"),
        ({"interval": None, "reason": "40 images are too few."}, "unknown"),
        ({"a": 0.5, "interval": [-0.1, -0.05]}, "unknown"),  # not what the record says
    ],
)
def test_a_verdict_is_that_of_the_interval(runs: tuple[Path, Path], row: dict[str, Any], verdict: str) -> None:
    package(runs[1] / ONNX.package, ONNX, record=lambda record: record["accuracy_metrics"].update(map50_95=0.6))
    sides = [read_all(find(place / ONNX.package))[0] for place in runs]
    ((pair,), _, _) = comparison.pairs(*sides)
    answer = {**ANSWER, "metrics": [{**ROW, "a": 0.685, **row}]}
    known = comparison.Pair(pair.a, pair.b, None, answer)
    made = comparison.compare(runs, [known], ([], []))
    assert made.models[0].verdict == verdict
    assert made.worse == (("ONNX",) if verdict == "worse" else ())
    assert made.as_dict()["models"][0]["verdict"] == verdict


def playing(answer: Callable[[StageCall], Any]) -> FakeEngine:
    """An engine whose program writes this answer."""

    def play(call: StageCall, _emit: Any) -> int:
        documents.write_json(call.staging / "result.json", answer(call))
        return 0

    return FakeEngine(play, ready={"onnx"})


def test_the_program_gets_copies_in_one_folder_and_its_answer_comes_back_in_order(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "two", "three", "four")]
    for file in files:
        file.write_bytes(file.name.encode())

    def answer(call: StageCall) -> Any:
        (flag, folder) = call.inputs[0]
        assert (flag, call.program) == ("--pairs", "common.paired")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            "0-a.npz": b"one", "0-b.npz": b"two", "1-a.npz": b"three", "1-b.npz": b"four",
        }  # fmt: skip
        rows = [{**ANSWER, "pair": number, "images": number} for number in (1, 0)]
        return {"schema": "intervals/1", "nonce": call.nonce, "level": 0.95, "pairs": rows}

    found = pairing.run(playing(answer), ONNX, [(files[0], files[1]), (files[2], files[3])])
    assert [row["images"] for row in found] == [0, 1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"nonce": "another run's"}, StageFailed),
        ({"pairs": [{**ANSWER, "more": 1}]}, InputError),
        ({"pairs": [{**ANSWER, "metrics": [{**ROW, "interval": ["a", "b"]}]}]}, InputError),
        ({"schema": "result/1"}, InputError),
    ],
)
def test_an_answer_that_is_none_is_refused(tmp_path: Path, change: dict[str, Any], error: type[Exception]) -> None:
    def answer(call: StageCall) -> Any:
        return {"schema": "intervals/1", "nonce": call.nonce, "level": 0.95, "pairs": [ANSWER], **change}

    (tmp_path / "e.npz").write_bytes(b"x")
    with pytest.raises(error):
        pairing.run(playing(answer), ONNX, [(tmp_path / "e.npz", tmp_path / "e.npz")])


def test_the_command_tells_what_is_no_package_and_what_has_nothing_in_common(runs: tuple[Path, Path]) -> None:
    a, b = runs
    for words, said in (
        ((a, b / "nowhere"), "is not a folder"),
        ((a / PT.package, b / ONNX.package), "no model in common"),
        ((a.parent, b), "holds 2 runs"),
    ):
        done = mcwbuild("compare", *words, "--engine", "local", cwd=a)
        assert (done.code, done.stdout) == (2, "")
        assert said in done.stderr


def test_a_package_that_was_tampered_with_is_refused(runs: tuple[Path, Path]) -> None:
    with (runs[1] / ONNX.package / "best.onnx").open("r+b") as file:
        file.write(b"x")
    done = mcwbuild("compare", *runs, "--engine", "local", cwd=runs[0])
    assert (done.code, done.stdout) == (6, "")
    assert "has changed since" in done.stderr


def test_the_command_prints_one_document_or_tables_that_fit_a_narrow_terminal(runs: tuple[Path, Path]) -> None:
    done = mcwbuild("compare", *runs, "--engine", "local", "--json", cwd=runs[0])
    assert done.code == 0
    assert [model["verdict"] for model in done.json["models"]] == ["the same"] * 4
    text = mcwbuild("compare", *runs, "--engine", "local", "--fail-on-worse", cwd=runs[0])
    assert text.code == 0
    assert "The same: contract, options, inputs, versions." in text.stdout
