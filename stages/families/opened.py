"""The model file of a stage's command line: told by its content, and opened by the maker that knows such files.

Nothing of a file is unpickled, imported or loaded by PyTorch's own loaders: Ultralytics checkpoints are read by
`common.checkpoint`, TorchScript and exported programs by `families.plain`. Only a checkpoint whose author's code the
caller trusts is unpickled, and only weights that come without their network need its code; that is for containers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stages.common import checkpoint as checkpoints
from stages.common.checkpoint import Checkpoint
from stages.common.checkpoint_file import contents
from stages.families import FAMILIES, Family, plain, recognise
from stages.families.model import ModelFile, Wanted
from stages.families.yolo.opened import UltralyticsFile

__all__ = ["ModelFile", "Wanted", "add_arguments", "of_checkpoint", "open_model", "read_inertly"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of trust. They belong into a container: what they allow is everything that a process may do."""
    parser.add_argument("--trust-checkpoint", action="store_true", help="unpickle it: its own code runs")
    parser.add_argument("--model-code", type=Path, help="folder of its own modules; implies --trust-checkpoint")
    parser.add_argument("--model", metavar="MODULE:CALLABLE", help="what in --model-code makes the network of weights")


def open_model(args: argparse.Namespace) -> ModelFile:
    """The model file at `args.pt`. Raises InputError, Refused."""
    if args.model is not None:
        return plain.open_coded(args.pt, args.model_code, args.model)
    if args.trust_checkpoint or args.model_code is not None:
        from stages.families.yolo.trusted import open_trusted  # loads torch

        return of_checkpoint(*open_trusted(args.pt, args.model_code, FAMILIES))
    held = contents(args.pt)
    if plain.holds(held):
        return plain.open_inertly(held)
    checkpoint = checkpoints.checkpoint_of(held)
    return of_checkpoint(checkpoint, recognise(checkpoint))


def of_checkpoint(checkpoint: Checkpoint, family: Family) -> ModelFile:
    """A checkpoint that was read already, as the stages take it."""
    return UltralyticsFile(checkpoint, family)


def read_inertly(path: Path) -> tuple[Checkpoint, Family]:
    """The Ultralytics checkpoint at `path` and its family; nothing of it runs. Raises InputError, Refused."""
    checkpoint = checkpoints.read(path)
    return checkpoint, recognise(checkpoint)
