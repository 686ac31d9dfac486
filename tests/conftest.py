"""Hypothesis for tests that decide whether a change lands: the same examples each time, and no clock.

New examples are the work of the programs in tests/campaign, which count them.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
