"""The network of a YOLO checkpoint, rebuilt from the library's own architecture and the checkpoint's weights.

The checkpoint's objects are never used: the network comes from the YAML that Ultralytics ships, and
is then compared with the dead module tree, class by class and setting by setting, so that a file
whose parts were exchanged is not rebuilt as something else. torch and ultralytics are imported
inside functions only.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint
from stages.families.yolo.architectures import Architecture, architecture_of, size_of
from stages.families.yolo.description import class_names, keypoints

if TYPE_CHECKING:
    import torch

# The library's class of each task's networks, in ultralytics.nn.tasks.
_CLASSES = {
    "detect": "DetectionModel",
    "segment": "SegmentationModel",
    "pose": "PoseModel",
    "obb": "OBBModel",
    "classify": "ClassificationModel",
}
# What a YAML may differ in without being another architecture.
_FREE_KEYS = {"nc", "ch", "channels", "scale", "scales", "names", "yaml_file", "depth_multiple", "width_multiple"}
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


def quiet_ultralytics() -> None:
    """Keep the import of ultralytics from the network, from installing, and from the user's home.

    It writes its settings where YOLO_CONFIG_DIR says, looks for the network unless YOLO_OFFLINE,
    and installs what it misses unless YOLO_AUTOINSTALL is off. Call it before the import.
    """
    os.environ["YOLO_OFFLINE"] = "1"
    os.environ["YOLO_AUTOINSTALL"] = "0"
    os.environ.setdefault("YOLO_VERBOSE", "False")
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="mcwbuild-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ.setdefault("MPLCONFIGDIR", os.environ["YOLO_CONFIG_DIR"])


def build(checkpoint: Checkpoint) -> torch.nn.Module:
    """The network with the checkpoint's weights: float32, in eval mode, on the CPU, no gradients.

    Its outputs are bit-identical to those of Ultralytics' own loading. Raises InputError where the
    architecture is not supported or not the library's own, or a weight is missing or not finite.
    """
    names = class_names(checkpoint)
    stock = _stock(checkpoint)
    _compare_yaml(checkpoint, stock)
    quiet_ultralytics()
    import torch
    from ultralytics.nn import tasks

    made = getattr(tasks, _CLASSES[checkpoint.task])
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn at random, and thrown away
        network: torch.nn.Module = made(stock, ch=3, nc=len(names), verbose=False)
    fill(checkpoint, network, _ULTRALYTICS)
    network.names = dict(enumerate(names))
    return network.float().eval().requires_grad_(False)


def _stock(checkpoint: Checkpoint) -> dict[str, Any]:
    """The library's own YAML for the checkpoint's architecture, with its size as `scale`."""
    architecture = architecture_of(checkpoint)
    size = size_of(checkpoint, architecture)
    stock = stock_yaml(architecture, checkpoint.task, size, str(checkpoint.yaml.get("yaml_file")))
    if checkpoint.task == "pose":
        stock["kpt_shape"] = keypoints(checkpoint)  # the data's, as the trainer puts it there
    return stock


def stock_yaml(architecture: Architecture, task: str, size: str, name: str) -> dict[str, Any]:
    """The library's own YAML for an architecture and a task; `size` is its letter.

    `name` is what a checkpoint is to say of it.
    """
    quiet_ultralytics()
    import ultralytics
    from ultralytics.utils import YAML

    file = Path(ultralytics.__file__).parent / "cfg" / "models" / architecture.file(task, size)
    stock: dict[str, Any] = YAML.load(file)
    return {**stock, "scale": size, "yaml_file": name}


def _compare_yaml(checkpoint: Checkpoint, stock: dict[str, Any]) -> None:
    """Raise InputError where the checkpoint's YAML is not the library's, classes and scale aside."""
    found = checkpoint.yaml
    for key in sorted((stock.keys() | found.keys()) - _FREE_KEYS):
        if _listed(found.get(key)) != _listed(stock.get(key)):
            raise _custom(checkpoint, f"Its `{ascii(key)[1:-1][:40]}` is not that of the library's own YAML.")
    size = stock["scale"]
    if _scaling(found, stock, size) != _scaling(stock, stock, size):
        raise _custom(checkpoint, f"Its scale{f' `{size}`' if size else ''} is not that of the library's own YAML.")
    if found.get("channels", found.get("ch", 3)) != 3:
        raise _custom(checkpoint, "Its images do not have three channels.")


def _scaling(found: dict[str, Any], stock: dict[str, Any], size: str) -> Any:
    """[depth, width, most channels] that `found` asks for; the last is None where the architecture has no limit."""
    if found.get("scales"):
        return _listed(found["scales"].get(size)) if isinstance(found["scales"], dict) else None
    limit = stock["scales"][size][2] if stock.get("scales") else None  # YAMLs without scales are older than the limit
    return [found.get("depth_multiple", 1.0), found.get("width_multiple", 1.0), limit]


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, list | tuple) else value


def fill(checkpoint: Checkpoint, network: torch.nn.Module, origin: Origin) -> None:
    """Copy the weights into the network, and compare its modules with the checkpoint's dead ones. Raises InputError."""
    _load(checkpoint, network, origin)
    _compare_modules(checkpoint, network, origin)


def _load(checkpoint: Checkpoint, network: torch.nn.Module, origin: Origin) -> None:
    """Copy the weights into the network; each has to be there, of its shape, and finite."""
    import torch

    own = network.state_dict()
    tensors = {name: array for name, array in checkpoint.tensors.items() if name != origin.unused}
    missing, more = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    if missing or more:
        if missing and not any(".bn." in name for name in tensors):
            raise InputError(
                f"{checkpoint.file} is a fused network, made for inference: its normalisations are gone.",
                f"The weight {min(missing)} is missing.",
                "Give the checkpoint as the training wrote it.",
                kind="fused",
            )
        name = ascii(min(missing or more))[1:-1][:100]
        raise origin.refuse(
            checkpoint, f"The weight {name} is {'missing' if missing else 'not part of the architecture'}."
        )
    for name, array in tensors.items():
        if tuple(own[name].shape) != array.shape:
            raise origin.refuse(
                checkpoint, f"The weight {name} has the shape {array.shape}, not {tuple(own[name].shape)}."
            )
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise InputError(
                f"The weights of {checkpoint.file} cannot be used.",
                f"{name} holds values that are not finite.",
                "The training failed: take an earlier checkpoint, or train again.",
                kind="weights",
            )
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()}, strict=True)


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
            if name in vars(own) and name not in _FREE_SETTINGS and _listed(vars(own)[name]) != _listed(value):
                raise origin.refuse(checkpoint, f"Its part {path or 'network'} has {name} {ascii(value)[:40]}.")
    own_stride: Any = network.stride
    if checkpoint.stride != tuple(int(value) for value in own_stride.tolist()):
        raise origin.refuse(checkpoint, f"Its strides are {list(checkpoint.stride)}.")
    if rebuilt.keys() - checkpoint.modules.keys():
        raise origin.refuse(checkpoint, f"Its part {min(rebuilt.keys() - checkpoint.modules.keys())} is missing.")


def _custom(checkpoint: Checkpoint, found: str) -> InputError:
    architecture = architecture_of(checkpoint)
    return InputError(
        f"{checkpoint.file} has a custom architecture, not the {architecture.type} of the ultralytics package.",
        found,
        "It needs --trust-checkpoint, which runs the checkpoint's own code, in a container only.",
        kind="custom-architecture",
    )


_ULTRALYTICS = Origin(("torch.nn.", "ultralytics."), _custom)
