"""A `best.pt` read without running a byte of it: tensors, `model.yaml` and plain values.

`torch.load` unpickles, and unpickling calls whatever the file names; `weights_only=True` with the
model's class allowed still ran attacker code. Here nothing is imported and nothing is called:
`checkpoint_zip` takes the archive apart, `checkpoint_pickle` follows the pickle with dead objects.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint_calls import CheckpointCalls
from stages.common.checkpoint_file import Contents, contents, followed, label
from stages.common.checkpoint_kinds import recognised, without_archive
from stages.common.checkpoint_machine import Broken, Dead, Global
from stages.common.checkpoint_pickle import follow
from stages.common.checkpoint_tensor import Tensor
from stages.common.checkpoint_zip import Archive

MAX_PICKLE = 64 * 2**20  # bytes; the largest one seen has 0.4 MiB
MAX_MODULES = 20_000  # YOLOv9e has about 1,500
MAX_DEPTH = 24  # nested modules, or nested plain values
MAX_TRANSFORMS = 8  # steps, and values of one; a classifier of Ultralytics has four
MAX_VALUES = 200_000  # plain values in one dictionary; training results have a few thousand
_TASKS: Mapping[str, str] = {
    "DetectionModel": "detect",
    "SegmentationModel": "segment",
    "PoseModel": "pose",
    "OBBModel": "obb",
    "ClassificationModel": "classify",
}
_METADATA = ("date", "version", "license", "docs", "epoch", "best_fitness", "train_metrics", "modelopt")


@dataclass(frozen=True)
class Module:
    """One module of the dead tree: its class as `package.module.Class` and its plain attributes."""

    kind: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """What an Ultralytics checkpoint holds, as plain data.

    `tensors` is the state dict (`model.0.conv.weight` -> array; float16 stays float16, bfloat16
    becomes float32), `modules` the module tree by dotted path ("" is the model), `stride` in
    pixels, one for each output scale in the model's order, `sha256` of the whole file, `size` in bytes.
    `transforms` are a classifier's preparations of an image, one after the other, as torchvision calls them.
    """

    path: Path
    sha256: str
    size: int
    model_class: str
    task: str
    names: tuple[str, ...]
    stride: tuple[int, ...]
    yaml: dict[str, Any]
    train_args: dict[str, Any]
    metadata: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    modules: dict[str, Module]
    transforms: tuple[Module, ...] = ()

    @property
    def file(self) -> str:
        """The file's name as it stands in messages."""
        return label(self.path)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint at `path`: of `ema` where it is set, else of `model`, as Ultralytics takes them.

    Raises InputError where the file is damaged or is something else, Refused where it would call a
    function or was tampered with. Nothing else ever leaves it.
    """
    return checkpoint_of(contents(path))


def checkpoint_of(held: Contents) -> Checkpoint:
    """`read` of what was read already."""
    if held.archive is None:
        raise without_archive(held.raw, held.file)
    archive = held.archive
    recognised(archive)
    return followed(held.file, lambda: _checkpoint(held, archive))


def saved_in(archive: Archive) -> Any:
    """The dead value of the archive's pickle."""
    pickled = archive.records["data.pkl"]
    if len(pickled) > MAX_PICKLE:
        raise Broken("its pickle is larger than that of any checkpoint")
    saved, end = follow(pickled, CheckpointCalls(archive.file, archive))
    if end != len(pickled):
        raise Broken("more follows behind its pickle's end")
    return saved


def _foreign(file: str, found: str, remedy: str) -> InputError:
    return InputError(f"{file} is not an Ultralytics checkpoint.", found, remedy, kind="foreign")


def _checkpoint(held: Contents, archive: Archive) -> Checkpoint:
    file, saved = held.file, saved_in(archive)
    model = _model(saved, file)
    modules = dict(_walk(model))
    outline = {name: Module(str(module.kind), _settings(module)) for name, module in modules.items()}
    kind = outline[""].kind
    return Checkpoint(
        path=held.path,
        sha256=held.sha256,
        size=len(held.raw),
        model_class=kind,
        task=_task(model, kind),
        names=_names(model, file),
        stride=_stride(model),
        yaml=_dictionary(model.state.get("yaml")),
        train_args=_dictionary(saved.get("train_args")) or _dictionary(model.state.get("args")),
        metadata={key: plain(saved[key]) for key in _METADATA if saved.get(key) is not None},
        tensors=_state_dict(modules, len(held.raw)),
        modules=outline,
        transforms=_transforms(model),
    )


def _model(saved: Any, file: str) -> Dead:
    """The dead network, or an error that says what the file holds instead of one."""
    if isinstance(saved, Dead):
        raise _foreign(file, f"It holds a bare {saved.kind}.", "Give the file that the training wrote, best.pt.")
    if not isinstance(saved, dict):
        raise _foreign(file, "It holds no dictionary.", "Give the file that the training wrote, best.pt.")
    model = saved.get("ema") or saved.get("model")
    if isinstance(model, Dead) and isinstance(model.state.get("_modules"), dict):
        return model
    inner = model if isinstance(model, dict) else saved.get("state_dict", saved)
    if isinstance(inner, dict) and inner and all(isinstance(value, Tensor) for value in inner.values()):
        raise _foreign(
            file,
            "It is a plain state dict: weights without the architecture that they belong to.",
            "Give the code of its network: --model-code src --model module:callable, in a container.",
        )
    raise _foreign(file, "It has no network under `ema` or `model`.", "Give the file that the training wrote, best.pt.")


