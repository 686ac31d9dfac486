"""The pt phase: take a checkpoint as it is, write its contract down, measure its baseline."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from mcwbuild.contract import documents, inherit
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PT
from mcwbuild.contract.stage import Stage
from stages.common.evaluate import Settings
from stages.common.image_set import open_images
from stages.common.together import together
from stages.families.opened import add_arguments as add_trust
from stages.families.opened import open_checkpoint
from stages.families.source import against_checkpoint, generate, read_source
from stages.pt.request import Request


def size(text: str) -> list[int]:
    """`640` or `384,640` as [H, W]."""
    sides = [int(side) for side in text.split(",")]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a side or height,width in pixels")
    return sides * 2 if len(sides) == 1 else sides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The phase's own flags."""
    parser.add_argument("--pt", type=Path, required=True, help="the checkpoint, best.pt")
    parser.add_argument("--source", type=Path, help="training_source.yaml; made from the checkpoint if not given")
    parser.add_argument("--name", help="the model's name in a source that is made")
    parser.add_argument("--imgsz", type=size, help="input size H[,W] in a source that is made; default: as trained")
    add_trust(parser)
    parser.add_argument("--describe", action="store_true", help="write training_source.yaml only")


def require(args: argparse.Namespace) -> Request:
    """Read and check checkpoint, source and images. Raises one error with every problem."""
    if args.source is not None and (args.name is not None or args.imgsz is not None):
        raise InputError(
            "--name and --imgsz cannot be given with --source.",
            f"{args.source.name} has both values.",
            "Leave them out, or leave --source out.",
        )
    (checkpoint, family), document = together(
        lambda: open_checkpoint(args), lambda: None if args.source is None else read_source(args.source)
    )
    if document is None:
        source = generate(checkpoint, family, args.name, args.imgsz)
    else:
        source = against_checkpoint(document, checkpoint, family)
    contract = inherit.critical(source)
    found = None if args.describe else open_images(args.data, args.dataset, contract)
    settings = Settings(args.conf, args.iou, args.max_detections, args.threads)
    return Request(checkpoint, family, source, found, settings)


def work(request: Request, bench: Bench) -> None:
    """Write the package's files into `bench.out`."""
    path = bench.out / PT.source
    documents.write_yaml(path, request.source)
    if request.images is None:
        return
    from stages.pt.baseline import measure  # loads torch: seconds that a refused input need not wait for

    shutil.copyfile(request.checkpoint.path, bench.out / PT.artefacts[0])
    with bench.step("rebuild", request.source["model"]["type"]) as step:
        network = request.family.build(request.checkpoint)
        step.result = f"{sum(part.numel() for part in network.parameters()) / 1e6:.2f} M parameters"
    record = measure(network, request, request.images, bench)
    documents.write_json(bench.out / PT.performance, record)


STAGE = Stage(
    PT,
    "Take a checkpoint as it is: write training_source.yaml and measure the baseline.",
    add_arguments,
    require,
    work,
)
