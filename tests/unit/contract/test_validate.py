"""Validation: every problem at once, whatever the document is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcwbuild.contract import documents, schemas, validate, yaml
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.marks import Document
from tests.unit.contract.strategies import DATA, sources

DOCUMENTS = [name for name in schemas.names() if "properties" in schemas.schema(name)]


def leaf_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [below for key, item in items for below in leaf_paths(item, (*path, key))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@given(sources())
def test_a_whole_source_is_valid_also_after_a_round_trip(source: dict[str, Any]) -> None:
    assert validate.check(yaml.load(yaml.dump(source), "f.yaml"), "training_source") == []


@settings(max_examples=300)
@given(sources(), st.data())
def test_a_source_with_any_part_replaced_is_judged_and_never_crashes(
    source: dict[str, Any], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(leaf_paths(source)))
    document = yaml.load(yaml.dump(put(source, path, data.draw(DATA))), "f.yaml")
    for problem in validate.check(document, "training_source"):
        assert str(problem).isascii()
        assert "\n" not in str(problem)
        assert problem.path is not None


@settings(max_examples=50)
@given(DATA, st.sampled_from(DOCUMENTS))
def test_any_data_against_any_schema_is_judged(data: Any, name: str) -> None:
    problems = validate.check(Document(data, "f"), name)
    assert problems or isinstance(data, dict)


def test_problems_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("zzz: 1\nmodel: 3\nclasses: 4\naaa: 2\n")
    found = validate.check(documents.read_yaml(tmp_path / "a.yaml"), "training_source")
    lines = [problem.line or 0 for problem in found]
    assert lines == sorted(lines)
    assert {1, 2, 3, 4} <= set(lines)


def test_several_files_are_reported_in_one_error(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [\n")
    (tmp_path / "wrong.yaml").write_text("target: 3\nfoo: 1\n")
    (tmp_path / "good.yaml").write_text("target: rk3588\n")
    wanted = [(tmp_path / name, "mcwbuild") for name in ("missing.yaml", "broken.yaml", "good.yaml", "wrong.yaml")]
    with pytest.raises(InputError) as caught:
        validate.require_all(wanted)
    files = [Path(problem.file or "").name for problem in caught.value.problems]
    assert files == ["missing.yaml", "broken.yaml", "wrong.yaml", "wrong.yaml"]
    assert "good.yaml" not in caught.value.what


def test_documents_that_are_right_come_back(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("target: rk3588\n")
    (document,) = validate.require_all([(tmp_path / "good.yaml", "mcwbuild")])
    assert document.value == {"target": "rk3588"}
    validate.require(document, "mcwbuild")


def test_ten_thousand_wrong_values_take_no_quadratic_time() -> None:
    names = [n if n % 2 else f"n{n}" for n in range(10_000)]
    problems = validate.check(Document({"classes": {"names": names, "num_classes": 10_000}}, "f"), "training_source")
    assert sum("must be text" in problem.message for problem in problems) == 5_000


def test_equal_numbers_of_another_type_are_one_value() -> None:
    target = validate.check(Document({"target": ["rk3588", "rk3588"]}, "f"), "mcwbuild")
    assert [problem.path for problem in target] == ["$.target[1]"]
