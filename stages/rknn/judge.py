"""Judging what a board measured: `python -m stages.rknn --board-record FILE`, with the one evaluator.

The board wrote what it found in the packed images; here it meets their labels and what the simulator found in the
same images. Of the board's record nothing is believed that can be computed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract import documents, performance, speed, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.limits import Override
from mcwbuild.contract.performance import COMPARED, Check, Gate, main_metric
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.stage import Stage
from stages.common import agreement, bootstrap, gates, images, tasks
from stages.common.classification import Ranking
from stages.common.detection import Detections
from stages.common.gates import Question, Side
from stages.common.ground_truth import Labels
from stages.common.labels import labels_of
from stages.common.per_image import Verdict, only
from stages.common.poses import Poses
from stages.common.segmentation import Segments
from stages.common.text_labels import text_labels
from stages.common.texts import Text
from stages.common.turned import TurnedBoxes
from stages.rknn import expected
from stages.rknn.probe import results
from stages.rknn.targets import VARIANTS, Variant

# Least cosine of an output with the simulator's. Both round alike, FP16 after every layer and INT8 to the same steps,
# but a chip sums in its own order and has tables of its own for sigmoid and the like. Trained networks of five tasks
# lie at 0.9992 (FP16) and 0.9983 (INT8) when ONNX Runtime computes them in float32; five times that is something else.
AGREE = 0.99
# Largest errors that mean nothing: a score from 0 to 1 has steps of 1/255 in INT8 and 11 bits in FP16. The scores of a
# scale without an object are all but zero and have no direction. What a generic network's outputs mean, nobody knows.
STEP: dict[Variant, float] = {"fp16": 2**-10, "int8": 1 / 255}
_RUNS, _SAME = "on the board", "board and simulator"  # checks
_WHY = {
    _SAME: {
        "cause": "The board's runtime, driver or chip computes something else than the toolkit's simulator.",
        "remedy": "Install the librknnrt.so of the toolkit's version; try --optimization-level 2.",
    }
}
_RESULTS: dict[str, Any] = {
    "object_detection": Detections,
    "segmentation": Segments,
    "pose": Poses,
    "oriented_detection": TurnedBoxes,
    "classification": Ranking,
    "ocr": Text,
}


@dataclass(frozen=True)
class Request:
    """The board's record, the archive's folder with its `pack.json`, and what they are held against.

    `head` describes the outputs, `contract` is the source document with its critical values; `previous` is
    performance_onnx.json; `gates` are limits that somebody set.
    """

    record: Mapping[str, Any]
    folder: Path
    pack: Mapping[str, Any]
    contract: Mapping[str, Any]
    head: Mapping[str, Any]
    previous: Mapping[str, Any] | None
    gates: tuple[Override, ...]

    @property
    def task(self) -> str:
        """The model's task."""
        return str(self.contract["model"]["task"])


