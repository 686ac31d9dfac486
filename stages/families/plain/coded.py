"""Weights that come without their network: their author's code makes it. That code runs; it is for containers only."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint_file import Contents, contents
from stages.families.plain import weights
from stages.families.plain.opened import PlainFile

# What an author's code raises where it is not the code that the weights were saved with.
_STUMBLES = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, LookupError, OSError)


def open_with_code(path: Path, code: Path | None, model: str) -> PlainFile:
    """The network that `model`, MODULE:CALLABLE below the folder `code`, makes, with the weights at `path`.

    The weights themselves are read inertly: safetensors, or a state dict that torch.save wrote.
    Raises InputError where they do not belong to each other.
    """
    module, _, name = model.partition(":")
    if code is None or not module or not name:
        raise InputError(
            "--model needs the folder of the network's code, and two names.",
            f"--model is {ascii(model)[:80]}, and --model-code is {'not given' if code is None else 'given'}.",
            "Give for example --model-code src --model networks:make_classifier.",
            kind="model-code",
        )
    held = contents(path)
    found = weights.read(held)
    network = _made(code, module, name, held)
    try:
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in found.items()})
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"The weights in {held.file} are not those of {model}.",
            f"{' '.join(str(error).split())[:400]}.",
            "Give the code that they were saved with; the callable has to make the network with the same arguments.",
            kind="weights",
        ) from error
    kind = type(network).__name__[:100]
    return PlainFile(path, held.file, held.sha256, len(held.raw), kind, None, network.float().eval())


def _made(code: Path, module: str, name: str, held: Contents) -> Any:
    sys.path.insert(0, str(code))
    try:
        network = getattr(importlib.import_module(module), name)()
        return network.requires_grad_(False)
    except _STUMBLES as error:
        raise InputError(
            f"The network of {held.file} cannot be made by {ascii(module)[1:-1]}:{ascii(name)[1:-1]}.",
            f"{type(error).__name__}: {str(error)[:300]}.",
            "The module has to lie in --model-code, and its callable to return a torch.nn.Module without arguments.",
            kind="model-code",
        ) from error
