"""Computing a TorchScript program: its statements one after the other, its operators by `operators`.

What it can do is what is written here. It has no built-in functions, no imports and no attributes but those of its own
modules; a loop runs over a range or a list, and the number of statements is limited: it ends.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint_machine import Dead
from stages.common.checkpoint_tensor import Tensor
from stages.families.plain.operators import Operators, unknown
from stages.families.plain.script import Script, name_of

MAX_STATEMENTS = 1_000_000  # for one image
MAX_NESTED = 50  # functions that call functions
MAX_LENGTH = 10_000  # of a list or text
MAX_NUMBER = 2**40  # lengths of tensors are far below
_OF_TENSORS: dict[str, Callable[..., Any]] = {
    "size": lambda tensor, *axis: int(tensor.shape[axis[0]]) if axis else [int(length) for length in tensor.shape],
    "dim": lambda tensor: tensor.dim(),
    "numel": lambda tensor: int(tensor.numel()),
    "len": lambda tensor: int(tensor.shape[0]),
    "dtype": lambda tensor: tensor.dtype,
    "is_floating_point": lambda tensor: tensor.is_floating_point(),
    "is_cuda": lambda _: False,  # the outcome may not depend on where it runs
    "item": lambda tensor: tensor.item(),
    **dict.fromkeys(("Int", "IntImplicit"), int),
    **dict.fromkeys(("Float", "FloatImplicit"), float),
    "Bool": bool,
}
_PRIMITIVES = frozenset(
    {"NumToTensor", "RaiseException", "min", "max", "dtype", "device", "data", "unchecked_cast", "abs"}
)
_OF_ANYTHING: dict[str, Callable[..., Any]] = {
    "append": list.append,
    "list": lambda values: list(values) if isinstance(values, list | tuple) else None,
    "len": len,
    "format": lambda text, *_: text,
    "warn": lambda *_: None,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__getitem__": operator.getitem,
}
_OF_LISTS: dict[str, Callable[..., Any]] = {
    "slice": lambda values, start=None, end=None, step=1: values[start:end:step],
    "add": operator.add,
    "copy": list,
    "pop": list.pop,
    "extend": list.extend,
    "_set_item": operator.setitem,
}
_OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "floordiv": operator.floordiv, "remainder": operator.mod, "neg": operator.neg,
    "rsub": lambda number, other, factor=1: other - factor * number,
    "pow": lambda base, exponent: float(base) ** float(exponent),
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "__not__": operator.not_, "__and__": operator.and_, "__or__": operator.or_, "__contains__": operator.contains,
    "floor": math.floor, "ceil": math.ceil, "sqrt": math.sqrt, "min": min, "max": max, "abs": abs,
    "Int": int, "Float": float, "Bool": bool, "IntImplicit": int, "FloatImplicit": float,
}  # fmt: skip
_CASTS = {"int": int, "float": float, "bool": bool, "str": str}


class _Stop(Exception):
    """A function returns."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class Run:
    """One image through the program; `tensors` are the live ones by the id of the dead ones."""

    def __init__(self, script: Script, operators: Operators, tensors: Mapping[int, Any], device: Any) -> None:
        self.script, self.operators, self.tensors, self.device = script, operators, tensors, device
        self.statements = self.nested = 0

    def forward(self, image: Any) -> Any:
        """What the module's `forward` gives. Raises InputError where it cannot be computed."""
        try:
            return self.method(self.script.root, "forward", [image], {})
        except (
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            MemoryError,
        ) as error:
            raise self.wrong(f"it cannot go on: {type(error).__name__}: {str(error)[:200]}") from error

    def method(self, module: Dead, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        """`module.name(*arguments)`."""
        return self.function(f"{name_of(module)}.{name}", [module, *arguments], named)

    def function(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        """The value of a function of the program."""
        function = self.script.functions.get(name)
        if function is None or self.nested >= MAX_NESTED:
            raise self.wrong(f"it calls {ascii(name)[1:-1][:80]}, which it does not have, or calls itself")
        wanted = [argument.arg for argument in function.args.args]
        defaults = function.args.defaults
        first = len(wanted) - len(defaults)
        scope = {name: self.value(default, {}) for name, default in zip(wanted[first:], defaults, strict=True)}
        scope |= dict(zip(wanted, arguments, strict=False)) | named
        if len(arguments) > len(wanted) or set(wanted) != set(scope):
            raise self.wrong(f"it calls {ascii(name)[1:-1][:80]} with {len(arguments) + len(named)} values")
        self.nested += 1
        try:
            self.block(function.body, scope)
        except _Stop as stop:
            return stop.value
        finally:
            self.nested -= 1
        return None

    def block(self, body: list[ast.stmt], scope: dict[str, Any]) -> None:
        """The statements one after the other. Raises _Stop with the value that is returned."""
        for statement in body:
            self.statements += 1
            if self.statements > MAX_STATEMENTS:
                raise self.wrong(f"it does not end within {MAX_STATEMENTS} statements")
            if isinstance(statement, ast.Assign):
                self.assign(statement.targets[0], self.value(statement.value, scope), scope)
            elif isinstance(statement, ast.Return):
                raise _Stop(None if statement.value is None else self.value(statement.value, scope))
            elif isinstance(statement, ast.If):
                self.block(statement.body if self.value(statement.test, scope) else statement.orelse, scope)
            elif isinstance(statement, ast.For):
                for item in self.value(statement.iter, scope):
                    self.assign(statement.target, item, scope)
                    self.block(statement.body, scope)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self.assign(statement.target, self.value(statement.value, scope), scope)
            elif isinstance(statement, ast.Expr):
                self.value(statement.value, scope)
            elif not isinstance(statement, ast.Pass):
                raise self.wrong(f"it holds {type(statement).__name__} in line {statement.lineno}")

    def assign(self, target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        """Names take values, tuples of names the parts of one."""
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, ast.Tuple) and len(target.elts) == len(value):
            for part, each in zip(target.elts, value, strict=True):
                self.assign(part, each, scope)
        else:
            raise self.wrong("it changes one of its own modules while it runs")

    def value(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        """The value of an expression."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.named(node.id, scope)
        if isinstance(node, ast.List):
            return [self.value(part, scope) for part in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(self.value(part, scope) for part in node.elts)
        if isinstance(node, ast.Attribute):
            return self.attribute(self.value(node.value, scope), node.attr)
        if isinstance(node, ast.Call):
            return self.call(node, scope)
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
            return self.value(node.value, scope)[self.value(node.slice, scope)]
        if isinstance(node, ast.UnaryOp):
            inner = self.value(node.operand, scope)
            return not inner if isinstance(node.op, ast.Not) else -inner
        if isinstance(node, ast.IfExp):
            return self.value(node.body if self.value(node.test, scope) else node.orelse, scope)
        if isinstance(node, ast.BoolOp):
            stop = isinstance(node.op, ast.Or)
            return next((found for part in node.values if bool(found := self.value(part, scope)) is stop), not stop)
        raise self.wrong(f"it holds {type(node).__name__} in line {node.lineno}")

    def named(self, name: str, scope: Mapping[str, Any]) -> Any:
        """A variable; else the beginning of a qualified name, as text."""
        if name in scope:
            return scope[name]
        if name in ("torch", "ops", "CONSTANTS", "__torch__"):
            return _Name(name)
        if name in ("inf", "nan"):
            return float(name)
        raise self.wrong(f"it uses {ascii(name)[:60]}, which has no value")

    def attribute(self, owner: Any, name: str) -> Any:
        """A part of a module, a constant, or a longer qualified name."""
        if isinstance(owner, _Name):
            if owner == "CONSTANTS":
                return self.live(self.script.constants[int(name.removeprefix("c"))])
            return _Name(f"{owner}.{name}")
        if isinstance(owner, Dead) and name in owner.state:
            return self.live(owner.state[name])
        raise self.wrong(f"it looks for {ascii(name)[:60]}, which is not there")

    def live(self, value: Any) -> Any:
        """The live tensor of a dead one; lists of them too."""
        if isinstance(value, Tensor):
            return self.tensors[id(value)]
        return [self.live(part) for part in value] if isinstance(value, list) else value

    def call(self, node: ast.Call, scope: dict[str, Any]) -> Any:
        """A cast, a method, a function of the program or an operator."""
        if isinstance(node.func, ast.Name) and node.func.id not in scope:
            return self.built_in(node.func.id, node, scope)
        arguments = [self.value(part, scope) for part in node.args]
        named = {part.arg: self.value(part.value, scope) for part in node.keywords if part.arg is not None}
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value, scope)
            if isinstance(owner, Dead):
                return self.method(owner, node.func.attr, arguments, named)
            function = self.attribute(owner, node.func.attr)
        else:
            function = self.value(node.func, scope)
        if not isinstance(function, _Name):
            raise self.wrong("it calls what is no function")
        space, _, name = function.rpartition(".")
        if space == "torch" or (space == "ops.prim" and name in _PRIMITIVES):
            return self.operator(name, arguments, named)
        if space.startswith("ops"):
            raise unknown(self.script.file, f"{space.removeprefix('ops.')}::{name}")
        return self.function(function, arguments, named)

    def built_in(self, name: str, node: ast.Call, scope: dict[str, Any]) -> Any:
        """What TorchScript writes as plain functions."""
        if name in ("annotate", "unchecked_cast") and len(node.args) == 2:
            return self.value(node.args[1], scope)
        if name == "uninitialized":
            return None
        arguments = [self.value(part, scope) for part in node.args]
        if name == "getattr" and len(arguments) == 2:
            return self.attribute(arguments[0], str(arguments[1]))
        if name == "range" and all(type(part) is int for part in arguments):
            return range(*arguments)
        if name in _CASTS and len(arguments) == 1:
            return _CASTS[name](arguments[0])
        raise self.wrong(f"it calls {ascii(name)[:60]}")

    def operator(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        """An operator: on numbers and lists it is computed here, on tensors by torch."""
        first = arguments[0] if arguments else None
        if name == "RaiseException":
            raise self.wrong(f"it says: {str(first)[:200]}")
        if name == "device":
            return self.device
        if name in ("NumToTensor", "data", "unchecked_cast"):
            return first
        if name in _OF_TENSORS and hasattr(first, "shape"):
            return _OF_TENSORS[name](*arguments)
        if name in _OF_LISTS and isinstance(first, list) and all(len(part) <= MAX_LENGTH for part in _lists(arguments)):
            return _OF_LISTS[name](*arguments)
        if name in _OF_ANYTHING or (name in _OF_NUMBERS and not _holds_tensors(arguments)):
            return self.computed(name, arguments)
        return self.operators.call(name, arguments, named)

    def computed(self, name: str, arguments: list[Any]) -> Any:
        """A calculation with numbers, texts and lists; one that would make something huge is none of a network's."""
        if any(isinstance(part, list | str) and len(part) > MAX_LENGTH for part in arguments) or any(
            isinstance(part, int) and abs(part) > MAX_NUMBER for part in arguments
        ):
            raise self.wrong(f"it computes {name} of what is too large for a network")
        if name in ("mul", "pow") and not all(isinstance(part, bool | int | float) for part in arguments):
            raise self.wrong(f"it computes {name} of what is no number")
        return {**_OF_ANYTHING, **_OF_NUMBERS}[name](*arguments)

    def wrong(self, found: str) -> InputError:
        """The error of a program that cannot be computed to its end."""
        return InputError(
            f"The program of {self.script.file} cannot be computed.",
            f"{found[0].upper()}{found[1:]}.",
            "Save it again with torch.jit.trace in eval mode, or export it to ONNX yourself and start there.",
            kind="torchscript",
        )


def _lists(values: list[Any]) -> Iterator[list[Any]]:
    return (part for part in values if isinstance(part, list))


def _holds_tensors(values: Any) -> bool:
    return any(hasattr(part, "shape") or (isinstance(part, list | tuple) and _holds_tensors(part)) for part in values)


class _Name(str):
    """A qualified name of the program, not a text of it."""
