"""Whatever a stage leaves in its output folder is refused or named, nothing is followed, and all of it is removed."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from mcwbuild import pipeline
from mcwbuild.contract.errors import InputError, McwbuildError, Refused, StageFailed
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.docker.engine import DockerEngine
from mcwbuild.plan import Step
from tests.support import containers
from tests.support.engines import Silent

pytestmark = pytest.mark.docker

TREES = containers.HOSTILE.read_text().partition("def tree(")[2].partition("\ndef ")[0]
KINDS = re.findall(r'^        "([a-z /]+)": ', TREES, re.MULTILINE)
# No traps, but no whole output either; every other one is refused. Root may read what is forbidden.
ENDED = (
    "no output",
    "empty",
    "outcome is a pipe",
    "a manifest that points outside",
    "forbidden file",
    "forbidden output",
)


@pytest.fixture
def step(tmp_path: Path) -> Step:
    model = tmp_path / "best.pt"
    model.write_bytes(b"model")
    return Step("onnx", ONNX, (("--pt", model),), ("--do", "tree", "?"), (), tmp_path / "out" / ONNX.package)


def test_all_kinds_are_tried() -> None:
    assert len(KINDS) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_tree_is_refused_and_removed(kind: str, step: Step, hostile: str, tmp_path: Path) -> None:
    engine = DockerEngine(find=lambda client, phase: hostile)
    step = Step(step.name, step.phase, step.inputs, ("--do", "tree", kind), (), step.package)
    before = time.monotonic()
    with pytest.raises(McwbuildError) as raised:
        pipeline.execute([step], engine, tmp_path / "out", Silent())
    assert isinstance(raised.value, (StageFailed, Refused) if kind in ENDED else Refused), raised.value
    assert not isinstance(raised.value, InputError)
    assert raised.value.what
    assert "root:" not in str(raised.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != ".lock") == ["logs"]
    assert time.monotonic() - before < 30
