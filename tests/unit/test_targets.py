"""`mcwbuild targets`, and several targets from one ONNX file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild import options, plan
from mcwbuild.contract import targets
from tests.support.commands import mcwbuild

ROOT = Path(__file__).parents[2]


def test_the_table_names_every_chip_in_words_and_as_data() -> None:
    words, data = mcwbuild("targets", cwd=ROOT), mcwbuild("targets", "--json", cwd=ROOT)
    assert [row["chip"] for row in data.json] == list(targets.TARGETS)
    assert all(name in words.stdout for name in targets.TARGETS)
    rows = {row["chip"]: row for row in data.json}
    assert rows["rk3568"]["build"] == "rk3566"
    assert "integers only" in rows["rv1103"]["fp16_reason"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("rk3566", "rk3568", True), ("rk3588", "rk3588s", True), ("rk3566", "rk3588", False), ("rk3566", "rk9", False)],
)
def test_some_chips_share_a_build(one: str, other: str, same: bool) -> None:
    assert targets.same_build(one, other) is targets.same_build(other, one) is same


def steps(wanted: str) -> tuple[plan.Step, ...]:
    chosen = options.resolve({"target": wanted, "data": "data.yaml"}, {}, Path("/"))
    return plan.rknn_steps(Path("best.onnx"), Path("onnx_source.yaml"), None, chosen, None, Path("out"))


def test_targets_that_share_a_build_are_built_once() -> None:
    first, other, taken = steps("rk3568,rk3588,rk3566")
    assert [dict(step.inputs).get("--shared") for step in (first, other)] == [None, None]
    assert dict(taken.inputs)["--shared"] == first.package == Path("out/rk3568/rknn_package")
    assert taken.options == ("--target", "rk3566")
    assert not taken.images
    assert taken.package == Path("out/rk3566/rknn_package")


def test_one_of_them_alone_is_built_for_itself() -> None:
    (only,) = steps("rk3568")
    assert "--shared" not in dict(only.inputs)
    assert only.options[:2] == ("--target", "rk3568")
