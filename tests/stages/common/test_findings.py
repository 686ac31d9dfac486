"""The detectors on figures that are made up: what speaks, what stays silent, and at which figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from mcwbuild.contract import schemas
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.events import Noted
from stages.common.calibration_findings import facts, judge
from stages.common.contract_findings import trained_size
from stages.common.findings import NAMES, Finding, Name, tell
from stages.common.graph_findings import selection
from stages.common.output_findings import (
    OutputFigures,
    ScoreFigures,
    compression,
    dead_scores,
    judge_outputs,
    not_finite,
)
from stages.common.range_findings import FP16_LARGEST, Joint, Range, joints, overflow

ROOT = Path(__file__).parents[3]


def names(found: list[Finding]) -> list[Name]:
    return [one.name for one in found]


def test_the_schema_and_the_page_know_the_same_names() -> None:
    properties = schemas.schema("performance")["$defs"]["issues"]["items"]["properties"]
    assert tuple(properties["name"]["enum"]) == NAMES == get_args(Name)
    page = (ROOT / "docs" / "findings.md").read_text("utf-8")
    told = [line.removeprefix("### `").removesuffix("`") for line in page.splitlines() if line.startswith("### `")]
    assert sorted(told) == sorted(NAMES)


def test_a_finding_is_an_issue_and_a_line() -> None:
    found = Finding("padding", "It is black.", "Guessed.", "Set it.", {"gain": 0.2})
    assert found.issue("pt") == {
        "phase": "pt",
        "name": "padding",
        "what": "It is black.",
        "cause": "Guessed.",
        "remedy": "Set it.",
        "evidence": {"gain": 0.2},
    }
    told: list[Any] = []
    tell([found], Bench(Path(), Path(), 1, told.append))
    assert told == [Noted("padding: It is black. Set it.", "warning")]


# --- outputs ---------------------------------------------------------------------------------------------------------


def scores_of(reference: list[float], build: list[float]) -> ScoreFigures:
    made = ScoreFigures()
    made.add(np.array(reference), np.array(build))
    return made


@pytest.mark.parametrize(
    ("reference", "build", "dead"),
    [
        ([0.9, 0.8], [], True),
        ([0.9, 0.8], [0.5, 0.5, 0.5], True),
        ([0.9, 0.8], [0.9, 0.7], False),
        ([0.9], [0.9], False),
        ([], [], False),
        ([], [0.5, 0.5], False),
    ],
)
def test_scores_are_dead_where_they_are_nothing_or_constant(
    reference: list[float], build: list[float], dead: bool
) -> None:
    assert (dead_scores("int8", scores_of(reference, build)) is not None) == dead


@pytest.mark.parametrize(("ratio", "speaks"), [(0.6, True), (0.74, True), (0.76, False), (1.0, False), (1.2, False)])
def test_scores_that_shrink_by_a_quarter_are_compressed(ratio: float, speaks: bool) -> None:
    random = np.random.default_rng(3)
    scores = ScoreFigures()
    for _ in range(5):
        reference = random.uniform(0.3, 0.8, 4)
        # What lies below the reference's confidence is a candidate of the build too, and no partner of any.
        scores.add(reference, np.concatenate([reference * ratio, random.uniform(0, 0.1, 50)]))
    found = compression("int8", scores)
    assert (found is not None) == speaks
    if found:
        assert found.evidence["ratio"] == pytest.approx(ratio, abs=1e-3)
        assert sum(found.evidence["reference_histogram"]) == sum(found.evidence["build_histogram"]) == 20


def test_few_scores_tell_nothing_of_compression() -> None:
    assert compression("int8", scores_of([0.8] * 9, [0.1] * 9)) is None
    assert compression("int8", scores_of([0.8] * 10, [0.1] * 10)) is not None


def test_a_reference_object_that_the_build_lacks_counts_as_nothing() -> None:
    found = compression("int8", scores_of([0.8] * 20, [0.8] * 9))
    assert found is not None
    assert found.evidence["ratio"] == 0.0


def figures(reference: np.ndarray, build: np.ndarray) -> OutputFigures:
    made = OutputFigures("out")
    for one, other in zip(reference, build, strict=True):
        made.add(one[None], other[None])
    return made


def outputs(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 10, (6, 4, 20, 20)).astype(np.float32)


def quantized(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """As INT8 has it: 255 steps from `low` to `high`, all else clipped."""
    step = (high - low) / 255
    return (np.round(np.clip(values, low, high) / step) * step).astype(np.float32)


def test_a_range_that_holds_everything_is_not_saturated() -> None:
    values = outputs()
    one = figures(values, quantized(values, float(values.min()), float(values.max())))
    assert one.clipped == 0
    assert judge_outputs("int8", [one], None) == []


def test_a_range_that_is_too_small_is_saturated() -> None:
    values = outputs()
    (found,) = judge_outputs("int8", [figures(values, quantized(values, -12.0, 12.0))], scores_of([], []))
    assert found.name == "saturated-output"
    beyond = float((np.abs(values) > 12 + 2.4).mean())  # a tenth of the range may be missed
    assert found.evidence["share"] == pytest.approx(beyond, abs=0.02)


def test_a_range_that_is_a_little_too_small_is_usual() -> None:
    values = outputs()
    limit = float(np.abs(values).max()) * 0.85
    assert judge_outputs("int8", [figures(values, quantized(values, -limit, limit))], None) == []


def test_a_few_values_beyond_the_range_say_nothing() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, (20, 6, 1, 1)).astype(np.float32)
    values[:9, 0] = 5.0
    assert judge_outputs("int8", [figures(values, quantized(values, -1, 1))], None) == []
    values[:10, 0] = 5.0
    (found,) = judge_outputs("int8", [figures(values, quantized(values, -1, 1))], None)
    assert found.name == "saturated-output"


def test_a_value_in_a_thousand_may_be_clipped() -> None:
    values = outputs()
    limit = float(np.quantile(np.abs(values), 0.999))
    assert judge_outputs("int8", [figures(values, quantized(values, -limit, limit))], None) == []


def test_a_channel_that_is_lost_in_anothers_range_is_dead() -> None:
    values = np.abs(outputs())
    values[:, 2:] /= 1000  # scores beside boxes
    built = quantized(values, 0, float(values.max()))
    (found,) = judge_outputs("int8", [figures(values, built)], None)
    assert found.name == "dead-scores"
    assert (found.evidence["channels"], found.evidence["first"]) == (2, 2)
    assert judge_outputs("int8", [figures(values, built)], scores_of([0.9], [0.9])) == []  # of scores, scores decide


def test_values_that_are_not_finite_are_left_out_of_ranges_and_told() -> None:
    values = outputs()
    built = values.copy()
    built[0, 0, 0, 0] = np.nan
    built[1, 1, 0, 0] = np.inf
    assert judge_outputs("fp16", [figures(values, built)], None) == []
    assert not_finite("fp16", []) is None
    told = not_finite("fp16", ["a.png", "b.png"])
    assert told is not None
    assert told.evidence == {"variant": "fp16", "images": 2, "first": "a.png"}


# --- activations -----------------------------------------------------------------------------------------------------


def tensor(name: str, low: float, high: float, op: str = "Conv") -> Range:
    return Range(name, op, f"/{name}", low, high)


@pytest.mark.parametrize(
    ("high", "speaks"), [(100.0, False), (FP16_LARGEST / 2.1, False), (FP16_LARGEST / 1.9, True), (np.inf, True)]
)
def test_half_of_what_fp16_holds_is_where_it_speaks(high: float, speaks: bool) -> None:
    found = overflow([tensor("a", 0, 1), tensor("b", -1, high), tensor("c", -high, 0)], 4)
    assert (found is not None) == speaks
    if found:
        assert found.evidence["layer"] == "/b"
        assert found.evidence["value"] == (high if np.isfinite(high) else "infinity")


def test_overflow_that_is_not_there_yet_is_told_so() -> None:
    found = overflow([tensor("a", 0, 40_000)], 4)
    assert found is not None
    assert "close to the end" in found.what
    assert found.evidence["beyond"] == 0


def test_parts_of_one_size_fit_together() -> None:
    assert joints([Joint("j", "/j", (tensor("a", 0, 3), tensor("b", -6, 6)))], 4) == []


def test_boxes_and_scores_in_one_output_are_called_so() -> None:
    boxes, scores = tensor("boxes", 0, 640, "Mul"), tensor("scores", 0, 0.9, "Sigmoid")
    (found,) = joints([Joint("output0", "/cat", (boxes, scores), "output0")], 4)
    assert found.name == "mixed-output"
    assert found.evidence["ratio"] == pytest.approx(640 / 0.9, abs=0.01)
    (inner,) = joints([Joint("j", "/cat", (boxes, scores)), Joint("k", "/two", (boxes, scores))], 4)
    assert (inner.name, inner.evidence["layers"]) == ("concat-range", 2)


def test_a_part_that_never_varies_starves_of_nothing() -> None:
    assert joints([Joint("j", "/j", (tensor("a", 0, 640), tensor("b", 0, 0)), "out")], 4) == []


def test_selection_in_the_graph_is_named() -> None:
    assert selection([("Conv", "/a"), ("Concat", "/b")]) is None
    found = selection([("Conv", "/a"), ("TopK", "/b"), ("NonMaxSuppression", "/c")])
    assert found is not None
    assert found.evidence == {"operators": ["NonMaxSuppression", "TopK"], "layers": ["/b", "/c"]}


# --- calibration sets ------------------------------------------------------------------------------------------------


def photographs(count: int, seed: int, brightness: float = 128.0) -> list[Any]:
    """Facts of smooth images that reach black and white, all of one kind."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        ramp = np.linspace(-40, 40, 64)[None, :, None] * random.uniform(0.5, 1) + random.normal(0, 15)
        image = np.clip(brightness + ramp + random.normal(0, 3, (48, 64, 3)), 1, 254).astype(np.uint8)
        image[0, 0], image[0, 1] = 0, 255
        made.append(facts(image))
    return made


