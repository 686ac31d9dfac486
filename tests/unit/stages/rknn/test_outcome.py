"""What is concluded from a measured build: gates, checks, comparison; the figures are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract import inherit, targets
from mcwbuild.contract.artefacts import RknnFacts, Tensor
from mcwbuild.contract.documents import Document
from mcwbuild.contract.errors import ContractBroken
from stages.common.calibration_findings import judge
from stages.common.findings import Finding
from stages.common.ground_truth import Labels
from stages.common.image_set import ImageSet
from stages.families import FAMILIES
from stages.rknn import compiler_log, outcome, readback, record
from stages.rknn.build import Built
from stages.rknn.job import Measured, Quantization
from stages.rknn.model import Model
from stages.rknn.outcome import Outcome
from stages.rknn.readback import Artefact
from stages.rknn.request import Request
from stages.rknn.tune.search import Found
from tests.support.board import HEAD, contract, outputs

SHA = "ab" * 32
LABELS = Labels(np.zeros((0, 4)), np.zeros(0, np.int64))
SOURCE = {**contract(), "model": {"name": "toy", "task": "object_detection"}}
MODEL = Model(
    path=Path("best.onnx"),
    sha256=SHA,
    source=Document(SOURCE, "onnx_source.yaml"),
    contract=contract(),
    contract_sha256=inherit.contract_sha256(SOURCE),
    verified=True,
    head=HEAD,
    family=FAMILIES[0],
    shapes=tuple(output.shape for output in outputs()),
)


def previous(**changes: Any) -> dict[str, Any]:
    return {
        "model_info": {"sha256": SHA},
        "accuracy_metrics": {"map50_95": 0.5, "map50": 0.8, "precision": 0.7, "recall": 0.0, "f1": None},
        "test_configuration": {"dataset": {"sha256": "da" * 32}, "evaluation": {"iou": 0.7, "max_detections": 300}},
        **changes,
    }


def request(before: dict[str, Any] | None, **changes: Any) -> Request:
    images = ImageSet("dataset", (Path("a.png"),), (LABELS,), {"sha256": "da" * 32}, "")
    whole = Request(
        model=MODEL,
        target=targets.find("rk3588"),
        absent={},
        calibration=None,
        images=images,
        previous=before,
        optimization_level=3,
        algorithm="normal",
        confidence=0.25,
        iou=0.7,
        max_detections=300,
        threads=1,
    )
    return replace(whole, **changes)


def compared(reference: int, build: int, findings: Sequence[Finding] = ()) -> dict[str, Any]:
    agreement = {"agreement": None, "agreement_reason": "made up"}
    told = [finding.as_dict() for finding in findings]
    counted = {"images": 1, "reference": reference, "build": build}
    return {"outputs": [], **counted, "agreement": agreement, "findings": told}


def made(score: float = 0.5, **changes: Any) -> Outcome:
    measured = Measured(
        device={"versions": {"rknn-toolkit2": "2.3.2"}},
        metrics={"map50_95": score, "map50": 0.8, "precision": 0.7, "recall": 0.1, "f1": 0.2},
        inference={"fps": None, "fps_reason": "simulator"},
        comparison=compared(10, 20),
        not_finite=[],
        seconds={"build": 1.0},
        peak_kb=1,
    )
    built = Built(Path("made.rknn"), replace(measured, **changes), compiler_log.parse(""))
    return Outcome(
        "int8", Quantization("normal", "channel", 4), built, Artefact(Path("best_int8.rknn"), SHA, 1, facts())
    )


def facts(**changes: Any) -> RknnFacts:
    tensors = [Tensor(name, "int8", shape) for name, shape in zip(HEAD["outputs"], MODEL.shapes, strict=True)]
    sound = RknnFacts(
        toolkit="2.3.2",
        compiler="2.3.2",
        target=("rk3588",),
        inputs=(Tensor("images", "int8", (1, 3, 64, 96)),),
        outputs=tuple(tensors),
        mean=(0.0,) * 3,
        std=(255.0,) * 3,
        rgb2bgr=False,
        layout="NCHW",
        custom_string=readback.custom_string(MODEL, "0.1.0"),
        quantized=True,
        mini=False,
    )
    return replace(sound, **changes)


@pytest.mark.parametrize(("score", "status"), [(0.5, "passed"), (0.475, "passed"), (0.4749, "failed"), (0.0, "failed")])
def test_int8_may_lose_five_percent_and_no_more(score: float, status: str) -> None:
    assert outcome.judged(made(score), request(previous())).gates[0].status == status


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (None, "No performance_onnx.json"),
        (previous(model_info={"sha256": "00" * 32}), "another ONNX file"),
        (previous(accuracy_metrics={"status": "unmeasured", "reason": "no labels"}), "no labels"),
        (previous(test_configuration={"dataset": None}), "other images"),
        (previous(test_configuration={"dataset": {"sha256": "00" * 32}}), "other images"),
        (previous(test_configuration={"dataset": {"sha256": "da" * 32}, "evaluation": {"iou": 0.5}}), "another --iou"),
    ],
)
def test_figures_that_cannot_be_compared_leave_the_gate_unmeasured(before: dict[str, Any] | None, reason: str) -> None:
    asked = request(before)
    (gate,) = outcome.judged(made(0.0), asked).gates
    assert gate.status == "unmeasured"
    assert reason in gate.reason
    block = outcome.comparison(made(), asked)
    assert block["metrics"] is None
    assert reason in block["metrics_reason"]


def test_metrics_stand_beside_the_previous_ones() -> None:
    metrics = outcome.comparison(made(0.45), request(previous()))["metrics"]
    assert metrics["map50_95"]["drop_percent"] == pytest.approx(10.0)
    assert metrics["recall"] == {"previous": 0.0, "current": 0.1, "drop_percent": None}
    assert metrics["f1"]["previous"] is None


DEAD = Finding("dead-scores", "All zero.", "One tensor.", "Cut it.", {"reference_candidates": 10})


@pytest.mark.parametrize(
    ("reference", "build", "findings", "status"),
    [(10, 20, [], "passed"), (10, 0, [DEAD], "failed"), (0, 0, [], "unmeasured")],
)
def test_scores_that_are_all_zero_fail(reference: int, build: int, findings: list[Finding], status: str) -> None:
    judged = made(comparison=compared(reference, build, findings))
    checks = {check.name: check.status for check in outcome.checks(judged)}
    assert checks["int8 scores"] == status
    record_of = record.performance_record(
        {"int8": Found(judged)}, request(previous(), absent={"fp16": "no"}), "now", {}
    )
    assert [issue.get("name") for issue in record_of["issues"]] == [finding.name for finding in findings]


def test_values_that_are_not_finite_fail() -> None:
    checks = {check.name: check for check in outcome.checks(made(not_finite=["a.png", "b.png"]))}
    assert checks["int8 finite"].status == "failed"
    assert "a.png and 1 more" in checks["int8 finite"].detail
    (finding,) = made(not_finite=["a.png", "b.png"]).findings
    assert (finding.name, finding.evidence) == (
        "not-finite",
        {"variant": "int8", "images": 2, "first": "a.png"},
    )


def test_findings_of_before_the_build_are_issues_with_their_names(tmp_path: Path) -> None:
    few = judge([], [], ["a.png"])
    asked = request(previous(), absent={"fp16": "no"})
    written = record.performance_record({"int8": Found(made())}, asked, "now", {}, few)
    assert [issue["name"] for issue in written["issues"]] == [
        "calibration-leak",
        "calibration-few",
        "calibration-range",
    ]
    assert written["issues"][1]["evidence"] == {"variant": "int8", "images": 0, "least": 20}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"target": ("rk3566",)}, "rknn.platform.target"),
        ({"toolkit": "2.5.0"}, "toolkit version"),
        ({"inputs": (Tensor("images", "int8", (1, 3, 96, 64)),)}, "input.size"),
        ({"mean": (0.0, 0.0, 1.0)}, "preprocessing.normalize.mean"),
        ({"std": (1.0,) * 3}, "preprocessing.normalize.std"),
        ({"rgb2bgr": True}, "swapped channel order"),
        ({"quantized": False}, "quantization"),
        ({"outputs": facts().outputs[::-1]}, "outputs"),
        ({"custom_string": None}, "contract_sha256"),
        ({"custom_string": "[]"}, "contract_sha256"),
    ],
)
def test_an_artefact_that_is_not_what_was_asked_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], field: str
) -> None:
    file = tmp_path / "best_int8.rknn"
    file.write_bytes(b"x")
    monkeypatch.setattr(readback, "read_rknn", lambda path: facts())
    assert readback.read(file, "int8", MODEL, targets.find("rk3588"), "2.3.2").size == 1
    monkeypatch.setattr(readback, "read_rknn", lambda path: facts(**change))
    with pytest.raises(ContractBroken) as caught:
        readback.read(file, "int8", MODEL, targets.find("rk3588"), "2.3.2")
    assert [problem for problem in caught.value.problems if problem.message.startswith(f"{field} is ")]


@pytest.mark.parametrize(
    ("name", "kept"), [("toy", True), ("a" * 200, True), ("犬 \"'", True), ("\U0001f600" * 200, False)]
)
def test_the_custom_string_holds_the_models_name_whole_or_not_at_all(name: str, kept: bool) -> None:
    source = {**SOURCE, "model": {**SOURCE["model"], "name": name}}
    text = readback.custom_string(replace(MODEL, source=Document(source, "onnx_source.yaml")), "0.1.0")
    assert text.isascii()
    assert len(text) <= readback.MAX_CUSTOM_STRING
    assert text.startswith('{"mcwbuild"')
    assert json.loads(text).get("model") == (name if kept else None)
    assert json.loads(text)["contract_sha256"] == MODEL.contract_sha256
