"""The contract's doctor on the example's own network, with contracts that are sound and wrong."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mcwbuild.contract.bench import Bench
from mcwbuild.contract.events import Event, Noted
from stages.common.contract_doctor import check, findings, history
from tests.support.doctored import PLANTED, SOURCE, Network, expected

IMAGES = range(0, 100, 5)  # twenty of them
NAMED = {"colours": "channel-order", "method": "resize-method", "too small": "input-size"}


@cache
def network() -> Network:
    return Network()


def bench(told: list[Event]) -> Bench:
    return Bench(Path(), Path(), 2, told.append)


@pytest.mark.parametrize("kind", ["colours", "method", "too small"])
def test_a_wrong_value_is_called_by_its_name(kind: str) -> None:
    told: list[Event] = []
    found = network().diagnose(kind, IMAGES, bench(told))
    assert found.doubt is not None
    assert found.doubt.what.name == expected(kind)
    (finding,) = findings(found, SOURCE)
    assert finding.name == NAMED[kind]
    assert f"{expected(kind)} in {SOURCE} is probably wrong." in finding.what
    assert finding.what.startswith("Accuracy (map50_95) rises from 0.")
    assert finding.evidence["field"] == expected(kind)
    assert finding.evidence["gain_interval"][0] > 0
    assert [event.level for event in told if isinstance(event, Noted)] == ["warning"]
    assert check(found).status == "undecided"
    (row,) = [row for row in history(found) if row["contract"] == {found.doubt.what.name: found.doubt.what.value}]
    assert row["interval"][0] > 0
    assert row["images"] == len(IMAGES)


def test_the_right_value_is_the_one_that_is_named() -> None:
    doubt = network().diagnose("colours", IMAGES, bench([])).doubt
    assert doubt is not None
    assert (doubt.what.value, doubt.what.words) == ("RGB", "the images are RGB")
    assert doubt.after > 0.7 > 0.5 > doubt.before


def test_of_a_sound_contract_nothing_is_said() -> None:
    told: list[Event] = []
    found = network().diagnose("sound", IMAGES, bench(told))
    assert found.doubt is None
    assert findings(found, SOURCE) == []
    assert check(found).status == "passed"
    assert len(found.tried) >= 12
    assert not [event for event in told if isinstance(event, Noted)]


def test_a_few_images_are_not_asked() -> None:
    found = network().diagnose("colours", range(8), bench([]))
    assert found.tried == ()
    assert found.reason == "8 labelled images are too few; 16 are the least."
    assert check(found).status == "unmeasured"


def test_every_planted_value_is_one_that_is_tried_from_the_other_side() -> None:
    assert {expected(kind) for kind in PLANTED} - {None} == {
        one.what.name for one in network().diagnose("sound", IMAGES, bench([])).tried
    }
