"""A checkpoint that is unpickled: its own classes are imported and its own code runs.

Only where the caller says so (`--trust-checkpoint`), and only in a container, which has no network and nothing of
the host's to write to. It is for what cannot be rebuilt from the library's own architecture: a network
with parts of its author's, changed YAMLs, pruned ones. Its head has to be one of Ultralytics' all the same.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcwbuild.contract import disk
from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint, Module, plain
from stages.families.family import Family
from stages.families.yolo import description
from stages.families.yolo.architectures import TASKS
from stages.families.yolo.network import quiet_ultralytics

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

_METADATA = ("date", "version", "license", "train_metrics")
# What an author's code raises when it is not the code that the file was saved with, or when a file is damaged.
_STUMBLES = (
    *(ImportError, AttributeError, RuntimeError, TypeError, ValueError, LookupError, OSError, EOFError),
    pickle.UnpicklingError,
)


def open_trusted(path: Path, code: Path | None, families: Sequence[Family]) -> tuple[Checkpoint, Family]:
    """The checkpoint and the family of its live network; `code` is a folder that its modules are imported from.

    Raises InputError where it cannot be unpickled, or has no head of a task that is supported.
    """
    network, saved = _load(path, code)
    task = getattr(network, "task", "detect")
    family = next((family for family in families if family.task == TASKS.get(task)), None)
    if family is None or not hasattr(network, "names"):
        raise InputError(
            f"{path.name} holds a network that cannot be cut.",
            f"It is a {type(network).__name__} for the task {ascii(task)[:40]}.",
            "Export it to ONNX yourself and start there.",
            kind="architecture",
        )
    checkpoint = _described(path, network, saved, task)
    return checkpoint, replace(family, describe=_describe, build=lambda _: network, cut=partial(_cut, family))


def _load(path: Path, code: Path | None) -> tuple[Any, dict[str, Any]]:
    quiet_ultralytics()
    import torch

    if code is not None:
        sys.path.insert(0, str(code))
    try:
        saved = torch.load(path, map_location="cpu", weights_only=False)
        network = saved.get("ema") or saved["model"]
        network = network.float().eval().requires_grad_(False)
    except _STUMBLES as error:
        raise InputError(
            f"{path.name} cannot be unpickled.",
            f"{type(error).__name__}: {str(error)[:300]}.",
            "Give the folder of its own modules with --model-code."
            if isinstance(error, ImportError | AttributeError)
            else "Give the file that the training wrote, best.pt.",
            kind="unpickled",
        ) from error
    return network, saved


def _described(path: Path, network: Any, saved: dict[str, Any], task: str) -> Checkpoint:
    """The live network as the plain data that a checkpoint read inertly is."""
    import torch

    kind = f"{type(network).__module__}.{type(network).__qualname__}"
    return Checkpoint(
        path=path,
        sha256=disk.sha256_of(path),
        size=path.stat().st_size,
        model_class=kind,
        task=task,
        names=tuple(str(name) for _, name in sorted(dict(network.names).items())),
        stride=tuple(int(value) for value in torch.as_tensor(getattr(network, "stride", [1])).tolist()),
        yaml=plain(getattr(network, "yaml", {}) or {}),
        train_args=plain(saved.get("train_args") or {}),
        metadata={key: plain(saved[key]) for key in _METADATA if saved.get(key) is not None},
        tensors={name: tensor.numpy() for name, tensor in network.state_dict().items()},
        modules={"": Module(kind, {})},
    )


def _describe(checkpoint: Checkpoint, name: str | None = None, imgsz: int | Sequence[int] | None = None) -> Any:
    kind = f"custom {checkpoint.model_class.rpartition('.')[2]}"
    return description.document(checkpoint, kind, None, name, imgsz)


def _cut(family: Family, network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    try:
        return family.cut(network)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The network cannot be cut at its head.",
            f"{type(error).__name__}: {error}.",
            "Export it to ONNX yourself and start there.",
            kind="head",
        ) from error
