"""What is tried next, from made-up histories: no toolkit, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stages.rknn.job import Quantization
from stages.rknn.tune import choice, plan, trial
from stages.rknn.tune.plan import Layer, Question
from stages.rknn.tune.trial import Trial

PLAIN = Quantization("normal", "channel", 50)
# Twelve convolutions in a row; the third loses most, by its own weights or by what it reads.
LAYERS = tuple(
    Layer((f"c{place}", f"r{place}"), error, 1000, 10, (place - 1,) if place else ())
    for place, error in enumerate((0.001, 0.004, 0.2, 0.0, 0.002, 0.003, *[0.0] * 6))
)
Passes = Callable[[Quantization], bool]


def after(chosen: Quantization, verdict: trial.Verdict, snr: float = 5.0) -> Trial:
    return Trial("int8", "", chosen, verdict, "", 1.0, snr_db=snr, accuracy=0.5, drop=20.0, limit=5.0)


def course(asked: Question, passes: Passes, layers: tuple[Layer, ...] = LAYERS) -> list[Trial]:
    """The whole search, each try judged by `passes`; layers are known from the second try on."""
    tried: list[Trial] = []
    while (step := plan.following(asked, tried, layers if len(tried) > 1 else ())) is not None:
        chosen = step.quantization
        share = 1.0 if not chosen.layers else 1 - len(chosen.layers) / 24
        if chosen.auto_hybrid is not None:
            share = 0.5
        made = replace(after(chosen, "passed" if passes(chosen) else "failed"), name=f"int8-{len(tried) + 1}")
        tried.append(replace(made, int8_share=share, cycles=round(12000 + 12000 * (1 - share)), size=1))
        assert len(tried) < 100
    return tried


def layers_of(chosen: Quantization) -> set[str]:
    return {name for name, _ in chosen.layers}


def test_a_plain_build_that_passes_is_the_only_one() -> None:
    assert [one.quantization for one in course(Question("fast", PLAIN), lambda chosen: True)] == [PLAIN]


def test_what_costs_nothing_on_the_chip_is_tried_first() -> None:
    tried = course(Question("fast", PLAIN), lambda chosen: chosen.algorithm == "kl_divergence")
    assert [one.quantization for one in tried] == [PLAIN, replace(PLAIN, algorithm="kl_divergence")]


def test_the_layer_with_most_error_per_cost_is_the_first_in_a_finer_type() -> None:
    tried = course(Question("fast", PLAIN), lambda chosen: "c2" in layers_of(chosen))
    assert [layers_of(one.quantization) for one in tried] == [set(), set(), {"c2", "r2"}]


def test_a_layer_whose_input_is_the_trouble_takes_what_it_reads_with_it() -> None:
    tried = course(Question("fast", PLAIN), lambda chosen: {"c1", "c2"} <= layers_of(chosen))
    passed = next(one for one in tried if one.verdict == "passed")
    assert layers_of(passed.quantization) == {"c1", "r1", "c2", "r2"}


def test_layers_that_were_not_needed_are_taken_back() -> None:
    cheap = tuple(replace(layer, cycles=1 if place != 3 else 6000) for place, layer in enumerate(LAYERS))
    tried = course(Question("full", PLAIN), lambda chosen: {"c2", "c5"} <= layers_of(chosen), cheap)
    best = choice.best(tried)
    assert best is not None
    assert best.verdict == "passed"
    assert layers_of(best.quantization) == {"c2", "r2", "c5", "r5"}


@pytest.mark.parametrize("effort", ["fast", "full"])
def test_a_search_ends_tries_nothing_twice_and_is_the_same_again(effort: plan.Effort) -> None:
    asked = Question(effort, PLAIN, ("float16", "int16"))
    tried = course(asked, lambda chosen: len(chosen.layers) == 24)
    made = [one.quantization for one in tried]
    assert len(made) == len(set(made))
    assert tried == course(asked, lambda chosen: len(chosen.layers) == 24)
    assert "passed" in {one.verdict for one in tried}


def test_mmse_is_the_last_one_of_fast_and_never_after_one_that_passed() -> None:
    never = course(Question("fast", PLAIN, ("int16",)), lambda chosen: False)
    assert [one.quantization.algorithm for one in never].index("mmse") == len(never) - 1
    for needed in range(1, len(never) - 1):
        wanted = never[needed].quantization
        tried = course(Question("fast", PLAIN, ("int16",)), lambda chosen, wanted=wanted: chosen == wanted)  # type: ignore[misc]
        assert "mmse" not in {one.quantization.algorithm for one in tried}


def test_where_even_float16_fails_nothing_more_is_tried() -> None:
    tried = course(Question("fast", PLAIN), lambda chosen: False)
    assert len(tried[-1].quantization.layers) == 24
    assert "no mixture can pass" in plan.ended(tried, LAYERS)


def test_a_chip_of_integers_gets_no_float16() -> None:
    for one in course(Question("full", PLAIN, ("int16",)), lambda chosen: False):
        assert {kind for _, kind in one.quantization.layers} <= {"int16"}
        assert one.quantization.auto_hybrid is None


def test_one_that_is_likely_to_pass_ends_fast_soon_and_is_taken() -> None:
    asked = Question("fast", PLAIN)
    tried = [after(PLAIN, "failed"), after(replace(PLAIN, algorithm="kl_divergence"), "likely")]
    while (step := plan.following(asked, tried, LAYERS)) is not None:
        tried.append(after(step.quantization, "pruned"))
    assert len(tried) == 5
    best = choice.best(tried)
    assert best is not None
    assert best.verdict == "likely"


def test_accuracy_is_measured_where_the_proxy_says_that_it_may_pass() -> None:
    assert trial.bar([]) is None
    assert trial.bar([after(PLAIN, "failed", 10.0)]) == pytest.approx(10 + 3.01)  # four times the drop: half of 6 dB
    assert trial.bar([after(PLAIN, "failed", 10.0), after(PLAIN, "passed", 20.0)]) == pytest.approx(10 + 3.01)
    assert trial.bar([after(PLAIN, "failed", 10.0), after(PLAIN, "pruned", 20.0)]) == pytest.approx(10 + 3.01)
    # One with less noise fails too: that says that the noise is not all, so nobody is asked for more than the first.
    assert trial.bar([after(PLAIN, "failed", 10.0), after(PLAIN, "failed", 10.5)]) == pytest.approx(10 + 3.01)


def test_the_cheapest_that_passed_is_taken_if_most_of_it_is_int8() -> None:
    base = after(PLAIN, "passed")
    mixed = replace(base, name="mixed", int8_share=0.7, cycles=90)
    dear = replace(base, name="dear", int8_share=0.9, cycles=100)
    assert choice.best([mixed, dear]) == dear
    assert choice.best([mixed]) == mixed
    assert choice.mixed(mixed)
    failed = [replace(base, verdict="failed", accuracy=value) for value in (0.1, 0.3, 0.2)]
    assert choice.best(failed) == failed[1]
    assert choice.best([replace(base, verdict="broken")]) is None


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    base = replace(after(PLAIN, "failed"), size=10, cycles=10, int8_share=1.0)
    worse = replace(base, name="worse", accuracy=0.4)
    better = replace(base, name="better", accuracy=0.9, size=20)
    unmeasured = replace(base, name="unmeasured", verdict="pruned", accuracy=None)
    assert [one["name"] for one in choice.pareto([base, worse, better, unmeasured])] == ["int8", "better"]


def test_mmse_is_estimated_from_the_plain_build() -> None:
    assert plan.seconds_of_mmse(20, 4.4, 50) == pytest.approx(158.4)


def test_full_goes_on_after_one_that_is_likely_to_pass_and_leaves_mmse_out() -> None:
    asked = Question("full", PLAIN)
    tried = [after(PLAIN, "failed"), after(replace(PLAIN, algorithm="kl_divergence", method="layer"), "likely")]
    kinds = set()
    while (step := plan.following(asked, tried, LAYERS)) is not None:
        kinds.add((step.quantization.algorithm, bool(step.quantization.layers)))
        tried.append(after(step.quantization, "failed"))
        assert len(tried) < 100
    assert ("kl_divergence", True) in kinds or ("normal", True) in kinds
    assert "mmse" not in {algorithm for algorithm, _ in kinds}
