"""The state of the pickle machine, and the dead things that it puts in place of real ones."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Protocol

MARK = object()  # opens a group on the stack


class Broken(Exception):
    """The pickle cannot be followed to its end: cut, or not a pickle."""


@dataclass(frozen=True)
class Global:
    """A function or class by name; never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        """`module.name` with Python 2's name of the builtins replaced, printable ASCII."""
        module = "builtins" if self.module == "__builtin__" else self.module
        return ascii(f"{module}.{self.name}")[1:-1][:120]


@dataclass(eq=False, repr=False)
class Dead:
    """An object that was never made: its class by name, and what the pickle would have filled in."""

    kind: Global
    state: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)


class Calls(Protocol):
    """What the machine asks whenever a real loader would run something. Each may raise Refused."""

    def call(self, function: Any, arguments: Any) -> Any:
        """The value of `function(*arguments)`."""

    def create(self, kind: Any, arguments: Any) -> Any:
        """The value of `kind.__new__(kind, *arguments)`."""

    def fill(self, value: Any, state: Any) -> None:
        """What BUILD does: set the state of `value`."""

    def refer(self, identifier: Any) -> Any:
        """What stands outside the pickle under a persistent identifier."""

    def refuse(self, name: str) -> Exception:
        """The error for a call of `name`."""


_Key = (str, int, float, bool, bytes, type(None), Global, Dead)


class Machine:
    """Where the pickle stands: what is left of it, the stack with its marks, the memo."""

    def __init__(self, data: bytes, calls: Calls) -> None:
        self.data, self.calls, self.position = data, calls, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        """The next `count` bytes. The claim is compared with what is left before anything is read."""
        if count > len(self.data) - self.position:
            raise Broken("it ends early")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, form: str) -> Any:
        """The next bytes as the little-endian number of the `struct` format."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def line(self) -> str:
        """The text up to the next line feed, which is skipped."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise Broken("it ends early")
        text = self.take(end - self.position)
        self.position += 1
        return text.decode("utf-8", "backslashreplace")

    def pop(self) -> Any:
        """Take the topmost value."""
        if not self.stack or self.stack[-1] is MARK:
            raise Broken("it takes a value where none is")
        return self.stack.pop()

    def top(self) -> Any:
        """Look at the topmost value."""
        if not self.stack or self.stack[-1] is MARK:
            raise Broken("it takes a value where none is")
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        """Take all values above the topmost mark, and the mark."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise Broken("it closes a group that was not opened")

    def push(self, value: Any) -> None:
        """Put a value on top."""
        self.stack.append(value)


def checked_key(value: Any) -> Any:
    """`value` if it may be a key: a scalar, a dead thing or a flat tuple of scalars.

    Hashing deep tuples recurses in C without a limit, so they never get that far.
    """
    if isinstance(value, tuple):
        if all(isinstance(part, _Key) for part in value):
            return value
    elif isinstance(value, _Key):
        return value
    raise Broken("it has a dictionary whose key is no scalar")
