"""Hypothesis for tests that decide whether a change lands: the same examples each time, and no clock.

New examples are the work of the programs in tests/campaign, which count them.

With several workers (`pytest -n 2 --dist loadgroup`) the tests of a file share one, and what it made for them; so do
all those of the machine's one daemon, and of the folder where boards keep theirs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

TOGETHER = ("integration/docker", "board")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's group."""
    for item in items:
        file = item.path.relative_to(Path(__file__).parent)
        groups = [name for name in TOGETHER if name in str(file)]
        item.add_marker(pytest.mark.xdist_group(groups[0] if groups else str(file)))
