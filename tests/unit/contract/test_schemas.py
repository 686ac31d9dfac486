"""The schemas themselves, and the table that is generated from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from mcwbuild.contract import assets, performance, schemas
from mcwbuild.contract.inherit import CHANNELS
from mcwbuild.contract.marks import Document
from mcwbuild.contract.phases import PHASES, PhaseName
from mcwbuild.contract.validate import check

OPEN = {"training", "dataset", "architecture", "performance", "runtime"}


def nodes(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every mapping in a schema, with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from nodes(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, (*path, str(index)))


ALL = [(name, path, node) for name in schemas.names() for path, node in nodes(schemas.schema(name))]


@pytest.mark.parametrize("name", schemas.names())
def test_every_schema_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schemas.schema(name))
    assert schemas.schema(name)["$id"] == f"{name}.schema.json"
    assert schemas.schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", [name for name in schemas.names() if "properties" in schemas.schema(name)])
def test_every_leaf_has_a_category_and_a_description(name: str) -> None:
    fields = schemas.fields(name)
    assert fields
    for field in fields:
        assert field.category in schemas.CATEGORIES
        assert field.definition["description"]


def ends(definition: Mapping[str, Any], home: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths at which a schema ends without a category."""
    definition, home = schemas.resolve(definition, home)
    below = dict(definition.get("properties", {}))
    if "x-category" not in definition and not below:
        yield path
    for key, value in below.items() if "x-category" not in definition else ():
        yield from ends(value, home, (*path, key))


@pytest.mark.parametrize("name", [name for name in schemas.names() if "properties" in schemas.schema(name)])
def test_every_way_down_ends_at_a_category(name: str) -> None:
    assert list(ends(schemas.schema(name), name, ())) == []


def test_no_other_keys_are_accepted_outside_the_reference_blocks() -> None:
    for name, path, node in ALL:
        conditional = {"if", "then", "else"} & set(path)
        if node.get("type") == "object" and "properties" in node and not conditional and "x-category" not in node:
            closed = node.get("additionalProperties") is False
            assert closed or path[-1] in OPEN, f"{name}: {'/'.join(path)}"


def test_references_stay_inside_and_conditions_are_readable() -> None:
    for name, path, node in ALL:
        assert not {"oneOf", "anyOf", "$dynamicRef"} & set(node), (name, path)
        if "$ref" in node and isinstance(node["$ref"], str):
            definition, home = schemas.resolve(node, name)
            assert home in schemas.names()
            assert definition


def test_patterns_do_not_accept_a_newline_at_the_end() -> None:
    patterns = [node["pattern"] for _, _, node in ALL if isinstance(node.get("pattern"), str)]
    assert patterns
    assert all(pattern.startswith("^") and pattern.endswith("$(?!\\n)") for pattern in patterns)


def test_there_are_nineteen_critical_values_and_all_sources_share_them() -> None:
    expected = set(schemas.critical_paths())
    assert len(schemas.critical_paths()) == len(expected) == 19
    for phase in PHASES.values():
        found = {field.path for field in schemas.fields(phase.source_schema) if field.category == "critical"}
        assert found == expected


def test_the_readme_is_the_generated_table() -> None:
    written = (assets.schemas_dir() / "README.md").read_text(encoding="utf-8")
    assert written == schemas.field_table(), "run: python -m mcwbuild.contract.schemas > schemas/README.md"


def test_the_table_says_what_each_phase_forbids() -> None:
    rows = [line.split(" | ") for line in schemas.field_table().splitlines()]
    places = {row[0].strip("|` "): row[1:5] for row in rows if len(row) == 6}
    assert places["onnx.file"] == ["recorded", "forbidden", "required", "optional"]
    assert places["input.size"] == ["critical", "required", "required", "required"]
    assert places["rknn.platform.target"] == ["configurable", "forbidden", "forbidden", "required"]
    assert places["training"] == ["recorded", "optional", "optional", "optional"]


def test_closed_sets_in_code_and_schemas_are_the_same() -> None:
    manifest, record = schemas.schema("manifest"), schemas.schema("performance")["$defs"]
    assert set(manifest["properties"]["phase"]["enum"]) == set(PHASES) == set(get_args(PhaseName))
    assert set(record["validation"]["properties"]["status"]["enum"]) == set(get_args(performance.Status))
    form = schemas.schema("common")["$defs"]["input"]["properties"]["format"]
    assert set(form["enum"]) == set(CHANNELS)
    for phase in PHASES.values():
        assert {phase.source_schema, phase.performance_schema} <= set(schemas.names())


def test_an_unknown_schema_is_an_error_and_no_file_is_looked_up() -> None:
    with pytest.raises(KeyError):
        schemas.schema("../common")


def test_a_reference_to_the_network_cannot_be_followed() -> None:
    from referencing.exceptions import Unresolvable

    with pytest.raises(Unresolvable):
        schemas.registry().resolver().lookup("https://json-schema.org/draft/2020-12/schema")


def test_a_document_of_another_version_is_told_so() -> None:
    (problem,) = (p for p in check(Document({"schema": "manifest/2"}, "f"), "manifest") if p.path == "$.schema")
    assert "reads manifest/1" in problem.message
