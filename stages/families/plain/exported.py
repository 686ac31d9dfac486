"""An exported program (`torch.export.save`, .pt2) read without running it: its graph from JSON, its weights as bytes.

`torch.export.load` is not used. It unpickles what a file says is pickled (weights, constants, example inputs), looks up
whatever name a node has as its target, evaluates the file's expressions of sizes as Python, and loads the shared
libraries that AOTInductor has put in. Here only `models/model.json` and the raw weights beside it are read: a list of
nodes, each an operator of `operators` with its arguments. There are no loops: it ends.

Layout: torch's `export/pt2_archive`, `_export/serde/schema.py` (version 8), as PyTorch writes since 2.8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcwbuild.contract.errors import InputError, Refused
from stages.common.checkpoint_machine import Broken
from stages.common.checkpoint_tensor import Storage, Tensor, counts, tensor_from
from stages.common.checkpoint_zip import Archive
from stages.families.plain.operators import KNOWN, unknown

SCHEMA = 8  # the major version that PyTorch 2.8 to 2.13 write
_MODELS, _WEIGHTS, _CONSTANTS, _LIBRARIES = "models/", "data/weights/", "data/constants/", "data/aotinductor/"
_ATEN = "torch.ops.aten."
# The numbers of `ScalarType` in the schema, as torch's storages are called.
_STORAGES = {
    1: "ByteStorage", 2: "CharStorage", 3: "ShortStorage", 4: "IntStorage", 5: "LongStorage", 6: "HalfStorage",
    7: "FloatStorage", 8: "DoubleStorage", 12: "BoolStorage", 13: "BFloat16Storage",
}  # fmt: skip
_STUMBLES = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Call:
    """One node: `aten::<name>.<overload>` of arguments as the schema has them, and what its results are called."""

    name: str
    overload: str
    arguments: tuple[Mapping[str, Any], ...]
    named: Mapping[str, Mapping[str, Any]]
    results: tuple[str, ...]
    as_list: bool


@dataclass(frozen=True)
class Exported:
    """An exported program: its calls in their order; what its input, outputs and weights are called in them.

    `shape` is the input's, None for a length that is not fixed.
    """

    file: str
    input: str
    shape: tuple[int | None, ...]
    outputs: tuple[str, ...]
    calls: tuple[Call, ...]
    weights: Mapping[str, tuple[str, Tensor, bool]]

    def tensors(self) -> Iterator[tuple[str, Tensor, bool]]:
        """Each tensor once: its dotted name, itself, whether it is a weight."""
        seen: set[int] = set()
        for name, tensor, weight in self.weights.values():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor, weight


def is_exported(archive: Archive) -> bool:
    """Whether the archive is a .pt2, of this or an older layout, or a package of AOTInductor."""
    return "data.pkl" not in archive.records and any(
        name.startswith((_MODELS, _LIBRARIES, "serialized_exported_program")) for name in archive.records
    )


def read(archive: Archive) -> Exported:
    """The program. Raises InputError where it is damaged or not supported, Refused where it would run code."""
    compiled = [name for name in archive.records if name.startswith(_LIBRARIES) or name.endswith((".so", ".cubin"))]
    if compiled:
        raise Refused(
            f"{archive.file} holds compiled code, and is refused.",
            f"{ascii(compiled[0])[1:-1][:80]} would be loaded into the process and run.",
            "Nothing of it was run. Save the program with torch.export.save instead.",
            kind="compiled",
        )
    models = [name for name in archive.records if name.startswith(_MODELS) and name.endswith(".json")]
    if len(models) != 1:
        found = f"It holds {len(models)} programs." if models else "It has the layout of PyTorch before 2.8."
        raise _unsupported(archive.file, found)
    try:
        program = _json(archive, models[0])
        if program["schema_version"]["major"] != SCHEMA:
            raise _unsupported(archive.file, f"Its schema is version {str(program['schema_version'])[:60]}.")
        return _program(archive, program["graph_module"], models[0].removeprefix(_MODELS).removesuffix(".json"))
    except _STUMBLES as error:
        raise Broken(f"its program cannot be followed ({type(error).__name__})") from error


def _json(archive: Archive, name: str) -> Any:
    return json.loads(bytes(archive.records[name]))


def _program(archive: Archive, module: Any, model: str) -> Exported:
    graph, signature = module["graph"], module["signature"]
    weights, user = {}, []
    stored = {
        False: _payloads(archive, _WEIGHTS, f"{_WEIGHTS}{model}_weights_config.json"),
        True: _payloads(archive, _CONSTANTS, f"{_CONSTANTS}{model}_constants_config.json"),
    }
    for spec in signature["input_specs"]:
        ((kind, held),) = spec.items()
        if kind == "user_input":
            user.append(held["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            name = held[f"{kind}_name"]
            constant = kind == "tensor_constant" or held.get("persistent") is False
            weights[held["arg"]["name"]] = (name, stored[constant][name], kind == "parameter")
        else:
            raise _unsupported(archive.file, f"One of its inputs is a {ascii(kind)[1:-1][:40]}.")
    if len(user) != 1:
        raise _unsupported(archive.file, f"It has {len(user)} inputs, and one image is given.")
    outputs = []
    for spec in signature["output_specs"]:
        ((kind, held),) = spec.items()
        if kind != "user_output":
            raise _unsupported(archive.file, "It changes its own buffers: it was exported in training mode.")
        outputs.append(held["arg"]["as_tensor"]["name"])
    sizes = graph["tensor_values"][user[0]]["sizes"]
    shape = tuple(size["as_int"] if counts(size.get("as_int")) else None for size in sizes)
    calls = tuple(_call(archive.file, node) for node in graph["nodes"])
    return Exported(archive.file, user[0], shape, tuple(outputs), calls, weights)


def _payloads(archive: Archive, folder: str, configuration: str) -> dict[str, Tensor]:
    """The tensors that a configuration lists. Raises Refused for a pickled one."""
    found = {}
    for name, entry in _json(archive, configuration)["config"].items():
        if entry["use_pickle"]:
            raise Refused(
                f"{archive.file} holds a pickle, which would run code, and is refused.",
                f"Its value {ascii(name)[1:-1][:80]} is no plain tensor.",
                "Nothing of it was run. Save a network of plain tensors with torch.export.save.",
                kind="pickled",
            )
        meta = entry["tensor_meta"]
        kind = _STORAGES.get(meta["dtype"])
        if kind is None:
            raise _unsupported(archive.file, f"Its tensor {ascii(name)[1:-1][:80]} has numbers of another kind.")
        data = archive.records[folder + entry["path_name"]]
        size, stride = (tuple(part["as_int"] for part in meta[key]) for key in ("sizes", "strides"))
        arguments = (Storage(kind, data), meta["storage_offset"]["as_int"], size, stride)
        found[name] = tensor_from(arguments, archive.file)
    return found


def _call(file: str, node: Any) -> Call:
    target = node["target"]
    name, _, overload = str(target).removeprefix(_ATEN).partition(".")
    if not isinstance(target, str) or not target.startswith(_ATEN) or name not in KNOWN:
        raise unknown(file, str(target).removeprefix("torch.ops.").replace(".", "::", 1))
    positional = tuple(each["arg"] for each in node["inputs"] if each["kind"] != 2)
    named = {each["name"]: each["arg"] for each in node["inputs"] if each["kind"] == 2}
    results: list[str] = []
    as_list = False
    for output in node["outputs"]:
        ((kind, held),) = output.items()
        if kind not in ("as_tensor", "as_tensors", "as_none"):
            raise _unsupported(file, f"Its node {name} computes sizes: it was exported with sizes that are not fixed.")
        as_list = as_list or kind == "as_tensors"
        results += [held["name"]] if kind == "as_tensor" else [one["name"] for one in held] if as_list else []
    return Call(name, overload, positional, named, tuple(results), as_list)


def _unsupported(file: str, found: str) -> InputError:
    return InputError(
        f"{file} is an exported program that is not supported.",
        found,
        "Export it again with torch.export.export of the network in eval mode, fixed sizes, one image as its input.",
        kind="exported",
    )
