"""Hypothesis for tests that decide whether a change lands: the same examples each time, and no clock.

New examples are the work of the programs in tests/campaign, which count them.

With several workers (`pytest -n 2`) the tests of a file share one, and what it made for them; so do those of TOGETHER,
each of which is of all that is there.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


TOGETHER = {
    "the machine's one daemon": (
        "integration/docker/",
        "integration/dask/test_whole_way",
        "unit/engines/test_conformance",
    ),
    "the folder where boards keep theirs": ("board",),
}


@pytest.hookimpl(optionalhook=True)  # some Pythons' tests are run without it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The files, and those of TOGETHER, each at one worker, in their order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((name for name, parts in TOGETHER.items() if any(part in file for part in parts)), file)

    return ByFile(config, log)
