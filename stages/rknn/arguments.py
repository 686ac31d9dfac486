"""The phase's flags. Light to import, because the toolkit's processes start as soon as the flags are read."""

from __future__ import annotations

import argparse
from pathlib import Path

from mcwbuild.contract.resumable import EVALUATIONS
from mcwbuild.contract.stage import positive
from mcwbuild.contract.targets import TARGETS
from mcwbuild.contract.tuning import BUDGET, EFFORTS, seconds
from stages.rknn.targets import VARIANTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The phase's own flags."""
    parser.add_argument("--onnx", type=Path, required=True, help="the model")
    parser.add_argument("--source", type=Path, required=True, help="its onnx_source.yaml")
    parser.add_argument("--target", required=True, help=f"the chip: {', '.join(TARGETS)}")
    parser.add_argument(
        "--shared", type=Path, help="the rknn package of a chip that runs the same build: it is taken, nothing is built"
    )
    parser.add_argument("--dtype", choices=("both", "fp16", "int8"), default="both", help="what to build")
    parser.add_argument("--optimization-level", type=int, choices=range(4), default=3, help="the toolkit's own, 0 to 3")
    parser.add_argument(
        "--calibration-images", type=positive, help="how many INT8 is calibrated with; without: as many as are needed"
    )
    parser.add_argument(
        "--algorithm", choices=("normal", "kl_divergence", "mmse"), default="normal", help="how INT8 ranges are found"
    )

    parser.add_argument(
        "--tune",
        choices=EFFORTS,
        default="fast",
        help="search for an INT8 that passes, where the plain one fails",
    )
    parser.add_argument(
        "--tune-budget", type=_span, default=BUDGET, metavar="TIME", help="most time for that: minutes, or 90s, 2h"
    )
    parser.add_argument("--layers", action="store_true", help="record the error of every INT8 layer")
    parser.add_argument("--reproducible", action="store_true", help="the same bytes each time; slower")
    parser.add_argument("--resume", type=Path, metavar="STATE", help="the tries of a search that was stopped")
    for variant in VARIANTS:
        told = f"the state of an {variant.upper()} build's evaluation that was stopped"
        parser.add_argument(EVALUATIONS[variant].flag, type=Path, metavar="STATE", help=told)


def _span(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
