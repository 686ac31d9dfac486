"""Several checks, one error."""

from __future__ import annotations

from typing import NoReturn

import pytest

from mcwbuild.contract.errors import ContractBroken, InputError, McwbuildError, Problem, Refused
from stages.common.device import cpu_model, versions
from stages.common.together import together


def failing(error: McwbuildError) -> NoReturn:
    raise error


def test_the_results_come_in_order() -> None:
    assert together(lambda: 1, lambda: None, lambda: "x") == [1, None, "x"]


def test_a_single_failure_comes_through_as_it_is() -> None:
    error = InputError("a", "b", "c")
    with pytest.raises(InputError) as caught:
        together(lambda: 1, lambda: failing(error))
    assert caught.value is error


def test_the_gravest_failure_carries_the_problems_of_all() -> None:
    first = InputError("One.", problems=[Problem("p1", "f1"), Problem("p2", "f1")])
    second = Refused("Two.", "Found.", "Do.")
    third = ContractBroken("Three.", problems=[Problem("p3", "f2")])
    with pytest.raises(Refused) as caught:
        together(lambda: failing(first), lambda: failing(second), lambda: failing(third))
    assert [problem.message for problem in caught.value.problems] == ["p1", "p2", "Two. Found.", "p3"]
    assert "2 more of the inputs" in caught.value.found


def test_a_bug_is_not_collected() -> None:
    with pytest.raises(ZeroDivisionError):
        together(lambda: failing(InputError("a")), lambda: 1 / 0)


def test_the_processor_has_a_name_and_absent_packages_have_no_version(tmp_path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU 3000\n")
    assert cpu_model(tmp_path / "cpuinfo") == "Some CPU 3000"
    assert cpu_model(tmp_path / "absent")
    assert versions("pytest", "no-such-package-here")["no-such-package-here"] is None
