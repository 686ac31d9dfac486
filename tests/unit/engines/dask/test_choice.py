"""Which cluster the options mean, and what this machine's size has to do with it: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild import options
from mcwbuild.batch.listing import Listed
from mcwbuild.cli import batch, inputs
from mcwbuild.contract.errors import InputError, Refused
from mcwbuild.engines import Wanted, choose
from mcwbuild.engines.dask.cluster import Cluster
from mcwbuild.engines.dask.engine import DaskEngine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a configuration of their own, in a folder without one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def test_a_batch_takes_no_limit_from_this_machine(tmp_path: Path) -> None:
    chosen = options.resolve({"engine": "dask"}, {})
    assert batch._share(chosen, None, [2] * 1000) == (batch.DRIVERS, None, 2)
    assert batch._share(chosen, 3, [2] * 1000) == (3, None, 2)
    assert batch._share(options.resolve({"engine": "dask", "threads": "5"}, {}), None, [2, 2]) == (2, 5, 2)
    words = batch.commands(chosen, None, 1)(Listed(Path("a.pt"), "a", {}, "models.txt:1"), tmp_path)
    assert "--threads" not in words
    assert words[words.index("--engine") + 1] == "dask"


def test_a_batchs_runs_are_told_the_cluster(tmp_path: Path) -> None:
    flags = {"engine": "dask", "scheduler": "tls://head:8786", "shared_folder": "/srv", "worker_engine": "docker"}
    words = batch.commands(options.resolve(flags, {}), None, 1)(Listed(Path("a.pt"), "a", {}, "l:1"), tmp_path)
    for flag, value in flags.items():
        assert words[words.index(f"--{flag.replace('_', '-')}") + 1] == value


def test_the_cluster_may_be_named_in_the_environment_and_not_in_a_file(tmp_path: Path) -> None:
    environment = {"MCWBUILD_SCHEDULER": "tcp://127.0.0.1:1", "MCWBUILD_SHARED_FOLDER": str(tmp_path)}
    assert inputs.cluster(options.resolve({}, environment)) == Cluster("tcp://127.0.0.1:1", tmp_path)
    assert inputs.cluster(options.resolve({}, {})) is None
    (tmp_path / "mcwbuild.yaml").write_text("shared_folder: /tmp\n")
    with pytest.raises(InputError) as raised:
        options.resolve({}, {}, tmp_path)
    assert "shared_folder" in str(raised.value.problems[0])


def test_own_code_of_a_checkpoint_needs_workers_with_docker(tmp_path: Path) -> None:
    local = Cluster("tcp://127.0.0.1:1", tmp_path, "local")
    with pytest.raises(Refused):
        choose("dask", Wanted(confined=True, cluster=local))
    with pytest.raises(InputError):
        choose("dask", Wanted(toolkit="2.5.0", cluster=local))
    engine = choose("dask", Wanted(confined=True, cluster=Cluster("tcp://127.0.0.1:1", tmp_path)))
    assert isinstance(engine, DaskEngine)
    assert engine._cluster.resources == {"mcwbuild": 1, "docker": 1}
    with pytest.raises(InputError, match="scheduler"):
        choose("dask")
