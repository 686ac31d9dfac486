"""The onnx phase: export a checkpoint's network, or cut the head of a given ONNX file; verify and measure it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcwbuild.contract import documents, inherit, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.marks import Document
from mcwbuild.contract.phases import ONNX
from mcwbuild.contract.results import Results
from mcwbuild.contract.resumable import EVALUATIONS
from mcwbuild.contract.stage import Stage
from stages.common import evaluation_file, keeping, kept_results
from stages.common.evaluate import Settings
from stages.common.evaluation_file import Kept, order_of
from stages.common.findings import tell
from stages.common.image_set import open_images
from stages.common.together import together
from stages.families.opened import ModelFile, open_model
from stages.families.opened import add_arguments as add_trust
from stages.families.source import against_file, read_source
from stages.onnx import given, given_source, whole
from stages.onnx.given import OPSETS
from stages.onnx.request import Request

# Highest that the TorchScript exporter writes: 1 s where the dynamo exporter, from 18 on, takes 20. RKNN-Toolkit2
# 2.3.2 compiles 12, 17 (simplified or not) and 19 to the same layers and memory.
OPSET = 17


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The phase's own flags."""
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--pt", type=Path, help="the checkpoint, best.pt")
    origin.add_argument("--onnx", type=Path, help="an ONNX file: a stock YOLO head is cut, others need --source")
    parser.add_argument("--source", type=Path, help="training_source.yaml of the pt phase; may be left out with --onnx")
    parser.add_argument("--name", help="the model's name where an ONNX file comes without --source")
    parser.add_argument("--opset", type=int, choices=OPSETS, help=f"operator set of the export; default {OPSET}")
    add_trust(parser)
    keeping.add_arguments(parser)
    parser.add_argument("--no-simplify", action="store_true", help="keep the graph as it was exported")


def require(args: argparse.Namespace) -> Request:
    """Read and check model, source, previous record and images. Raises one error with every problem."""
    return _of_onnx(args) if args.pt is None else _of_checkpoint(args)


def _of_checkpoint(args: argparse.Namespace) -> Request:
    if args.source is None or args.name is not None:
        raise InputError(
            "--pt needs --source, which names the model.",
            "--source is not given." if args.source is None else "--name is given.",
            "Give --source training_source.yaml, and no --name.",
        )
    model, document, previous, kept = together(
        lambda: open_model(args),
        lambda: read_source(args.source),
        lambda: _previous(args.previous),
        lambda: None if args.evaluation is None else evaluation_file.read(args.evaluation),
    )
    source = against_file(document, model)
    opset = OPSET if args.opset is None else args.opset
    return replace(_request(args, model, source, opset, previous, f"Of {args.source.name}."), kept=kept)


def _of_onnx(args: argparse.Namespace) -> Request:
    wrong = [flag for flag in ("opset", "previous", "evaluation") if getattr(args, flag) is not None]
    if wrong or (args.source is not None and args.name is not None):
        wrong += [] if wrong else ["source and --name"]
        raise InputError(
            f"--{wrong[0]} cannot be given with --onnx.",
            "The file has its own operator set, is its own reference, and has one name.",
            f"Leave {'one' if ' and ' in wrong[0] else 'it'} out.",
        )
    task = given_source.task_of(args.source)
    found, document = together(
        lambda: whole.read(args.onnx) if whole.takes(args.onnx, task) else given.read(args.onnx),
        lambda: None if args.source is None else given_source.read_document(args.source),
    )
    if isinstance(found, whole.Whole):
        source, told_by = given_source.of_whole(document, found), f"Of {args.source.name}."
    elif document is None:
        source = given_source.from_metadata(found, args.name or args.onnx.stem)
        maker = "YOLOv5" if "anchors" in found.head.described else "Ultralytics"
        told_by = f"Of the metadata that {maker} wrote into {found.file}; preprocessing as {maker} trains."
    else:
        found = given_source.with_anchors(found, document)
        source, told_by = given_source.from_document(document, found), f"Of {args.source.name}."
    return _request(args, found, source, found.opset, None, told_by)


def _request(
    args: argparse.Namespace,
    origin: ModelFile | given.Given | whole.Whole,
    source: dict[str, Any],
    opset: int,
    previous: Document | None,
    told_by: str,
) -> Request:
    images = open_images(args.data, args.dataset, inherit.critical(source))
    settings = Settings(args.conf, args.iou, args.max_detections, args.threads)
    kept = keeping.place_of(args, EVALUATIONS[ONNX.name])
    made = Request(origin, source, images, settings, opset, not args.no_simplify, previous, told_by, kept)
    return replace(made, gates=tuple(args.gate or ()), doctor=args.contract_check == "auto")


def _previous(path: Path | None) -> Document | None:
    return None if path is None else validate.require_all([(path, "performance_pt")])[0]


def work(request: Request, bench: Bench) -> None:
    """Write the package's files into `bench.out`."""
    from stages.onnx.make import make  # loads torch: seconds that a refused input need not wait for
    from stages.onnx.record import findings, performance_record, source_document

    made = make(request, bench)
    tell(findings(request, made), bench)
    if made.evaluation.per_image is not None:
        kept = Kept(made.sha256, order_of(request.images.images), made.evaluation.per_image)
        evaluation_file.write(kept, bench.out / ONNX.evaluation, bench)
    shown = kept_results.found_in(made.evaluation, request.contract, request.settings.confidence)
    kept_results.write(bench.out / ONNX.results, Results(order_of(request.images.images), {ONNX.name: shown}), bench)
    documents.write_yaml(bench.out / ONNX.source, source_document(request, made))
    documents.write_json(bench.out / ONNX.performance, performance_record(request, made, bench.out / ONNX.source))


STAGE = Stage(
    ONNX,
    "Export a checkpoint to ONNX, or cut the head of an ONNX file; verify it against what it is made from, measure it.",
    add_arguments,
    require,
    work,
    lambda request: request.evaluation.forget(),
)
