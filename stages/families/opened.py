"""The checkpoint of a stage's command line and its family: read inertly, or unpickled where the caller trusts it."""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.common import checkpoint as checkpoints
from stages.common.checkpoint import Checkpoint
from stages.families import FAMILIES, Family, recognise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of trust. They belong into a container: what they allow is everything that a process may do."""
    parser.add_argument("--trust-checkpoint", action="store_true", help="unpickle it: its own code runs")
    parser.add_argument("--model-code", type=Path, help="folder of its own modules; implies --trust-checkpoint")


def open_checkpoint(args: argparse.Namespace) -> tuple[Checkpoint, Family]:
    """The checkpoint at `args.pt` and its family. Raises InputError, Refused."""
    if args.trust_checkpoint or args.model_code is not None:
        from stages.families.yolo.trusted import open_trusted  # loads torch

        return open_trusted(args.pt, args.model_code, FAMILIES)
    return read_inertly(args.pt)


def read_inertly(path: Path) -> tuple[Checkpoint, Family]:
    """The checkpoint at `path` and its family; nothing of it runs. Raises InputError, Refused."""
    checkpoint = checkpoints.read(path)
    return checkpoint, recognise(checkpoint)
