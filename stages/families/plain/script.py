"""A TorchScript archive (`torch.jit.save`) read without running it: its program as a syntax tree, its weights as bytes.

`torch.jit.load` is not used. Its C++ unpickler builds tensors over whatever part of memory a file names, calls the
`__setstate__` that a file brings, and its operators read and write files. Here the archive is taken apart by
`checkpoint_zip`, its two pickles are followed with dead objects, and its program, which TorchScript writes in Python's
own syntax, is parsed by `ast` and never compiled. `script_run` computes it, operator by operator.

Layout: `code/**.py`, `data.pkl` (the module tree) over `data/`, `constants.pkl` over `constants/`; torch's
`csrc/jit/serialization/export_module.cpp`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint_calls import CheckpointCalls
from stages.common.checkpoint_machine import Broken, Dead, Global
from stages.common.checkpoint_pickle import follow
from stages.common.checkpoint_tensor import Tensor
from stages.common.checkpoint_zip import Archive
from stages.families.plain.operators import HARMFUL, unknown

ROOT = "__torch__"
MAX_CODE = 4 * 2**20  # characters of program; a ResNet-152 has 0.2 million
MAX_DEPTH = 200  # of modules in modules


@dataclass(frozen=True)
class Script:
    """A TorchScript module: the dead tree with its tensors, and every function of its program by qualified name."""

    file: str
    root: Dead
    constants: tuple[Any, ...]
    functions: Mapping[str, ast.FunctionDef]

    def tensors(self) -> Iterator[tuple[str, Tensor, bool]]:
        """Each tensor once: its dotted name, itself, whether it is a weight (a parameter, or a frozen constant)."""
        seen: set[int] = set()
        for path, module in modules(self.root):
            for name, value in module.state.items():
                if isinstance(value, Tensor) and id(value) not in seen:
                    seen.add(id(value))
                    statistic = name in ("running_mean", "running_var", "num_batches_tracked")
                    yield f"{path}.{name}" if path else name, value, not statistic
        for number, value in enumerate(self.constants):
            if isinstance(value, Tensor) and id(value) not in seen:
                seen.add(id(value))
                yield f"CONSTANTS.c{number}", value, True


def is_script(archive: Archive) -> bool:
    """Whether the archive is one that `torch.jit.save` wrote."""
    return "constants.pkl" in archive.records and any(name.startswith("code/") for name in archive.records)


def read(archive: Archive) -> Script:
    """The module. Raises InputError where it is damaged or not supported, Refused where it would do harm."""
    if bytes(archive.records.get("byteorder", b"little")) != b"little":
        raise _unsupported(archive.file, "It was written on a big-endian machine.")
    root = _pickled(archive, "data.pkl", "data/")
    constants = _pickled(archive, "constants.pkl", "constants/")
    if not isinstance(root, Dead) or not isinstance(constants, tuple):
        raise Broken("its pickles hold no module")
    functions = dict(_functions(archive))
    if f"{name_of(root)}.forward" not in functions:
        raise _unsupported(archive.file, f"Its class {name_of(root)} has no method forward.")
    return Script(archive.file, root, constants, functions)


def name_of(module: Dead) -> str:
    """`__torch__.torch.nn.modules.conv.Conv2d`."""
    return f"{module.kind.module}.{module.kind.name}"


def modules(root: Dead) -> Iterator[tuple[str, Dead]]:
    """The modules with their dotted paths, each once, parents first. Raises Broken where they lie too deep."""
    waiting, seen = [("", root)], {id(root)}
    while waiting:
        path, module = waiting.pop()
        yield path, module
        if path.count(".") > MAX_DEPTH:
            raise Broken("its modules lie too deep in each other")
        for name, value in module.state.items():
            if isinstance(value, Dead) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{path}.{name}" if path else name, value))


class _Calls(CheckpointCalls):
    """What the pickles of a TorchScript archive call beside those of a checkpoint: typed lists."""

    def call(self, function: Any, arguments: Any) -> Any:
        """REDUCE, INST and OBJ."""
        name = str(function) if isinstance(function, Global) else ""
        if name.startswith("torch.jit._pickle."):
            return _typed(name.rpartition(".")[2], arguments)
        return super().call(function, arguments)


def _typed(name: str, arguments: Any) -> Any:
    """The plain value of `build_intlist([1, 2])` and its like, and of a container with its type beside it."""
    lists = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
    if name in lists and isinstance(arguments, tuple) and len(arguments) == 1 and isinstance(arguments[0], list):
        return arguments[0]
    if name == "restore_type_tag" and isinstance(arguments, tuple) and len(arguments) == 2:
        return arguments[0]
    raise Broken(f"its pickle calls {ascii(name)[:60]} in a way that TorchScript does not")


def _pickled(archive: Archive, record: str, folder: str) -> Any:
    """The value of one of the pickles, whose tensors lie in `folder`."""
    if record not in archive.records:
        raise Broken(f"the record {record} is missing")
    storages = {
        f"data/{name.removeprefix(folder)}": data for name, data in archive.records.items() if name.startswith(folder)
    }
    data = archive.records[record]
    value, end = follow(data, _Calls(archive.file, Archive(archive.file, archive.prefix, storages)))
    if end != len(data):
        raise Broken("more follows behind its pickle's end")
    return value


def _functions(archive: Archive) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function and method of the program, checked, by its qualified name."""
    total = 0
    for name, data in archive.records.items():
        if not name.startswith(f"code/{ROOT}") or not name.endswith(".py"):
            continue  # the rest are places in the author's own sources
        total += len(data)
        if total > MAX_CODE:
            raise Broken("its program is longer than that of any network")
        module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
        try:
            tree = ast.parse(bytes(data).decode("utf-8"))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Broken(f"its program {ascii(name)[:80]} cannot be read") from error
        for node in tree.body:
            inside = node.body if isinstance(node, ast.ClassDef) else [node]
            place = f"{module}.{node.name}" if isinstance(node, ast.ClassDef) else module
            for function in inside:
                if isinstance(function, ast.FunctionDef):
                    _check(function, archive.file)
                    yield f"{place}.{function.name}", function


def _check(function: ast.FunctionDef, file: str) -> None:
    """Raise Refused where the function names an operator that does harm, whether it would be reached or not.

    What is merely not supported may stand in a branch that is never taken: it is told when it is come to.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and node.attr in HARMFUL and ast.unparse(node.value) == "torch":
            raise unknown(file, f"aten::{node.attr}")
    if function.name == "__setstate__":
        raise _unsupported(file, "One of its classes rebuilds itself (__setstate__), as quantized networks do.")


def _unsupported(file: str, found: str) -> InputError:
    return InputError(
        f"{file} is a TorchScript program that is not supported.",
        found,
        "Save it again with torch.jit.trace in eval mode, or export it to ONNX yourself and start there.",
        kind="torchscript",
    )
