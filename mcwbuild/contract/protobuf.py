"""A walk over protobuf messages: enough to read an ONNX file's facts without its library.

The wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10  # bytes in a 64-bit number


class Broken(ValueError):
    """The bytes are not a message."""


@dataclass(frozen=True)
class Span:
    """A stretch of a file that holds a message, a text or bytes; nothing is copied until it is asked for."""

    data: bytes | mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, int | Span]]:
        """Every field in order: its number, and its value: a number, or a Span. Raises Broken."""
        at = self.start
        while at < self.end:
            key, at = self._varint(at)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise Broken("field number 0")
            if wire == _VARINT:
                value, at = self._varint(at)
                yield number, value
                continue
            if wire == _BYTES:
                size, at = self._varint(at)
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise Broken(f"wire type {wire}")
            if size > self.end - at:
                raise Broken(f"a field of {size} bytes where {self.end - at} are left")
            yield number, Span(self.data, at, at + size)
            at += size

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for index in range(_MAX_VARINT):
            if at >= self.end:
                raise Broken("the end in the middle of a number")
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at
        raise Broken("a number of more than 64 bits")

    def text(self, limit: int) -> str:
        """The bytes as UTF-8 text. Raises Broken where they are none, or more than `limit`."""
        if self.end - self.start > limit:
            raise Broken(f"a text of {self.end - self.start} bytes")
        try:
            return self.data[self.start : self.end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise Broken("a text that is not UTF-8") from error

    def children(self, number: int) -> Iterator[Span]:
        """The fields with this number that hold bytes. Raises Broken."""
        for found, value in self.fields():
            if found == number:
                if not isinstance(value, Span):
                    raise Broken(f"field {number} is a number")
                yield value

    def numbers(self, number: int) -> Iterator[int]:
        """The fields with this number that hold a number. Raises Broken."""
        for found, value in self.fields():
            if found == number:
                if isinstance(value, Span):
                    raise Broken(f"field {number} is not a number")
                yield value

    def string(self, number: int, limit: int = 65536) -> str:
        """The last text with this number, empty where there is none. Raises Broken."""
        found = ""
        for child in self.children(number):
            found = child.text(limit)
        return found

    def number(self, number: int) -> int:
        """The last number with this number, 0 where there is none. Raises Broken."""
        found = 0
        for value in self.numbers(number):
            found = value
        return found
