"""The phase: calibrate, build each variant, read it back, write the board's program and the documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, documents, manifest
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.results import Found as Shown
from mcwbuild.contract.results import Picture, Results, of_data
from stages.common import kept_results
from stages.common.evaluation_file import order_of
from stages.common.findings import tell
from stages.rknn import calibrate, record, script, side_by_side
from stages.rknn.calibration import Calibration
from stages.rknn.children import Children
from stages.rknn.examination import examine
from stages.rknn.outcome import Outcome
from stages.rknn.request import Request
from stages.rknn.side_by_side import Share
from stages.rknn.targets import Variant
from stages.rknn.tune import search
from stages.rknn.tune.search import Found
from stages.rknn.workshop import Workshop, delivered

SCRIPT = "npu_inference.py"


def work(asked: Request, children: Children, bench: Bench) -> None:
    """Build for the first time; every file of the package but the manifest lies in `bench.out` afterwards.

    `children` are of the right number of threads, and the toolkit is being loaded for them already.
    """
    created, bench = manifest.now(), replace(bench, emit=side_by_side.one_at_a_time(bench.emit))
    for variant, reason in asked.absent.items():
        bench.note(f"best_{variant}.rknn is not made: {reason}")
    share = shared_among(asked)
    calibrated = _calibrate(asked, bench, share.threads, children.folder / "calibration")
    workshop = Workshop(asked, calibrated, children, children.threads, children.folder)

    def maker(variant: Variant) -> Callable[[Emit], Found]:
        return lambda emit: _make(variant, workshop, replace(bench, emit=emit))

    jobs = {variant: maker(variant) for variant in asked.variants}
    with ThreadPoolExecutor(1) as beside:  # this process has nothing to do while its children build
        examined = beside.submit(examine, asked, calibrated, bench)
        thumbnails = beside.submit(kept_results.calibration_pictures, calibrated.files if calibrated else ())
        tuned = side_by_side.all_of(jobs, bench.emit, share.at_once, children.kill)
    source, performance = bench.out / RKNN.source, bench.out / RKNN.performance
    program = bench.out / SCRIPT
    shown = board_data(record.outcomes_of(tuned), asked)
    disk.write_atomic(program, script.script(asked.model.head["family"], shown).encode("ascii"))
    written = {"file": SCRIPT, "sha256": disk.sha256_of(program)}
    documents.write_yaml(source, record.source_document(tuned, asked, calibrated, created, written))
    described = {"file": source.name, "sha256": disk.sha256_of(source)}
    document = record.performance_record(tuned, asked, created, described, examined.result())
    documents.write_json(performance, document)
    with bench.step("pictures", "for the report") as step:
        results = _results(record.outcomes_of(tuned), asked, thumbnails.result())
        kept_results.write(bench.out / RKNN.results, results, bench)
        step.result = f"{len(results.pictures)} images"


def _results(made: Mapping[Variant, Outcome], asked: Request, thumbnails: tuple[Picture, ...]) -> Results:
    """What was found in some of the images, with pictures of those where most has changed; none of generated ones."""
    shown = {variant: outcome.built.measured.shown for variant, outcome in made.items()}
    found: dict[str, Shown] = {variant: of_data(one) for variant, one in shown.items() if one is not None}
    known = asked.images.source != "generated"
    pictures = kept_results.pictures(asked.images, asked.shown, list(found.values())) if known else ()
    return Results(order_of(asked.images.images), found, pictures, thumbnails)


def shared_among(asked: Request) -> Share:
    """How the variants share the machine."""
    return side_by_side.share(len(asked.variants), asked.threads, asked.model.path.stat().st_size)


def _calibrate(asked: Request, bench: Bench, threads: int, folder: Path) -> Calibration | None:
    if asked.calibration is None:
        return None
    images = asked.calibration.images
    with bench.step("calibration", f"{len(images)} images of the {asked.calibration.source} looked at") as step:
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
