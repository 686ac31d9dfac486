"""Inheritance: every change of a critical value is found, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcwbuild.contract import inherit, schemas, yaml
from mcwbuild.contract.errors import ContractBroken, ExitCode
from mcwbuild.contract.jsontext import load_json
from mcwbuild.contract.marks import Document
from tests.unit.contract.strategies import LEAVES, sources

SOURCE = """\
model: {name: m, type: YOLO11, task: object_detection}
classes: {names: [a, b], num_classes: 2}
input:
  size: [640, 640]
  format: RGB
preprocessing:
  resize: {method: letterbox}
  normalize: {mean: [0, 0, 0], std: [255, 255, 255]}
"""


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def numbers_as_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: numbers_as_floats(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [numbers_as_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def equal_by_value(a: Any, b: Any) -> bool:
    """Equal with booleans kept apart from numbers, which Python does not."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal_by_value, a, b))
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


@settings(max_examples=300)
@given(sources(), st.data())
def test_any_change_of_a_critical_value_is_found_and_named(source: dict[str, Any], data: st.DataObject) -> None:
    path: tuple[Any, ...] = data.draw(st.sampled_from(schemas.critical_paths()))
    old = inherit.value_at(source, path)
    field = ".".join(path)
    if isinstance(old, list) and data.draw(st.booleans()):
        path = (*path, data.draw(st.integers(0, len(old) - 1)))
        old = old[path[-1]]
    new = data.draw(LEAVES | st.just([old]) | st.just({"a": old}) | st.just(str(old)))
    assume(not equal_by_value(old, new))
    changed = put(source, path, new)
    assert [difference.field for difference in inherit.differences(source, changed)] == [field]
    assert inherit.contract_sha256(source) != inherit.contract_sha256(changed)


@given(sources(), st.sampled_from(schemas.critical_paths()))
def test_a_critical_value_that_was_removed_is_found(source: dict[str, Any], path: tuple[str, ...]) -> None:
    changed = json.loads(json.dumps(source))
    del inherit.value_at(changed, path[:-1])[path[-1]]
    (difference,) = inherit.differences(source, changed)
    assert difference.field == ".".join(path)
    assert difference.b is None


@given(sources())
def test_the_same_values_written_in_another_way_are_no_difference(source: dict[str, Any]) -> None:
    others = [
        yaml.load(yaml.dump(source), "f").value,
        load_json(json.dumps(source, indent=3, sort_keys=True), "f").value,
        numbers_as_floats(source),
        {**source, "training": {"epochs": 3}, "model": {**source["model"], "name": "other"}},
    ]
    for other in others:
        assert inherit.differences(source, other) == []
        assert inherit.contract_sha256(source) == inherit.contract_sha256(other)


@given(sources())
def test_what_is_carried_to_the_next_phase_is_the_same_contract(source: dict[str, Any]) -> None:
    first = inherit.carry({**source, "training": {"epochs": 3}})
    second = inherit.carry(yaml.load(yaml.dump(first), "f").value)
    assert second == first
    assert "training" not in first
    assert first["model"] == source["model"]
    assert first["contract_sha256"] == inherit.contract_sha256(source)
    assert inherit.own_hash(Document(first, "f")) is None


def test_carrying_copies_and_shares_nothing() -> None:
    source = yaml.load(SOURCE, "f").value
    for made in (inherit.carry(source), inherit.critical(source), inherit.complete(source)):
        made["classes"]["names"].append("c")
        made["model"]["author"] = "x"
    assert source == yaml.load(SOURCE, "f").value


def test_zero_is_zero_and_true_is_not_one() -> None:
    source = inherit.complete(yaml.load(SOURCE, "f").value)
    mean = ("preprocessing", "normalize", "mean")
    assert inherit.differences(source, put(source, mean, [0.0, -0.0, 0])) == []
    one, true = (put(source, ("classes", "num_classes"), value) for value in (1, True))
    assert [difference.field for difference in inherit.differences(one, true)] == ["classes.num_classes"]


def test_values_that_were_left_out_equal_their_written_defaults() -> None:
    short = yaml.load(SOURCE, "f")
    whole = inherit.complete(short.value)
    assert whole["input"] == {"size": [640, 640], "format": "RGB", "channels": 3, "dtype": "float32", "layout": "NCHW"}
    assert whole["preprocessing"]["padding"] == {"enabled": True, "color": [114, 114, 114], "position": "center"}
    assert whole["preprocessing"]["normalize"]["enabled"] is True
    inherit.compare(short, whole, "onnx", "pt")
    assert inherit.contract_sha256(short.value) == inherit.contract_sha256(whole)


def test_a_stretched_image_has_no_padding() -> None:
    source = yaml.load(SOURCE.replace("letterbox", "direct").replace("RGB", "Grayscale"), "f").value
    whole = inherit.complete(source)
    assert whole["preprocessing"]["padding"] == {"enabled": False}
    assert whole["input"]["channels"] == 1


@given(
    st.recursive(
        LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["input", "model", "a"]), inner)
    )
)
def test_completing_takes_any_document_as_it_comes(data: Any) -> None:
    source = data if isinstance(data, dict) else {"input": data, "preprocessing": {"padding": data}}
    inherit.own_hash(Document({**source, "contract_sha256": "x"}, "f"))
    assert inherit.differences(source, source) == []


def test_a_difference_names_field_file_line_phase_and_both_values() -> None:
    edited = yaml.load(SOURCE, "onnx_source.yaml")
    written = put(inherit.complete(edited.value), ("input", "size"), [416, 416])
    with pytest.raises(ContractBroken) as caught:
        inherit.compare(edited, written, "onnx", "onnx", "best.onnx")
    assert caught.value.code == ExitCode.GATE
    (problem,) = caught.value.problems
    assert str(problem) == (
        "onnx_source.yaml:4:9 $.input.size: input.size is [640, 640] in onnx_source.yaml:4 but [416, 416] in best.onnx "
        "(metadata, written by the onnx phase). It may not change between phases "
        "(export again from the first, or retrain)"
    )
    assert "input.size" in str(caught.value)


def test_two_documents_are_compared_with_both_places() -> None:
    first = yaml.load(SOURCE, "training_source.yaml")
    second = yaml.load(SOURCE.replace("[a, b]", "[b, a]").replace("RGB", "BGR"), "onnx_source.yaml")
    with pytest.raises(ContractBroken) as caught:
        inherit.compare(second, first, "onnx", "pt")
    assert [problem.path for problem in caught.value.problems] == ["$.classes.names", "$.input.format"]
    assert 'input.format is "BGR" in onnx_source.yaml:5 but "RGB" in training_source.yaml:5' in str(
        caught.value.problems[1]
    )


def test_an_edit_after_the_hash_was_written_is_told() -> None:
    source = inherit.carry(yaml.load(SOURCE, "f").value)
    document = yaml.load(yaml.dump(source).replace("RGB", "BGR"), "onnx_source.yaml")
    problem = inherit.own_hash(document)
    assert problem is not None
    assert (problem.line, problem.path) == (1, "$.contract_sha256")
    assert "begin a new contract" in (problem.hint or "")


def test_a_free_value_may_change_after_the_hash_was_written() -> None:
    source = {**inherit.carry(yaml.load(SOURCE, "f").value), "training": {"epochs": 1}}
    assert inherit.own_hash(Document(source, "f")) is None
