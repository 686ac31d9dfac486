"""The state of a training after a whole epoch: one file, written whole, read back without running a byte of it."""

from __future__ import annotations

import io
import pickle
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcwbuild.contract import disk
from mcwbuild.contract.errors import EnvironmentLacking, InputError, Refused

FORMAT = 2
_ARCHIVE = b"PK\x03\x04"  # what torch.save writes is a zip archive


@dataclass(frozen=True)
class State:
    """What a training goes on from.

    `key` says which configuration and dataset it belongs to, `epoch` (from 0) is the last whole one, `best` the bytes
    of the best epoch's checkpoint, `trainer` all that `stages.pt.trainer` restores: tensors and plain values.
    """

    key: str
    epoch: int
    finished: bool
    best: bytes
    best_epoch: int
    trainer: dict[str, Any]


def save(state: State, path: Path) -> None:
    """Write the state, whole or not at all. Raises EnvironmentLacking where the disk does not take it."""
    packed = io.BytesIO()
    best = torch.frombuffer(bytearray(state.best), dtype=torch.uint8)
    torch.save({"format": FORMAT, **vars(state), "best": best}, packed)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.write_atomic(path, packed.getvalue())
    except OSError as error:
        raise EnvironmentLacking(
            "The state of the training cannot be written.",
            f"{error}.",
            "Free disk space, and start again.",
            kind="disk",
        ) from error


def load(path: Path) -> State:
    """The state at `path`. Raises Refused where it would run code, InputError where it is damaged or something else."""
    try:
        with path.open("rb") as file:
            if file.read(len(_ARCHIVE)) != _ARCHIVE:
                raise ValueError("no archive")
        found = torch.load(
            path, map_location="cpu", weights_only=True
        )  # tensors and plain values, no class of anybody's
        if found.pop("format") != FORMAT:
            raise ValueError("another format")
        return State(best=found.pop("best").numpy().tobytes(), **found)
    except pickle.UnpicklingError as error:
        raise Refused(
            f"{path} is no state of a training.", "It would run code when it is read.", "Give --fresh.", kind="pickle"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as the state of a training.",
            f"It is damaged, or of another version ({type(error).__name__}).",
            "Give --fresh to begin anew.",
            kind="state",
        ) from error


def random_state() -> dict[str, Any]:
    """The generators that training draws from, as plain values and tensors."""
    name, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    numpy = [name, np.asarray(keys).tolist(), *rest]
    return {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state(), "cuda": cuda}


def set_random_state(found: dict[str, Any]) -> None:
    """Put the generators where `random_state` found them."""
    random.setstate(found["python"])
    name, keys, *rest = found["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(found["torch"])
    if found["cuda"] and torch.cuda.device_count() == len(found["cuda"]):
        torch.cuda.set_rng_state_all(found["cuda"])
