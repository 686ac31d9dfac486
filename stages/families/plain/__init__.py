"""Networks that tell nothing but themselves: TorchScript, exported programs, weights with their own code.

Importing this loads no torch. What a network is for and how its images are prepared stands in `training_source.yaml`,
which its owner completes; `heads` has what follows from its task.
"""

from __future__ import annotations

from pathlib import Path

from stages.common.checkpoint_file import Contents, followed
from stages.families.family import Decoding
from stages.families.model import ModelFile
from stages.families.plain import exported, script
from stages.families.plain.decode_outputs import decode_outputs
from stages.families.plain.decode_scores import decode_scores
from stages.families.plain.opened import PlainFile
from stages.families.text.decode import decode_text

__all__ = ["DECODINGS", "holds", "open_coded", "open_inertly"]

DECODINGS = (
    Decoding("classification", frozenset({"scores"}), decode_scores),
    Decoding("generic", frozenset({"outputs"}), decode_outputs),
    Decoding("ocr", frozenset({"ctc"}), decode_text),
)


def holds(held: Contents) -> bool:
    """Whether the file is a network of this family, as far as the names in it tell."""
    return held.archive is not None and (script.is_script(held.archive) or exported.is_exported(held.archive))


def open_inertly(held: Contents) -> ModelFile:
    """The network in a file that `holds` one. Raises InputError, Refused; nothing of it runs."""
    archive = held.archive
    assert archive is not None
    if script.is_script(archive):
        program = followed(held.file, lambda: script.read(archive))
        return PlainFile(held.path, held.file, held.sha256, len(held.raw), "TorchScript", None, program)
    export = followed(held.file, lambda: exported.read(archive))
    return PlainFile(held.path, held.file, held.sha256, len(held.raw), "torch.export", export.shape, export)


def open_coded(path: Path, code: Path | None, model: str) -> ModelFile:
    """The network that `model` of the folder `code` makes, with the weights at `path`: its author's code runs."""
    from stages.families.plain.coded import open_with_code  # loads torch

    return open_with_code(path, code, model)
