"""Hypothesis for tests that decide whether a change lands: the same examples each time, and no clock.

New examples are the work of the programs in tests/campaign, which count them.

With several workers (`pytest -n 2 --dist loadgroup`) the tests of a file share one, and what it made for them; so do
all files with tests of the machine's one daemon, and those of the folder where boards keep theirs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's group."""
    of_daemon = {item.path for item in items if item.get_closest_marker("docker")}
    for item in items:
        file = str(item.path.relative_to(Path(__file__).parent))
        group = "docker" if item.path in of_daemon else "board" if "board" in file else file
        item.add_marker(pytest.mark.xdist_group(group))
