"""Documents against their schemas: every problem at once, in sentences, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mcwbuild.contract import consistency, documents, explain, inherit, schemas
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.marks import Document


def check(document: Document, schema_name: str) -> list[Problem]:
    """Every problem of the document, in the order of the file. Raises KeyError for an unknown schema."""
    errors = list(_validator(schema_name).iter_errors(document.value))
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    problems = []
    for error in errors:
        if error.validator == "type" or tuple(error.absolute_path) not in mistyped:
            problems += explain.explain(error, document, schema_name)
    problems += consistency.check(document, schema_name)
    unique = {(p.path, p.message): p for p in reversed(problems)}
    return sorted(unique.values(), key=_order)


@cache
def _validator(schema_name: str) -> Any:
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def unique(_validator: Any, wanted: bool, values: Any, _schema: Any) -> Iterator[ValidationError]:
        """As the library's own, but not in quadratic time."""
        if wanted and isinstance(values, list) and len({inherit.canonical(v) for v in values}) != len(values):
            yield ValidationError("repeated")

    strict = extend(Draft202012Validator, {"uniqueItems": unique})  # type: ignore[no-untyped-call]
    return strict(schemas.schema(schema_name), registry=schemas.registry())


def require(document: Document, schema_name: str) -> None:
    """Raises InputError with every problem of the document, if there is one."""
    if problems := check(document, schema_name):
        raise refusal([document.file], problems)


def require_all(wanted: Iterable[tuple[Path, str]]) -> list[Document]:
    """Read and check several documents. Raises one InputError with every problem of every file."""
    found: list[Document] = []
    problems: list[Problem] = []
    files = []
    for path, schema_name in wanted:
        document, of_text = documents.examine(path)
        if wrong := report(document, of_text, schema_name):
            problems += wrong
            files.append(str(path))
        elif document is not None:
            found.append(document)
    if problems:
        raise refusal(files, problems)
    return found


def source_schema(path: Path) -> str:
    """The schema of a source document that may be a training or an ONNX one: the second has an `onnx` block."""
    document, _ = documents.examine(path)
    value = None if document is None else document.value
    return "onnx_source" if isinstance(value, dict) and "onnx" in value else "training_source"


def report(document: Document | None, of_text: list[Problem], schema_name: str) -> list[Problem]:
    """The problems of a document's text and of its values together, as `documents.examine` gave both.

    Where the text is at fault, nothing is said about the value that stands in its place.
    """
    if document is None:
        return of_text
    taken = {(problem.line, problem.column) for problem in of_text}
    of_values = [problem for problem in check(document, schema_name) if (problem.line, problem.column) not in taken]
    return sorted(of_text + of_values, key=_order)


def _order(problem: Problem) -> tuple[int, int, str, str]:
    return problem.line or 0, problem.column or 0, problem.path or "", problem.message


def refusal(files: list[str], problems: list[Problem], kind: str = "document") -> InputError:
    """The one error for everything that is wrong in these files."""
    many = len(files) > 1
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return InputError(
        f"{' and '.join(files)} {'are' if many else 'is'} not as {'they' if many else 'it'} should be.",
        f"{count} found.",
        "Correct the places named.",
        kind=kind,
        problems=problems,
    )