def test_images_of_one_kind_are_alike_and_of_another_are_not() -> None:
    for seed in range(20):
        assert judge(photographs(30, seed), photographs(24, seed + 100), []) == []
    (found,) = judge(photographs(30, 1, brightness=50.0), photographs(24, 2, brightness=190.0), [])
    assert found.name == "calibration-unlike"
    assert {row["name"] for row in found.evidence["statistics"]} == {f"mean of channel {n}" for n in range(3)}


def test_noise_is_told_by_its_roughness_whatever_its_brightness() -> None:
    random = np.random.default_rng(5)
    noise = [facts(np.clip(random.normal(128, 26, (48, 64, 3)), 0, 255).astype(np.uint8)) for _ in range(30)]
    found = judge(noise, photographs(24, 2), [])
    assert found[0].name == "calibration-unlike"
    assert found[0].evidence["statistics"][0]["name"] == "roughness"


def test_few_images_cannot_be_called_unlike() -> None:
    assert "calibration-unlike" not in names(judge(photographs(3, 1, 50.0), photographs(24, 2, 190.0), []))


def test_too_few_leaks_and_missing_extremes_are_told() -> None:
    grey = [facts(np.full((8, 8, 3), 100, np.uint8))] * 5
    found = judge(grey, [], ["a.png"])
    assert names(found) == ["calibration-leak", "calibration-few", "calibration-range"]
    assert [one.level for one in found] == ["warning", "warning", "info"]
    assert found[2].evidence == {"variant": "int8", "missing": [0, 255]}
    assert judge(photographs(20, 1), [], []) == []


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "trained", "speaks"),
    [
        ([640, 640], 640, False),
        ([384, 640], 640, False),
        ([320, 320], 640, True),
        ([608, 608], 640, False),
        ([1280, 1280], 640, True),
        ([640, 640], [640, 480], False),
        ([640, 640], "640", False),
        ([640, 640], None, False),
    ],
)
def test_the_input_is_as_large_as_in_the_training(size: list[int], trained: Any, speaks: bool) -> None:
    found = trained_size({"input": {"size": size}, "training": {"imgsz": trained}})
    assert (found is not None) == speaks
    assert trained_size({"input": {"size": size}}) is None
