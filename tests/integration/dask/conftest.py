"""Clusters for tests: with the toy stage, and with the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.dask.engine import DaskEngine
from tests.support.dask_cluster import Processes, toy_cluster, toy_engine

Call = Callable[..., StageCall]


@pytest.fixture(scope="module")  # not of the session: idle workers take a tenth of a core
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    made = toy_cluster(tmp_path_factory.mktemp("toys"), 0)
    yield made
    made.close()


@pytest.fixture
def three(toys: Processes) -> Processes:
    """The toys' cluster with three workers that are alive."""
    while len(toys.alive()) < 3:
        toys.work(f"worker-{len(toys.workers)}")
    return toys


@pytest.fixture
def engine(three: Processes) -> Iterator[DaskEngine]:
    made = DaskEngine(three.cluster, make=toy_engine)
    yield made
    made.close()


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Makes calls of the toy stage: its deed's words, and a nonce."""
    model = tmp_path / "a model's.pt"
    model.write_bytes(b"model")

    def make(*deed: str, nonce: str = "n1") -> StageCall:
        staging = tmp_path / f"staging-{nonce}"
        staging.mkdir()
        return StageCall(ONNX, (("--pt", model),), ("--do", *deed), staging, tmp_path / "logs" / f"{nonce}.log", nonce)

    return make
