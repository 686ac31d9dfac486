"""Computing an exported program: its calls one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcwbuild.contract.errors import InputError
from stages.families.plain.exported import Call, Exported
from stages.families.plain.operators import Operators

# The numbers of the schema (torch's `_export/serde/schema.py`) as names of torch's own.
_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}  # fmt: skip
_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
_STRIDED = 7


def forward(program: Exported, operators: Operators, tensors: Mapping[int, Any], image: Any) -> Any:
    """The program's output for `image`, or a list of them. Raises InputError where it cannot be computed."""
    values = {name: tensors[id(tensor)] for name, (_, tensor, _) in program.weights.items()}
    values[program.input] = image
    try:
        for call in program.calls:
            _perform(call, values, operators, image.device)
        found = [values[name] for name in program.outputs]
        return found[0] if len(found) == 1 else found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"The program of {program.file} cannot be computed.",
            f"A node is not as PyTorch writes it ({type(error).__name__}: {str(error)[:100]}).",
            "Export it again.",
            kind="exported",
        ) from error


def _perform(call: Call, values: dict[str, Any], operators: Operators, device: Any) -> None:
    arguments = [_value(argument, values, device) for argument in call.arguments]
    named = {name: _value(argument, values, device) for name, argument in call.named.items()}
    result = operators.call(call.name, arguments, named, call.overload)
    found = list(result) if call.as_list or isinstance(result, list | tuple) else [result]
    values.update(zip(call.results, found, strict=len(found) == 1))


def _value(argument: Mapping[str, Any], values: Mapping[str, Any], device: Any) -> Any:
    """The value of an argument, whose only key says what it is."""
    import torch

    ((kind, held),) = argument.items()
    if kind == "as_tensor":
        return values[held["name"]]
    if kind == "as_tensors":
        return [values[one["name"]] for one in held]
    if kind == "as_optional_tensors":
        return [values[one["as_tensor"]["name"]] if "as_tensor" in one else None for one in held]
    if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools"):
        return held
    if kind == "as_sym_int":
        return int(held["as_int"])
    if kind == "as_sym_ints":
        return [int(one["as_int"]) for one in held]
    if kind == "as_scalar_type":
        return getattr(torch, _TYPES[held])
    if kind == "as_memory_format":
        return getattr(torch, _FORMATS[held])
    if kind == "as_layout" and held == _STRIDED:
        return torch.strided
    if kind == "as_device":
        return device  # where it runs now, not where it was exported
    if kind == "as_none":
        return None
    raise ValueError(f"{ascii(kind)[1:-1][:40]} is no argument of a network")
