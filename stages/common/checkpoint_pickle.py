"""A pickle machine that runs nothing: every global is a name, every object a dead one.

It follows the stack machine of CPython's `pickle` (opcodes: `Lib/pickletools.py`), so that what it
sees is what a real loader would do, memo tricks included. Where a real loader would call
something, `Calls` decides: a few harmless functions are done by our own code, all else is Refused
with the name of what would have been called. Nothing is imported, nothing is looked up.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from stages.common.checkpoint_machine import MARK, Broken, Calls, Dead, Global, Machine, checked_key

MAX_OPCODES = 1_000_000  # a large checkpoint with its optimizer has about 300,000; this many take 1 s
MAX_STACK = 500_000  # entries, on all marks together
MAX_MEMO = 500_000  # entries; the largest benign one seen has 40,000
MAX_INTEGER = 64  # bytes; torch writes 16 at most


def follow(data: bytes | memoryview, calls: Calls) -> tuple[Any, int]:
    """The value of the first pickle in `data` and the number of bytes that it took.

    Raises Broken where it cannot be followed, and what `calls` raises.
    """
    machine = Machine(bytes(data), calls)
    return _run(machine), machine.position


def _run(m: Machine) -> Any:
    for _ in range(MAX_OPCODES):
        code = m.take(1)[0]
        if code == 0x2E:  # STOP
            return m.pop()
        step = _STEPS.get(code)
        if step is None:
            raise Broken(f"byte {m.position - 1} is no instruction")
        step(m)
        if len(m.stack) > MAX_STACK or len(m.memo) > MAX_MEMO:
            raise Broken("it needs more memory than any checkpoint does")
    raise Broken("it has more instructions than any checkpoint does")


def _drop_to_mark(m: Machine) -> None:
    m.pop_mark()


def _recall(m: Machine, index: int) -> None:
    if index not in m.memo:
        raise Broken("it takes a value where none is")
    m.push(m.memo[index])


def _remember(m: Machine, index: int) -> None:
    m.memo[index] = m.top()


def _text(m: Machine, length: int) -> None:
    m.push(m.take(length).decode("utf-8", "surrogatepass"))


def _integer(m: Machine, length: int) -> None:
    if length < 0 or length > MAX_INTEGER:
        raise Broken("it holds a number of absurd length")
    m.push(int.from_bytes(m.take(length), "little", signed=True))


def _tuple_of(m: Machine, count: int) -> None:
    m.push(tuple(reversed([m.pop() for _ in range(count)])))


def _append(m: Machine, values: list[Any]) -> None:
    target = m.top()
    if not isinstance(target, list | Dead):
        raise Broken("it appends to what is no list")
    (target if isinstance(target, list) else target.items).extend(values)


def _set_items(m: Machine, values: list[Any]) -> None:
    target = m.top()
    if not isinstance(target, dict | Dead) or len(values) % 2:
        raise Broken("it sets items of what is no dictionary")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if isinstance(target, dict):
            target[checked_key(key)] = value
        else:
            target.items.append((key, value))


def _add_items(m: Machine, values: list[Any]) -> None:
    target = m.top()
    if not isinstance(target, set):
        raise Broken("it adds to what is no set")
    target.update(checked_key(value) for value in values)


def _global_by_lines(m: Machine) -> None:
    module, name = m.line(), m.line()
    m.push(Global(module, name))


def _global_by_stack(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise Broken("it names a global by what is no text")
    m.push(Global(module, name))


def _reduce(m: Machine) -> None:
    arguments, function = m.pop(), m.pop()
    m.push(m.calls.call(function, arguments))


def _create(m: Machine) -> None:
    arguments, kind = m.pop(), m.pop()
    m.push(m.calls.create(kind, arguments))


def _create_named(m: Machine) -> None:
    names, arguments, kind = m.pop(), m.pop(), m.pop()
    if names != {}:
        raise m.calls.refuse(str(kind) if isinstance(kind, Global) else "a class with named arguments")
    m.push(m.calls.create(kind, arguments))


def _build(m: Machine) -> None:
    state = m.pop()
    m.calls.fill(m.top(), state)


def _instantiate(m: Machine) -> None:
    module, name = m.line(), m.line()
    m.push(m.calls.call(Global(module, name), tuple(m.pop_mark())))


def _instantiate_from_stack(m: Machine) -> None:
    values = m.pop_mark()
    if not values:
        raise Broken("it takes a value where none is")
    m.push(m.calls.call(values[0], tuple(values[1:])))


def _extension(m: Machine, form: str) -> None:
    raise m.calls.refuse(f"number {m.number(form)} of the extension registry (copyreg)")


def _pop_any(m: Machine) -> None:
    if not m.stack:
        raise Broken("it takes a value where none is")
    m.stack.pop()


def _protocol(m: Machine) -> None:
    if m.take(1)[0] > 5:
        raise Broken("its protocol is not known")


def _frame(m: Machine) -> None:
    if m.number("Q") > len(m.data) - m.position:
        raise Broken("it ends early")


def _quoted(m: Machine) -> None:
    m.push(re.sub(r"\A(['\"])(.*)\1\Z", r"\2", m.line()))


def _old_number(m: Machine, read: Callable[[str], Any]) -> None:
    text = m.line().removesuffix("L")
    if len(text) > 3 * MAX_INTEGER:
        raise Broken("it holds a number of absurd length")
    m.push({"00": False, "01": True}.get(text) if text in ("00", "01") else read(text))


def _index(m: Machine) -> int:
    text = m.line()
    if not re.fullmatch("[0-9]{1,9}", text):
        raise Broken("it numbers its memo by what is no number")
    return int(text)


def _dictionary(machine: Machine) -> None:
    values = machine.pop_mark()
    machine.push({})
    _set_items(machine, values)


_STEPS: dict[int, Callable[[Machine], None]] = {
    0x80: _protocol,
    0x95: _frame,
    ord("("): lambda m: m.push(MARK),
    ord("0"): _pop_any,
    ord("1"): _drop_to_mark,
    ord("2"): lambda m: m.push(m.top()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("i")),
    ord("K"): lambda m: m.push(m.number("B")),
    ord("M"): lambda m: m.push(m.number("H")),
    0x8A: lambda m: _integer(m, m.number("B")),
    0x8B: lambda m: _integer(m, m.number("i")),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("X"): lambda m: _text(m, m.number("I")),
    0x8C: lambda m: _text(m, m.number("B")),
    0x8D: lambda m: _text(m, m.number("Q")),
    ord("B"): lambda m: m.push(m.take(m.number("I"))),
    ord("C"): lambda m: m.push(m.take(m.number("B"))),
    0x8E: lambda m: m.push(m.take(m.number("Q"))),
    0x96: lambda m: m.push(m.take(m.number("Q"))),
    ord("T"): lambda m: m.push(m.take(m.number("I")).decode("latin-1")),
    ord("U"): lambda m: m.push(m.take(m.number("B")).decode("latin-1")),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    ord("}"): lambda m: m.push({}),
    0x8F: lambda m: m.push(set()),
    0x91: lambda m: m.push(frozenset(checked_key(value) for value in m.pop_mark())),
    0x85: lambda m: _tuple_of(m, 1),
    0x86: lambda m: _tuple_of(m, 2),
    0x87: lambda m: _tuple_of(m, 3),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    ord("l"): lambda m: m.push(m.pop_mark()),
    ord("d"): _dictionary,
    ord("a"): lambda m: _append(m, [m.pop()]),
    ord("e"): lambda m: _append(m, m.pop_mark()),
    ord("s"): lambda m: _set_items(m, [m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: _set_items(m, m.pop_mark()),
    0x90: lambda m: _add_items(m, m.pop_mark()),
    ord("h"): lambda m: _recall(m, m.number("B")),
    ord("j"): lambda m: _recall(m, m.number("I")),
    ord("g"): lambda m: _recall(m, _index(m)),
    ord("q"): lambda m: _remember(m, m.number("B")),
    ord("r"): lambda m: _remember(m, m.number("I")),
    ord("p"): lambda m: _remember(m, _index(m)),
    0x94: lambda m: _remember(m, len(m.memo)),
    ord("c"): _global_by_lines,
    0x93: _global_by_stack,
    ord("R"): _reduce,
    0x81: _create,
    0x92: _create_named,
    ord("b"): _build,
    ord("i"): _instantiate,
    ord("o"): _instantiate_from_stack,
    ord("Q"): lambda m: m.push(m.calls.refer(m.pop())),
    ord("P"): lambda m: m.push(m.calls.refer(m.line())),
    0x82: lambda m: _extension(m, "B"),
    0x83: lambda m: _extension(m, "H"),
    0x84: lambda m: _extension(m, "I"),
    ord("I"): lambda m: _old_number(m, int),
    ord("L"): lambda m: _old_number(m, int),
    ord("F"): lambda m: _old_number(m, float),
    ord("S"): _quoted,
    ord("V"): lambda m: m.push(m.line()),
}