@dataclass(frozen=True)
class Judged:
    """One variant's blocks, with its gates and checks."""

    metrics: Mapping[str, Any]
    comparison: Mapping[str, Any]
    gates: tuple[Gate, ...] = ()
    checks: tuple[Check, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--board-record", type=Path, required=True, help="what the board wrote")
    parser.add_argument("--pack", type=Path, required=True, help="folder with the unpacked archive")
    parser.add_argument("--source", type=Path, required=True, help="the package's rknn_source.yaml")


def require(args: argparse.Namespace) -> Request:
    """Everything, checked. Raises InputError."""
    wanted = [(args.board_record, RKNN.board_schema), (args.source, RKNN.source_schema)]
    record, source, *previous = validate.require_all(
        [*wanted, *([(args.previous, "performance_onnx")] if args.previous else [])]
    )
    return Request(
        record.value,
        args.pack,
        json.loads((args.pack / "pack.json").read_text("ascii")),
        source.value,
        source.value["postprocessing"]["head"],
        previous[0].value if previous else None,
        tuple(args.gate or ()),
    )


def work(request: Request, bench: Bench) -> None:
    """Judge each variant and write the record."""
    truths = _labels(request)
    with bench.step("board", "results judged by the evaluator") as step:
        made = {variant: judged(variant, request, truths) for variant in VARIANTS}
        step.result = f"{len(request.pack['images'])} images"
    record = {name: block for name, block in request.record.items() if name != "results"}
    record["accuracy_metrics"] = {variant: dict(made[variant].metrics) for variant in VARIANTS}
    record["comparison_with_simulator"] = {variant: dict(made[variant].comparison) for variant in VARIANTS}
    record["issues"] = [*_stand_in(request), *_failed(made)]
    all_gates = [gate for variant in VARIANTS for gate in made[variant].gates]
    all_checks = [check for variant in VARIANTS for check in made[variant].checks]
    record["validation"] = performance.validation(all_gates, all_checks)
    documents.write_json(bench.out / RKNN.board, record)


def _stand_in(request: Request) -> list[dict[str, Any]]:
    if not request.record["stand_in"]:
        return []
    what = "No NPU computed these figures: a stand-in for the board's runtime did."
    return [{"phase": "rknn", "what": what, "remedy": "Run the archive on a board."}]


def _failed(made: Mapping[Variant, Judged]) -> list[dict[str, Any]]:
    checks = [check for one in made.values() for check in one.checks if check.status == "failed"]
    return [{"phase": "rknn", "what": check.detail, **_WHY.get(check.name.partition(" ")[2], {})} for check in checks]


def _labels(request: Request) -> Sequence[Labels] | None:
    """The packed images' labels, in their order; None where they have none."""
    entries = request.pack["images"]
    names = request.contract.get("classes", {}).get("names", [])
    if not entries or not request.pack["test_configuration"]["dataset"]["labels"]:
        return None
    if request.task == "ocr":
        return text_labels([entry["text"] for entry in entries], names)
    if request.task == "classification":
        return [Labels(np.zeros((1, 4)), np.array([names.index(entry["label"])])) for entry in entries]
    return labels_of([request.folder / entry["file"] for entry in entries], request.contract)


def judged(variant: Variant, request: Request, truths: Sequence[Labels] | None) -> Judged:
    """The variant's accuracy, its drift, its gates. Raises InputError for results that are none."""
    comparison = request.record["comparison_with_simulator"][variant]
    if "reason" in request.record["inference_performance"][variant]:
        reason = str(request.record["inference_performance"][variant]["reason"])
        lacking = Check(f"{variant} {_RUNS}", "failed", f"The {variant} model was not measured on the board: {reason}")
        checks = (lacking,) if variant in request.pack["models"] else ()
        return Judged(request.record["accuracy_metrics"][variant], comparison, checks=checks)
    rows = comparison.get("outputs") or []
    _require_outputs(variant, rows, request.head["outputs"])
    verdict = _accuracy(variant, request, truths)
    metrics = verdict.metrics
    before = _simulator(variant, request)
    main = main_metric(request.task)
    set_limits = [one for one in request.gates if one.metric != speed.SPEEDUP]
    asked = Question(variant, "simulator", main, set_limits, variant)
    found = gates.gates(asked, before, Side(metrics, verdict.per_image), rows) if rows or main != "cosine" else []
    found.append(_speed_gate(variant, request))
    beside = {
        name: {"previous": before.metrics[name], "current": metrics[name]}
        for name in COMPARED
        if name in before.metrics and name in metrics
    }
    if rows:
        reason = str(metrics.get("reason") or before.absent or "The simulator's evaluation has no such metric.")
        comparison = {**comparison, "metrics": beside or None, "metrics_reason": None if beside else reason}
    return Judged(metrics, comparison, tuple(found), (agreeing(variant, comparison, request.head["family"]),))


def _require_outputs(variant: Variant, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Raise InputError for a comparison that is not of the model's outputs, each with its figures."""
    if rows and (
        [row["name"] for row in rows] != list(names) or not all({"cosine", "max_error"} <= row.keys() for row in rows)
    ):
        place = f"$.comparison_with_simulator.{variant}.outputs"
        problem = Problem(f"these are not {', '.join(names)} with cosine and max_error each", path=place)
        what = "The board's record does not compare the model's outputs."
        raise InputError(what, "", "Measure again.", kind="outputs", problems=[problem])


def _accuracy(variant: Variant, request: Request, truths: Sequence[Labels] | None) -> Verdict:
    """`accuracy_metrics` of what the board found, and what is kept of it image by image."""
    written = request.record.get("results", {}).get(variant, {"text": None, "reason": "The board wrote no results."})
    if truths is None or written["text"] is None:
        reason = written["reason"] or "The packed images have no labels."
        return Verdict(performance.unmeasured(reason))
    task, names = tasks.of(request.contract), request.contract["classes"]["names"]
    try:
        found = results.decode(written["text"], _RESULTS[request.task], len(truths), len(names))
    except ValueError as error:
        problem = Problem(f"these are no results of the {variant} model: {error}", path=f"$.results.{variant}")
        raise InputError(
            "The board's results cannot be read.", f"{error}.", kind="results", problems=[problem]
        ) from None
    colours = request.contract["input"]["format"]
    sound = [task.sound(one) for one in found]
    shapes = [images.read(request.folder / entry["file"], colours).shape for entry in request.pack["images"]]
    truth = [task.truth(label, (shape[0], shape[1])) for label, shape in zip(truths, shapes, strict=True)]
    deployed = request.pack["test_configuration"]["deployed"]["confidence"]
    return task.judge(sound, truth, names, deployed)


def _simulator(variant: Variant, request: Request) -> Side:
    """What the simulator reached on the same images."""
    file = request.folder / f"expected_{variant}.npz"
    kept = expected.evaluation(file) if file.is_file() else None
    if kept is None or not request.pack["images"]:
        return Side(absent="The package holds no evaluation of the simulator for these images.")
    places = [entry["place"] for entry in request.pack["images"]]
    if max(places) >= kept.count:
        raise InputError("The archive's images are not those of the package.", remedy="Pack again.", kind="pack")
    mine = only(kept, places)
    reached = {name: bootstrap.value(mine, name) for name in mine.values(np.ones((mine.count, 1), np.int32))}
    return Side(reached, mine)


def agreeing(variant: Variant, comparison: Mapping[str, Any], family: str) -> Check:
    """Whether board and simulator agree, else at which outputs they part; `family` is the head's."""
    name, rows = f"{variant} {_SAME}", comparison.get("outputs") or []
    if not rows:
        return Check(name, "unmeasured", str(comparison.get("reason") or "No outputs were compared."))
    step = agreement.NEGLIGIBLE_ERROR if family == "outputs" else STEP[variant]
    differing = [row for row in rows if row["max_error"] is None or row["max_error"] > step]
    parted = [row for row in differing if not agreement.agrees(row, AGREE)]
    if not parted:
        words = agreement.in_words(differing) if differing else f"no output differs by more than {step:.2g}"
        return Check(name, "passed", f"they agree: {words}")
    told = "; ".join(
        f"{row['name']} (cosine {_figure(row['cosine'])}, error {_figure(row['max_error'])})" for row in parted
    )
    detail = f"Board and simulator part at {told}: {len(rows) - len(parted)} of {len(rows)} outputs of {variant} agree."
    return Check(name, "failed", detail)


def _figure(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _speed_gate(variant: Variant, request: Request) -> Gate:
    if request.record["stand_in"]:
        return speed.speed_gate(
            variant, None, None, request.gates, "The speed-up is not judged, because a stand-in computed."
        )
    measured = request.record["inference_performance"][variant].get("fps")
    reference = ((request.previous or {}).get("inference_performance") or {}).get("fps")
    reason = "" if request.previous else "The onnx phase's record was not found beside the package."
    return speed.speed_gate(variant, reference, measured, request.gates, reason)


STAGE = Stage(RKNN, "Judge what a board measured.", add_arguments, require, work)
