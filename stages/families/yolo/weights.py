"""The weights of a YOLO checkpoint, put into a rebuilt network that is compared with the dead modules of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

# What a module may be told that its forward does not depend on in evaluation, or that is not part of the architecture.
_FREE_SETTINGS = {
    *("training", "inplace", "momentum", "np", "i", "f", "type", "dump_patches", "call_super_init", "task", "pt_path"),
    *("export", "dynamic", "format", "shape", "max_det", "agnostic_nms", "end2end", "xyxy", "device", "criterion"),
    *("recompute_scale_factor", "nc", "no", "transforms", "default_act", "conf", "iou", "separate_outputs"),
}


@dataclass(frozen=True)
class Origin:
    """What a checkpoint may hold.

    packages: of its modules' classes. refuse: (checkpoint, what was found) -> the error where it holds something else.
    wholes: classes of the whole network that stand for the rebuilt one's. unused: a weight that may be there, and is
    not taken.
    """

    packages: tuple[str, ...]
    refuse: Callable[[Checkpoint, str], InputError]
    wholes: tuple[str, ...] = ()
    unused: str = ""


def fill(checkpoint: Checkpoint, network: torch.nn.Module, origin: Origin) -> None:
    """Copy the weights into the network, and compare its modules with the checkpoint's dead ones. Raises InputError."""
    _load(checkpoint, network, origin)
    _compare_modules(checkpoint, network, origin)


def match(shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint, origin: Origin) -> None:
    """Raise InputError where a weight of the network has another shape in the checkpoint, or is not there."""
    there = {name: array.shape for name, array in checkpoint.tensors.items() if name in shapes}
    if missing := shapes.keys() - there.keys():
        raise _other_weights(checkpoint, set(missing), checkpoint.tensors.keys() - shapes.keys(), origin)
    name = next((name for name in there if there[name] != shapes[name]), None)
    if name is None:
        return
    found = f"The weight {name} has the shape {there[name]}, not {shapes[name]}."
    if all(_within(there[name], shapes[name]) for name in there):
        raise InputError(
            f"{checkpoint.file} is a pruned network: its layers are narrower than its YAML says.",
            found,
            "Give the checkpoint from before the pruning; or give --trust-checkpoint, which runs the checkpoint's own "
            "code, in a container only.",
            kind="pruned",
        )
    raise origin.refuse(checkpoint, found)


def _within(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return len(shape) == len(whole) and all(part <= most for part, most in zip(shape, whole, strict=True))


def _load(checkpoint: Checkpoint, network: torch.nn.Module, origin: Origin) -> None:
    """Copy the weights into the network; each has to be there, of its shape, and finite."""
    import torch

    own = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    tensors = {name: array for name, array in checkpoint.tensors.items() if name != origin.unused}
    missing, more = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    if missing or more:
        raise _other_weights(checkpoint, missing, more, origin)
    match(own, checkpoint, origin)
    for name, array in tensors.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise InputError(
                f"The weights of {checkpoint.file} cannot be used.",
                f"{name} holds values that are not finite.",
                "The training failed: take an earlier checkpoint, or train again.",
                kind="weights",
            )
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()}, strict=True)


def _other_weights(checkpoint: Checkpoint, missing: set[str], more: set[str], origin: Origin) -> InputError:
    """The error for a network that has not the weights of its architecture, by what was done to it."""
    name = ascii(min(missing or more))[1:-1][:100]
    if any(weight.endswith(".weight_mask") for weight in more):
        return InputError(
            f"{checkpoint.file} is being pruned: torch.nn.utils.prune's masks lie beside its weights.",
            f"The weight {name} is missing.",
            "Call torch.nn.utils.prune.remove(module, 'weight') for each of its modules, and save it again.",
            kind="pruned",
        )
    if missing and not any(".bn." in weight for weight in checkpoint.tensors):
        return InputError(
            f"{checkpoint.file} is a fused network, made for inference: its normalisations are gone.",
            f"The weight {name} is missing.",
            "Give the checkpoint as the training wrote it.",
            kind="fused",
        )
    return origin.refuse(
        checkpoint, f"The weight {name} is {'missing' if missing else 'not part of the architecture'}."
    )


def _compare_modules(checkpoint: Checkpoint, network: torch.nn.Module, origin: Origin) -> None:
    """Raise InputError where a module of the checkpoint has another class or other settings than the rebuilt one."""
    rebuilt = dict(network.named_modules(remove_duplicate=False))
    for path, found in checkpoint.modules.items():
        own = rebuilt.get(path)
        package, _, kind = found.kind.rpartition(".")
        named = own is not None and (kind == type(own).__name__ or (path == "" and found.kind in origin.wholes))
        if own is None or not named or not f"{package}.".startswith(origin.packages):
            raise origin.refuse(checkpoint, f"Its part {path or 'network'} is a {found.kind}.")
        for name, value in found.settings.items():
            if name in vars(own) and name not in _FREE_SETTINGS and listed(vars(own)[name]) != listed(value):
                raise origin.refuse(checkpoint, f"Its part {path or 'network'} has {name} {ascii(value)[:40]}.")
    own_stride: Any = network.stride
    if checkpoint.stride != tuple(int(value) for value in own_stride.tolist()):
        raise origin.refuse(checkpoint, f"Its strides are {list(checkpoint.stride)}.")
    if rebuilt.keys() - checkpoint.modules.keys():
        raise origin.refuse(checkpoint, f"Its part {min(rebuilt.keys() - checkpoint.modules.keys())} is missing.")


def listed(value: Any) -> Any:
    """The value with every tuple in it as a list: YAML and pickles write the same values as either."""
    return [listed(part) for part in value] if isinstance(value, list | tuple) else value
