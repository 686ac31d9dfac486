"""kill -9 of runs on the docker engine: no container is left for long, nothing is torn, the next run goes on."""

from __future__ import annotations

import pytest

from tests.support import containers, storms

pytestmark = pytest.mark.docker

SEED = "20260229"
TRIALS, KILLS = 16, 20


def test_twenty_kills_of_the_docker_engines_runs_leave_nothing_torn() -> None:
    made = storms.run_docker(range(TRIALS), SEED, containers.python_base())
    print(f"seed {SEED}: {dict(made.outcomes)}, {made.facts}")
    assert made.violations == []
    assert made.facts["kills"] >= KILLS
    assert made.facts["in the middle of a run"] > KILLS // 2