def _walk(model: Dead) -> Iterator[tuple[str, Dead]]:
    """Every module with its dotted path, parents first, in the order of the state dict."""
    waiting, count = [("", model, 0)], 0
    while waiting:
        path, module, depth = waiting.pop()
        count += 1
        if count > MAX_MODULES or depth > MAX_DEPTH:
            raise Broken("its network has more modules than any checkpoint does")
        yield path, module
        children = module.state.get("_modules", {})
        for name, child in reversed(children.items()):
            if isinstance(child, Dead):
                waiting.append((_join(path, name), child, depth + 1))
            elif child is not None:
                raise Broken("its network holds a part that is no module")


def _join(path: str, name: Any) -> str:
    if not isinstance(name, str) or not name or "." in name or not name.isascii():
        raise Broken("a part of its network has a name that no module can have")
    return f"{path}.{name}" if path else name


def _tensors(modules: Mapping[str, Dead]) -> Iterator[tuple[str, Tensor]]:
    for path, module in modules.items():
        volatile = module.state.get("_non_persistent_buffers_set") or ()
        for group in ("_parameters", "_buffers"):
            for name, tensor in (module.state.get(group) or {}).items():
                if isinstance(tensor, Tensor) and not (group == "_buffers" and name in volatile):
                    yield _join(path, name), tensor
                elif tensor is not None and not isinstance(tensor, Tensor):
                    raise Broken("its network holds a weight that is no tensor")


def _state_dict(modules: Mapping[str, Dead], size: int) -> dict[str, NDArray[Any]]:
    """The arrays by dotted name. Tied weights are repeated, but a file cannot claim a multiple of itself."""
    found = dict(_tensors(modules))
    if sum(math.prod(tensor.size) * tensor.storage.dtype.itemsize for tensor in found.values()) > 2 * size:
        raise Broken("its weights claim more bytes than the file has")
    return {name: tensor.array() for name, tensor in found.items()}


def _settings(module: Dead) -> dict[str, Any]:
    """The scalars of a module and its short tuples of scalars: kernel sizes, strides, epsilons."""

    def is_plain(value: Any) -> bool:
        return isinstance(value, bool | int | float | str) or value is None

    return {
        name: value
        for name, value in module.state.items()
        if not name.startswith("_")
        and (is_plain(value) or (isinstance(value, tuple) and len(value) <= 8 and all(map(is_plain, value))))
    }


def _transforms(model: Dead) -> tuple[Module, ...]:
    """The dead parts of `model.transforms`, a Compose; their short tensors (mean, std) as tuples of numbers."""
    composed = model.state.get("transforms")
    parts = composed.state.get("transforms") if isinstance(composed, Dead) else None
    made: list[Module] = []
    for part in parts if isinstance(parts, list | tuple) else ():
        if not isinstance(part, Dead) or len(made) >= MAX_TRANSFORMS:
            raise Broken("its transforms are none that a classifier has")
        tensors = {
            name: tuple(value.array().tolist())
            for name, value in part.state.items()
            if isinstance(value, Tensor) and len(value.size) == 1 and value.size[0] <= MAX_TRANSFORMS
        }
        made.append(Module(str(part.kind), {**_settings(part), **tensors}))
    return tuple(made)


def _task(model: Dead, kind: str) -> str:
    task = model.state.get("task")
    return task if isinstance(task, str) else _TASKS.get(kind.rpartition(".")[2], "unknown")


def _names(model: Dead, file: str) -> tuple[str, ...]:
    names = model.state.get("names")
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        raise _foreign(file, "Its classes are not numbered from 0 without a gap.", "Train it again with Ultralytics.")
    found = tuple(str(names[index]) if type(names[index]) is int else names[index] for index in range(len(names)))
    for index, name in enumerate(found):
        if not isinstance(name, str) or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise _foreign(
                file,
                f"The name of class {index} is no text, or holds control characters.",
                "Rename the class in data.yaml, and train or save it again.",
            )
    return found


def _stride(model: Dead) -> tuple[int, ...]:
    stride = model.state.get("stride")
    if not isinstance(stride, Tensor) or len(stride.size) != 1 or stride.size[0] > 8:
        return ()
    values = stride.array().tolist()
    return tuple(int(value) for value in values if math.isfinite(value))


def _dictionary(value: Any) -> dict[str, Any]:
    if isinstance(value, Dead):  # a namespace: its attributes
        value = value.state
    made = plain(value)
    return made if isinstance(made, dict) else {}


def plain(value: Any) -> Any:
    """`value` as what JSON and YAML can hold: tuples become lists, numbers in tensors numbers, the rest None.

    Raises Broken where it is too deep or too large, shared parts counted each time.
    """
    return _Plain().copy(value, 0)


class _Plain:
    def __init__(self) -> None:
        self.count = 0

    def copy(self, value: Any, depth: int) -> Any:
        """The plain copy of `value`, which lies `depth` levels deep."""
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise Broken("it holds more plain values than any checkpoint does")
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple):
            return [self.copy(part, depth + 1) for part in value]
        if isinstance(value, dict):
            keys = (str, int, float, bool)
            return {
                key if isinstance(key, str) else str(key): self.copy(part, depth + 1)
                for key, part in value.items()
                if isinstance(key, keys)
            }
        if isinstance(value, Tensor) and not value.size:
            return np.asarray(value.array()).tolist()
        return str(value) if isinstance(value, Global) else None
