"""The trials of tests/campaign in CI's size: kills, failing calls, full disks, many runs at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from tests.campaign import series, syscalls
from tests.campaign.series import Made
from tests.support import full_disks, generations, power, races, storms, traced

SEED = "20260229"
PROCESSES = 2
CUTS = 40  # of the protocol, and of each weakened one; the weakest flaw shows in a tenth of them
SIZES = 72
STORMS, KILLS = 84, 100  # trials, and how many kills are at least in them
RUNNERS, RUNS = 8, 50


def parallel(piece: Callable[[Sequence[int]], Made], trials: int) -> Made:
    """The trials in two processes."""
    halves = (range(trials // PROCESSES), range(trials // PROCESSES, trials))
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, second = pool.map(piece, halves, timeout=series.PATIENCE)
    first.outcomes.update(second.outcomes)
    first.violations += second.violations
    first.facts = {name: value + second.facts[name] for name, value in first.facts.items()}
    print(f"seed {SEED}: {dict(first.outcomes)}, {first.facts}")
    return first


def test_every_call_of_a_publish_may_be_killed_or_fail() -> None:
    if reason := traced.missing():
        pytest.skip(f"NOT RUN, {reason}")
    found = syscalls.all_trials(PROCESSES)
    violations = [text for made in found for text in made.violations]
    assert violations == []
    outcomes = {name for made in found for name in made.outcomes}
    assert outcomes == {f"{way}: {end}" for way in traced.WAYS for end in ("as before", "the new package")}
    assert sum(made.outcomes.total() for made in found) >= 3 * 60


def test_a_disk_that_fills_up_at_any_size_leaves_the_old_package_or_the_new_one() -> None:
    if reason := full_disks.missing():
        pytest.skip(f"NOT RUN, {reason}")
    made = full_disks.run(range(SIZES))
    assert made.violations == []
    assert made.outcomes.total() == SIZES
    assert min(made.outcomes["fits"], made.outcomes["as before"]) > 10


def test_power_cuts_lose_nothing_and_weaker_protocols_do() -> None:
    if reason := power.missing():
        pytest.skip(f"NOT RUN, {reason}")
    made = parallel(partial(power.run, seed=SEED), CUTS)
    assert made.violations == []
    assert made.outcomes.total() == CUTS
    for protocol in generations.WEAKENED:
        weaker = parallel(partial(power.run, seed=SEED, protocol=protocol), CUTS)
        assert weaker.violations != [], f"{CUTS} cuts found nothing wrong with a protocol {protocol}"


def test_many_runs_at_once_on_one_output_publish_one_after_the_other() -> None:
    made = races.run(RUNNERS, RUNS, int(SEED))
    assert made.violations == []
    assert made.outcomes.total() == RUNNERS * RUNS
    assert made.outcomes["killed"] > 0
    assert made.facts["sights of a reader"] > RUNS


def test_a_hundred_kills_of_the_local_engines_runs_leave_nothing_torn() -> None:
    made = parallel(partial(storms.run_local, seed=SEED), STORMS)
    assert made.violations == []
    assert made.facts["kills"] >= KILLS
    assert made.facts["in the middle of a run"] > KILLS // 2
