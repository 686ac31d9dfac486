"""The tests have teeth: each planted bug turns the test red that is named for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.campaign import planted_bugs
from tests.campaign.planted_bugs import Bug


def found(bug: Bug) -> str:
    return planted_bugs.trial(bug, bare=False)  # that the test passes without it is seen where it stands


def test_every_patch_still_applies() -> None:
    bugs = planted_bugs.bugs()
    assert len(bugs) >= 10
    assert [f"{bug.patch.name}: {told}" for bug in bugs if (told := planted_bugs.applies(bug))] == []


def test_each_planted_bug_is_found() -> None:
    with ThreadPoolExecutor(2) as pool:
        assert [told for told in pool.map(found, planted_bugs.bugs()) if told] == []
