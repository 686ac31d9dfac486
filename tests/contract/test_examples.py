"""The folders beside this file are the tests: valid documents, and invalid ones with their expected report."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild.contract import schemas, validate
from mcwbuild.contract import yaml as strict_yaml
from mcwbuild.contract.errors import Problem
from mcwbuild.contract.jsontext import examine_json

EXAMPLES = Path(__file__).parent / "examples"
DEFINITIONS_ONLY = {"common", "performance"}


def documents(kind: str) -> list[Path]:
    return sorted(path for path in (EXAMPLES / kind).glob("*/*") if path.suffix in (".yaml", ".json"))


def report(path: Path) -> list[Problem]:
    """Every problem that a person is told of this file, which is called by its name alone."""
    examine = examine_json if path.suffix == ".json" else strict_yaml.examine
    document, of_text = examine(path.read_text(encoding="utf-8"), path.name)
    return validate.report(document, of_text, path.parent.name)


def test_every_schema_has_valid_and_invalid_examples() -> None:
    for kind in ("valid", "invalid"):
        assert {path.parent.name for path in documents(kind)} == set(schemas.names()) - DEFINITIONS_ONLY


@pytest.mark.parametrize("path", documents("valid"), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_valid_document_has_no_problem(path: Path) -> None:
    assert report(path) == []


@pytest.mark.parametrize("path", documents("invalid"), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_invalid_document_is_reported_as_expected(path: Path) -> None:
    expected = path.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    assert [str(problem) for problem in report(path)] == expected


def test_every_expectation_belongs_to_a_document() -> None:
    stems = {path.with_suffix("") for path in documents("invalid")}
    assert {path.with_suffix("") for path in (EXAMPLES / "invalid").glob("*/*.expected")} == stems
