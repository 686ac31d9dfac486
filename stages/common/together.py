"""Several checks of a stage's inputs, all of them made before the first failure is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcwbuild.contract.errors import McwbuildError, Problem, gravest


def together(*checks: Callable[[], Any]) -> list[Any]:
    """The results of the checks, in their order.

    Raises one error where any failed: its class is the gravest one's, its problems are all of them.
    """
    results: list[Any] = []
    errors: list[McwbuildError] = []
    for check in checks:
        try:
            results.append(check())
        except McwbuildError as error:
            errors.append(error)
    if not errors:
        return results
    worst = gravest(errors)
    if len(errors) == 1:
        raise worst
    problems = [problem for error in errors for problem in _findings(error)]
    found = f"{worst.found} {len(errors) - 1} more of the inputs cannot be used.".strip()
    raise type(worst)(worst.what, found, worst.remedy, kind=worst.kind, problems=problems) from worst


def _findings(error: McwbuildError) -> tuple[Problem, ...]:
    return error.problems or (Problem(f"{error.what} {error.found}"),)
