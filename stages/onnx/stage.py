"""The onnx phase: export the checkpoint's network, verify it against PyTorch, measure it."""

from __future__ import annotations

import argparse
from pathlib import Path

from mcwbuild.contract import documents, inherit, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.marks import Document
from mcwbuild.contract.phases import ONNX
from mcwbuild.contract.stage import Stage
from stages.common import checkpoint as checkpoints
from stages.common.checkpoint import Checkpoint
from stages.common.evaluate import Settings
from stages.common.image_set import open_images
from stages.common.together import together
from stages.families import Family, recognise
from stages.families.source import against_checkpoint, read_source
from stages.onnx.request import Request

# Highest that the TorchScript exporter writes: 1 s where the dynamo exporter, from 18 on, takes 20. RKNN-Toolkit2
# 2.3.2 compiles 12, 17 (simplified or not) and 19 to the same layers and memory.
OPSET = 17
OPSETS = range(12, 20)  # what RKNN-Toolkit2 is proven with; it refuses 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The phase's own flags."""
    parser.add_argument("--pt", type=Path, required=True, help="the checkpoint, best.pt")
    parser.add_argument("--source", type=Path, required=True, help="training_source.yaml of the pt phase")
    parser.add_argument("--opset", type=int, choices=OPSETS, default=OPSET, help="operator set; default %(default)s")
    parser.add_argument("--no-simplify", action="store_true", help="keep the graph as it was exported")


def require(args: argparse.Namespace) -> Request:
    """Read and check checkpoint, source, previous record and images. Raises one error with every problem."""
    (checkpoint, family), document, previous = together(
        lambda: _checkpoint(args.pt), lambda: read_source(args.source), lambda: _previous(args.previous)
    )
    source = against_checkpoint(document, checkpoint, family)
    images = open_images(args.data, args.dataset, inherit.critical(source))
    settings = Settings(args.conf, args.iou, args.max_detections, args.threads)
    return Request(checkpoint, family, source, images, settings, args.opset, not args.no_simplify, previous)


def _checkpoint(path: Path) -> tuple[Checkpoint, Family]:
    checkpoint = checkpoints.read(path)
    return checkpoint, recognise(checkpoint)


def _previous(path: Path | None) -> Document | None:
    return None if path is None else validate.require_all([(path, "performance_pt")])[0]


def work(request: Request, bench: Bench) -> None:
    """Write the package's files into `bench.out`."""
    from stages.onnx.make import make  # loads torch: seconds that a refused input need not wait for
    from stages.onnx.record import performance_record, source_document

    made = make(request, bench)
    documents.write_yaml(bench.out / ONNX.source, source_document(request, made))
    documents.write_json(bench.out / ONNX.performance, performance_record(request, made, bench.out / ONNX.source))


STAGE = Stage(
    ONNX,
    "Export a checkpoint to ONNX, verify it against PyTorch, measure it.",
    add_arguments,
    require,
    work,
)
