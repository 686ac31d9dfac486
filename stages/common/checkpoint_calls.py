"""What a checkpoint's pickle may have called, done by our own code; all else is Refused by name.

The list is what `torch.save` and Ultralytics (8.0 to 8.4, every task) really write. None of these
functions is imported: each entry makes a plain value, a `Tensor` over the archive's bytes, or a
dead object. References: `torch/_utils.py`, `torch/serialization.py`, `copyreg`, `numpy`'s pickles.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcwbuild.contract.errors import InputError, McwbuildError, Refused
from stages.common.checkpoint_machine import Broken, Dead, Global, checked_key
from stages.common.checkpoint_tensor import DTYPES, Storage, Tensor, counts, tensor_from
from stages.common.checkpoint_zip import Archive, tampered

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(\.[A-Za-z_][A-Za-z0-9_]{0,99}){0,15}\Z")
_EMPTY_CLASSES = frozenset({"argparse.Namespace", "types.SimpleNamespace", "ultralytics.utils.IterableSimpleNamespace"})
_TORCH_CLASSES = ("torch.nn.", "torch.optim.", "torch.amp.", "torch.cuda.amp.")
_FACTORIES = frozenset({"builtins.int", "builtins.float", "builtins.list", "builtins.dict", "builtins.set"})
_ENUMS = frozenset(
    {
        "torchvision.transforms.functional.InterpolationMode",
        "torchvision.transforms.v2.functional.InterpolationMode",
        "PIL.Image.Resampling",
    }
)
# What stands in a checkpoint that PyTorch quantized: modules, and tensors of eight bits.
_QUANTIZED = ("torch.ao.", "torch.quantization.", "torch.nn.quantized.", "torch._utils._rebuild_qtensor")
_PATHS = frozenset(
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
)


class CheckpointCalls:
    """The answers to the pickle machine for one checkpoint."""

    def __init__(self, file: str, archive: Archive | None) -> None:
        self.file, self.archive = file, archive
        self.storages: dict[tuple[str, str], Storage] = {}

    def refuse(self, name: str) -> McwbuildError:
        """The error for a call of `name`: that of a quantized network, or a refusal."""
        if name.startswith(_QUANTIZED):
            return InputError(
                f"{self.file} is a quantized network: its weights are no numbers that can be converted.",
                f"It would call {name} when it is loaded, and nothing of it was run.",
                "Give the checkpoint from before the quantization; INT8 is made in the rknn phase.",
                kind="quantized",
            )
        for system in ("posix.", "nt."):  # pickles name the functions of `os` by the module that implements it
            if name.startswith(system):
                name = f"os.{name.removeprefix(system)} ({name})"
        return Refused(
            f"{self.file} would call {name} when it is loaded.",
            "A checkpoint holds weights and needs no such call.",
            "Nothing of it was run. Do not load it elsewhere, and take a checkpoint from somebody you trust.",
            kind="hostile-pickle",
        )

    def call(self, function: Any, arguments: Any) -> Any:
        """REDUCE, INST and OBJ."""
        if isinstance(function, BoundMethod):
            raise self.refuse(str(function))
        if not isinstance(function, Global):
            raise Broken("it calls what is no function")
        name = str(function)
        if not isinstance(arguments, tuple):
            raise self.refuse(name)
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return tensor_from(arguments, self.file)
        if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
            return self.call(arguments[0], arguments[2])
        if name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            return self._reconstruct(name, arguments)
        if name in _EMPTY_CLASSES and not arguments:
            return Dead(function)
        harmless = _HARMLESS.get(name)
        if harmless is None:
            raise self.refuse(name)
        try:
            return harmless(*arguments)
        except (TypeError, ValueError, LookupError):
            raise self.refuse(name) from None

    def create(self, kind: Any, arguments: Any) -> Any:
        """NEWOBJ: classes are only ever made empty."""
        if not isinstance(kind, Global):
            raise Broken("it makes an object of what is no class")
        if arguments != () or not _may_stand_for_an_object(kind):
            raise self.refuse(str(kind))
        return Dead(kind)

    def fill(self, value: Any, state: Any) -> None:
        """BUILD: what a real loader hands to `__setstate__` or writes into the object."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict):
                for name, held in part.items():
                    if isinstance(name, str) and name.startswith("__") and name.endswith("__"):
                        raise self.refuse(str(held) if isinstance(held, Global) else ascii(name)[1:-1][:80])
        if isinstance(value, Global | BoundMethod):
            raise self.refuse(f"{value}.__setstate__")
        if isinstance(value, Dead):
            for part in parts:
                if isinstance(part, dict):
                    value.state.update({name: held for name, held in part.items() if isinstance(name, str)})
        elif not isinstance(value, dict | Tensor):
            raise Broken("it fills what is no object")

    def refer(self, identifier: Any) -> Any:
        """BINPERSID: `("storage", torch.FloatStorage, "12", "cpu", 4096)`."""
        if not isinstance(identifier, tuple) or len(identifier) != 5 or identifier[0] != "storage":
            raise tampered(self.file, "It refers to something outside itself that is no tensor storage.")
        _, kind, key, _, count = identifier
        if not isinstance(key, str) or not re.fullmatch("[0-9]{1,9}", key):
            raise tampered(self.file, f"It refers to a tensor storage outside of its folder: {ascii(key)[:80]}.")
        if not isinstance(kind, Global):
            raise Broken("it holds numbers of no kind")
        if kind.module != "torch" or kind.name not in DTYPES:
            raise Broken(f"it holds numbers of the kind {kind}, which no supported network uses")
        if (key, kind.name) not in self.storages:
            data = self.archive.storage(key) if self.archive else None
            if data is None:
                raise Broken(f"the tensor storage {key} is missing")
            self.storages[key, kind.name] = Storage(kind.name, data)
        storage = self.storages[key, kind.name]
        if not counts(count) or count * storage.dtype.itemsize != len(storage.data):
            raise tampered(self.file, f"The tensor storage {key} does not have the size that the pickle claims.")
        return storage

    def _reconstruct(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) != 3 or not isinstance(arguments[0], Global) or arguments[2] is not None:
            raise self.refuse(str(arguments[0]) if arguments and isinstance(arguments[0], Global) else name)
        return self.create(arguments[0], ())


