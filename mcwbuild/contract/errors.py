"""Every error that people can meet, each with its exit code and its three sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """Exit codes, the same for the orchestrator and for a stage run alone."""

    DONE = 0
    BUG = 1
    INPUT = 2
    GATE = 3
    STAGE = 4
    ENVIRONMENT = 5
    REFUSED = 6
    BATCH = 7
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True)
class Problem:
    """One finding in one document: `file:line:column $.path: message (hint)`."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        start = " ".join(part for part in (place, self.path) if part)
        return (f"{start}: " if start else "") + self.message + (f" ({self.hint})" if self.hint else "")


class McwbuildError(Exception):
    """What failed, what was found, what to do; `problems` holds every finding at once.

    `kind` is a finer word than the exit code, for programs: `contract`, `out-of-memory`, ...
    """

    code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(
        self, what: str, found: str = "", remedy: str = "", *, kind: str = "", problems: Iterable[Problem] = ()
    ) -> None:
        self.what, self.found, self.remedy, self.kind = what, found, remedy, kind
        self.problems = tuple(problems)
        self.log: str | None = None  # of the step that ended so
        super().__init__(" ".join(sentence for sentence in (what, found, remedy) if sentence))

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON data, the form in which it crosses from a stage to the orchestrator."""
        return {
            "error": type(self).__name__,
            "code": int(self.code),
            "kind": self.kind,
            "what": self.what,
            "found": self.found,
            "remedy": self.remedy,
            "problems": [asdict(problem) for problem in self.problems],
        }


class InputError(McwbuildError):
    """Usage, or an input that cannot be read or breaks its schema."""

    code = ExitCode.INPUT


class GateFailed(McwbuildError):
    """A measured value missed its gate; what was made is kept."""

    code = ExitCode.GATE


class ContractBroken(McwbuildError):
    """A critical value differs between two phases."""

    code = ExitCode.GATE


class StageFailed(McwbuildError):
    """The stage could not do its work: operator, toolkit, memory."""

    code = ExitCode.STAGE


class EnvironmentLacking(McwbuildError):
    """The machine lacks something: Python, a wheel, Docker, disk."""

    code = ExitCode.ENVIRONMENT


class Refused(McwbuildError):
    """Unsafe or tampered with."""

    code = ExitCode.REFUSED


KINDS: dict[str, type[McwbuildError]] = {
    kind.__name__: kind
    for kind in (McwbuildError, InputError, GateFailed, ContractBroken, StageFailed, EnvironmentLacking, Refused)
}
_PRECEDENCE = (ExitCode.REFUSED, ExitCode.GATE, ExitCode.INPUT, ExitCode.STAGE)


def from_dict(data: Mapping[str, Any]) -> McwbuildError:
    """The typed error again, from `as_dict`. Raises KeyError or TypeError where `data` is not one."""
    return KINDS[data["error"]](
        data["what"],
        data["found"],
        data["remedy"],
        kind=data["kind"],
        problems=[Problem(**problem) for problem in data["problems"]],
    )


def gravest(errors: Iterable[McwbuildError]) -> McwbuildError:
    """The error whose exit code wins when several stand at once: refused, gate, input, stage, others."""

    def rank(error: McwbuildError) -> int:
        return _PRECEDENCE.index(error.code) if error.code in _PRECEDENCE else len(_PRECEDENCE)

    return min(errors, key=rank)
