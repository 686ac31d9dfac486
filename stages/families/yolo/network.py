"""The network of a YOLO checkpoint, rebuilt from the library's own architecture and the checkpoint's weights.

The checkpoint's objects are never used: the network comes from the YAML that Ultralytics ships, or from one
that is written anew of known parts (`custom`), and is then compared with the dead module tree, class by class
and setting by setting, so that a file whose parts were exchanged is not rebuilt as something else. torch and
ultralytics are imported inside functions only.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint
from stages.families.yolo.architectures import CLASSES, Architecture, architecture_of, newer, size_of, stem
from stages.families.yolo.custom import Unsound, sound_yaml
from stages.families.yolo.description import class_names, keypoints
from stages.families.yolo.weights import Origin, fill, listed, match

if TYPE_CHECKING:
    import torch

# What a YAML may differ in without being another architecture.
_FREE_KEYS = {"nc", "ch", "channels", "scale", "scales", "names", "yaml_file", "depth_multiple", "width_multiple"}
# What the library raises where the layers of a YAML do not fit together.
_MISFITS = (
    *(TypeError, ValueError, LookupError, RuntimeError, AssertionError, ArithmeticError, AttributeError),
    NotImplementedError,
)


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

    Its outputs are bit-identical to those of Ultralytics' own loading. Raises InputError where the architecture is
    not supported or not made of the library's own modules, or a weight is missing, of another shape or not finite.
    """
    names = class_names(checkpoint)
    yaml, difference = _yaml(checkpoint)
    quiet_ultralytics()
    import torch

    with torch.random.fork_rng(devices=[]):  # the first weights are drawn at random, and thrown away
        network = _of_own_yaml(checkpoint, yaml, difference) if difference else _of_yaml(checkpoint, yaml)
    fill(checkpoint, network, _ULTRALYTICS)
    network.names = dict(enumerate(names))
    return network.float().eval().requires_grad_(False)


def _of_yaml(checkpoint: Checkpoint, yaml: dict[str, Any]) -> torch.nn.Module:
    from ultralytics.nn import tasks

    made = getattr(tasks, CLASSES[checkpoint.task])
    network: torch.nn.Module = made(yaml, ch=3, nc=len(checkpoint.names), verbose=False)
    return network


def _of_own_yaml(checkpoint: Checkpoint, yaml: dict[str, Any], difference: str) -> torch.nn.Module:
    """The network of a YAML that is not the library's; first without memory, so that its size is that of the file."""
    import torch
    from ultralytics.nn import tasks
    from ultralytics.nn.modules import Conv

    usual = Conv.default_act
    try:
        with torch.device("meta"):
            layers, _ = tasks.parse_model(deepcopy({**yaml, "head": yaml["head"][:-1]}), ch=3, verbose=False)
        shapes = {f"model.{name}": tuple(weight.shape) for name, weight in layers.state_dict().items()}
        match(shapes, checkpoint, _ULTRALYTICS)
        return _of_yaml(checkpoint, yaml)
    except _MISFITS as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise _custom(checkpoint, f"{difference} And its layers do not fit together: {reason}.") from error
    finally:
        Conv.default_act = usual


def try_yaml(yaml: Mapping[str, Any], task: str, name: str) -> None:
    """Raise InputError where the layers of a sound YAML, that of the file `name`, do not fit together."""
    quiet_ultralytics()
    import torch
    from ultralytics.nn import tasks
    from ultralytics.nn.modules import Conv

    usual = Conv.default_act
    try:
        with torch.random.fork_rng(devices=[]):
            getattr(tasks, CLASSES[task])(deepcopy(dict(yaml)), ch=3, verbose=False)
    except _MISFITS as error:
        raise InputError(
            f"{name} is no architecture that can be trained.",
            f"Its layers do not fit together: {type(error).__name__}: {' '.join(str(error).split())[:200]}.",
            "Correct it; Ultralytics' own YAMLs are examples.",
            kind="architecture",
        ) from error
    finally:
        Conv.default_act = usual


def _yaml(checkpoint: Checkpoint) -> tuple[dict[str, Any], str]:
    """What the network is built from, and how it differs from the library's own YAML; empty where it is that.

    Raises InputError where it is another one that cannot be built.
    """
    architecture = architecture_of(checkpoint)
    difference = "It is made from no YAML of the library's that is supported."
    if architecture.stock:
        stock = _stock(checkpoint, architecture)
        difference = _difference(checkpoint, stock)
        if not difference:
            return stock, ""
    try:
        own = sound_yaml(checkpoint.yaml, checkpoint.task, len(checkpoint.names))
    except Unsound as error:
        raise _custom(checkpoint, f"{difference} And {error}.") from error
    if checkpoint.task == "pose":
        own["kpt_shape"] = keypoints(checkpoint)
    return {**own, "yaml_file": stem(checkpoint) + ".yaml"}, difference


def _stock(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Any]:
    """The library's own YAML for the checkpoint's architecture, with its size as `scale`."""
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


def _difference(checkpoint: Checkpoint, stock: dict[str, Any]) -> str:
    """A sentence where the checkpoint's YAML is not the library's, classes and scale aside; else empty."""
    found = checkpoint.yaml
    for key in sorted((stock.keys() | found.keys()) - _FREE_KEYS):
        if listed(found.get(key)) != listed(stock.get(key)):
            return f"Its `{ascii(key)[1:-1][:40]}` is not that of the library's own YAML."
    size = stock["scale"]
    if _scaling(found, stock, size) != _scaling(stock, stock, size):
        return f"Its scale{f' `{size}`' if size else ''} is not that of the library's own YAML."
    return "" if found.get("channels", found.get("ch", 3)) == 3 else "Its images do not have three channels."


def _scaling(found: dict[str, Any], stock: dict[str, Any], size: str) -> Any:
    """[depth, width, most channels] that `found` asks for; the last is None where the architecture has no limit."""
    if found.get("scales"):
        return listed(found["scales"].get(size)) if isinstance(found["scales"], dict) else None
    limit = stock["scales"][size][2] if stock.get("scales") else None  # YAMLs without scales are older than the limit
    return [found.get("depth_multiple", 1.0), found.get("width_multiple", 1.0), limit]


def _custom(checkpoint: Checkpoint, found: str) -> InputError:
    architecture = architecture_of(checkpoint)
    return InputError(
        f"{checkpoint.file} has a custom architecture, not the {architecture.type} of the ultralytics package."
        if architecture.stock
        else f"{checkpoint.file} has a custom architecture.",
        found + newer(checkpoint),
        "It needs --trust-checkpoint, which runs the checkpoint's own code, in a container only.",
        kind="custom-architecture",
    )


_ULTRALYTICS = Origin(("torch.nn.", "ultralytics."), _custom)
