"""The phase: calibrate, build each variant, read it back, write the board's program and the documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mcwbuild.contract import disk, documents, manifest
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.stage import Stage
from stages.common.findings import tell
from stages.rknn import build, calibrate, record, request, script, shared, side_by_side
from stages.rknn.calibration import Calibration
from stages.rknn.examination import examine
from stages.rknn.outcome import Outcome
from stages.rknn.request import Request
from stages.rknn.shared import Shared
from stages.rknn.targets import Variant
from stages.rknn.tune import search, state
from stages.rknn.tune.search import Found
from stages.rknn.workshop import Workshop, delivered

SCRIPT = "npu_inference.py"


def work(asked: Request | Shared, bench: Bench) -> None:
    """Do the whole phase; every file of the package but the manifest lies in `bench.out` afterwards."""
    if isinstance(asked, Shared):
        shared.work(asked, bench)
        return
    created = manifest.now()
    for variant, reason in asked.absent.items():
        bench.note(f"best_{variant}.rknn is not made: {reason}")
    share = side_by_side.share(len(asked.variants), asked.threads, asked.model.path.stat().st_size)
    # They load the toolkit beside the calibration and each other, even where they build one after the other.
    ahead = asked.variants if asked.threads > 1 else asked.variants[:1]
    with build.Children(bench.scratch, share.threads, ahead) as children:
        calibrated = _calibrate(asked, bench, share.threads)
        found = examine(asked, calibrated, bench)
        workshop = Workshop(asked, calibrated, children, share.threads, bench.scratch)

        def maker(variant: Variant) -> Callable[[Emit], Found]:
            return lambda emit: _make(variant, workshop, replace(bench, emit=emit))

        jobs = {variant: maker(variant) for variant in asked.variants}
        tuned = side_by_side.all_of(jobs, bench.emit, share.at_once, children.kill)
    source, performance = bench.out / RKNN.source, bench.out / RKNN.performance
    program = bench.out / SCRIPT
    shown = board_data(record.outcomes_of(tuned), asked)
    disk.write_atomic(program, script.script(asked.model.head["family"], shown).encode("ascii"))
    written = {"file": SCRIPT, "sha256": disk.sha256_of(program)}
    documents.write_yaml(source, record.source_document(tuned, asked, calibrated, created, written))
    described = {"file": source.name, "sha256": disk.sha256_of(source)}
    document = record.performance_record(tuned, asked, created, described, found)
    documents.write_json(performance, document)


def _calibrate(asked: Request, bench: Bench, threads: int) -> Calibration | None:
    if asked.calibration is None:
        return None
    images = asked.calibration.images
    with bench.step("calibration", f"{len(images)} images of the {asked.calibration.source} looked at") as step:
        folder = bench.scratch / "calibration"
        made = calibrate.calibrate(asked.calibration, asked.model, folder, threads, step.progress)
        step.result = f"{len(made.images)} images"
    for note in calibrate.notes(made):
        bench.note(note, "warning")
    return made


def _make(variant: Variant, workshop: Workshop, bench: Bench) -> Found:
    """Build, measure and judge one variant, INT8 until it passes; its file is in the package then."""
    if variant == "int8":
        found = search.int8(workshop, bench)
    else:
        found = Found(workshop.make(variant, variant, None, bench.emit))
    outcome = delivered(found.outcome, bench.out)
    on_cpu = outcome.built.log.on("CPU")
    if on_cpu:
        kinds = ", ".join(sorted({layer.op for layer in on_cpu}))
        bench.note(f"{len(on_cpu)} layers of {outcome.artefact.path.name} run on the CPU: {kinds}", "warning")
    tell(outcome.findings, bench)
    return replace(found, outcome=outcome)


def board_data(made: Mapping[Variant, Outcome], asked: Request) -> dict[str, Any]:
    """The data of the board's program; of the models, the first is its default: the fastest that failed nothing."""
    failed = {gate.variant for gate in record.gates(made) if gate.status == "failed"}
    failed |= {check.name.split(" ")[0] for check in record.checks(made, asked) if check.status == "failed"}
    order = sorted(made.values(), key=lambda outcome: (outcome.variant in failed, outcome.variant != "int8"))
    return {
        "contract": asked.model.contract,
        "contract_sha256": asked.model.contract_sha256,
        "head": asked.model.head,
        "shapes": [list(shape) for shape in asked.model.shapes],
        "target": asked.target.name,
        "chips": list(asked.target.chips),
        "core_masks": list(asked.target.core_masks),
        "lite": asked.target.lite,
        "toolkit": order[0].toolkit,
        "models": [{"file": outcome.artefact.path.name, "sha256": outcome.artefact.sha256} for outcome in order],
        "postprocessing": {
            "confidence": asked.confidence,
            "nms": asked.iou,
            "max_detections": asked.max_detections,
        },
    }


def delivered_whole(asked: Request | Shared) -> None:
    """The package is there: the tries of its search are of no use any more."""
    if isinstance(asked, Request) and asked.tries is not None:
        state.forget(asked.tries)


STAGE = Stage(
    RKNN,
    "Convert an ONNX model to RKNN with RKNN-Toolkit2.",
    request.add_arguments,
    request.require,
    work,
    delivered_whole,
)