@dataclass(frozen=True, eq=False, repr=False)
class BoundMethod:
    """A method of a dead object, as fused networks hold one; it is never called."""

    owner: Dead
    name: str

    def __str__(self) -> str:
        return f"{self.owner.kind}.{ascii(self.name)[1:-1][:80]}"


def _may_stand_for_an_object(kind: Global) -> bool:
    """Whether torch or a model's own package may have saved an object of this class.

    Classes of the standard library, of torch outside its networks and of numpy are not part of
    any network; some run code when they are filled.
    """
    if not _IDENTIFIER.match(kind.name) or not _MODULE.match(kind.module):
        return False
    if str(kind) in _EMPTY_CLASSES or kind.module.startswith(_TORCH_CLASSES):
        return True
    root = kind.module.partition(".")[0]
    return root == "__main__" or (
        root not in sys.stdlib_module_names
        and root not in ("torch", "numpy", "__builtin__", "copy_reg", "dill", "cloudpickle", "joblib", "setuptools")
    )


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    if len(pairs) > 100_000:
        raise ValueError
    return {checked_key(key): value for key, value in pairs}


def _collected(make: Callable[[Any], Any]) -> Callable[..., Any]:
    def collect(values: Any = ()) -> Any:
        if not isinstance(values, list | tuple | set | frozenset):
            raise TypeError
        return make([checked_key(value) for value in values])

    return collect


def _default(factory: Any = None, pairs: Any = ()) -> dict[Any, Any]:
    if factory is not None and not (isinstance(factory, Global) and str(factory) in _FACTORIES):
        raise TypeError
    return _ordered(pairs)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise TypeError
    return text.encode(encoding)


def _no_bytes(value: Any = b"", *_: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _path(*parts: Any) -> str:
    if not all(isinstance(part, str) for part in parts):
        raise TypeError
    return "/".join(parts)[:4096].replace("//", "/")


def _device(kind: Any, index: Any = None) -> str:
    if not isinstance(kind, str):
        raise TypeError
    return kind if index is None else f"{kind}:{index:d}"


def _attribute(owner: Any, name: Any) -> Any:
    if not isinstance(owner, Dead) or not isinstance(name, str):
        raise TypeError
    return BoundMethod(owner, name)


def _same(value: Any, *_: Any) -> Any:
    return value


def _opaque(module: str, name: str) -> Callable[..., Dead]:
    return lambda *arguments: Dead(Global(module, name), {"arguments": arguments})


def _number(dtype: Any, raw: Any) -> Any:
    """A numpy scalar as Python's own number."""
    code = dtype.state["arguments"][0] if isinstance(dtype, Dead) else None
    if not isinstance(raw, bytes) or code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "b1"):
        raise TypeError
    return np.frombuffer(raw, dtype="<" + code, count=1).tolist()[0]


def _moment(raw: Any, *_: Any) -> str:
    """A `datetime` or `date` as ISO 8601. Source of the layout: `Lib/_pydatetime.py`, `_getstate`."""
    if not isinstance(raw, bytes) or len(raw) not in (4, 10):
        raise TypeError
    day = f"{raw[0] << 8 | raw[1]:04}-{raw[2] & 127:02}-{raw[3]:02}"
    return day if len(raw) == 4 else f"{day}T{raw[4]:02}:{raw[5]:02}:{raw[6]:02}"


_HARMLESS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch.Size": _collected(tuple),
    "torch.device": _device,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default,
    "collections.deque": lambda values=(), _=None: list(values),
    "builtins.set": _collected(set),
    "builtins.frozenset": _collected(frozenset),
    "builtins.list": _collected(list),
    "builtins.tuple": _collected(tuple),
    "builtins.bytes": _no_bytes,
    "builtins.bytearray": _no_bytes,
    "builtins.complex": _opaque("builtins", "complex"),
    "builtins.slice": _opaque("builtins", "slice"),
    "builtins.range": _opaque("builtins", "range"),
    "builtins.getattr": _attribute,
    "_codecs.encode": _encoded,
    "numpy.dtype": _opaque("numpy", "dtype"),
    "datetime.datetime": _moment,
    "datetime.date": _moment,
    "datetime.timedelta": _opaque("datetime", "timedelta"),
    "datetime.timezone": _opaque("datetime", "timezone"),
    **{
        f"numpy.{core}.multiarray.{name}": function
        for core in ("core", "_core")
        for name, function in (("scalar", _number), ("_reconstruct", _opaque("numpy", "ndarray")))
    },
    **dict.fromkeys(_PATHS, _path),
    **dict.fromkeys(_ENUMS, _same),
}
