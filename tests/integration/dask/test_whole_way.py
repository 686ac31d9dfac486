"""The command line on a cluster: the real stages, equal results, ^C and kill -9, gates that fail, containers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.phases import ONNX, PHASES, Phase
from mcwbuild.engines import Engine
from mcwbuild.engines.dask.cluster import Cluster
from mcwbuild.engines.dask.engine import DaskEngine
from mcwbuild.engines.docker.engine import DockerEngine
from tests.integration.dask.conftest import Call
from tests.support import containers, stage_images
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT, mcwbuild, replace, small_dataset
from tests.support.dask_cluster import Processes, until

TOY_IMAGE = "MCWBUILD_TEST_IMAGE"
# What is the same to the last byte wherever it was made; other files hold times and what the toolkit leaves in memory.
SAME = ("best.pt", "best.onnx", "evaluation_pt.npz", "evaluation_onnx.npz", "expected_fp16.npz", "expected_int8.npz")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Two workers with the real stages."""
    made = Processes(tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        made.work("first")
        made.work("second")
        yield made
    finally:
        made.close()


def on(cluster: Processes, folder: Path | None = None) -> list[str | Path]:
    """The words that send stages there, to environments: images may be here too."""
    words = ["--engine", "dask", "--scheduler", cluster.address, "--worker-engine", "local"]
    return [*words, "--shared-folder", folder or cluster.shared]


def models(run: dict[str, Any]) -> list[dict[str, Any]]:
    """What a run's rows say, times aside."""
    kept = ("model", "target", "map50_95", "map50", "precision", "recall", "f1", "cosine", "drop_percent", "gate")
    return [{key: row.get(key) for key in kept} for row in run["models"]]


@pytest.fixture(scope="module")
def runs(cluster: Processes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same run on the cluster and on this machine: `folder`, and what each said."""
    folder = tmp_path_factory.mktemp("runs")
    data = small_dataset(folder, 6)  # its lists hold absolute paths
    words = ["run", "--pt", EXAMPLE / "best.pt", "--data", data, "--target", "rk3588", "--dtype", "fp16", "--json"]
    with ThreadPoolExecutor(2) as pool:
        both = (
            pool.submit(mcwbuild, *words, "--out", folder / "dask", *on(cluster), cwd=folder),
            pool.submit(mcwbuild, *words, "--out", folder / "local", "--engine", "local", cwd=folder),
        )
        far, near = (one.result() for one in both)
    assert far.code == 0, far.stderr
    assert near.code == 0, near.stderr
    again = mcwbuild(*words, "--out", folder / "dask", "--engine", "local", cwd=folder)
    return {"folder": folder, "far": far.json, "near": near.json, "again": again.json}


def test_the_whole_way_makes_what_the_local_engine_makes(cluster: Processes, runs: dict[str, Any]) -> None:
    folder: Path = runs["folder"]
    for phase in PHASES.values():
        here, there = (folder / name / phase.package for name in ("local", "dask"))
        assert {path.name for path in here.iterdir()} == {path.name for path in there.iterdir()}
        for name in SAME:
            if (here / name).exists():
                assert (here / name).read_bytes() == (there / name).read_bytes(), name
        assert json.loads((there / "manifest.json").read_text())["provenance"]["engine"] == "dask"
        for path in there.iterdir():
            assert b"dask-scratch-space" not in path.read_bytes(), path
    assert models(runs["far"]) == models(runs["near"])
    assert [one["state"] for one in runs["again"]["packages"]] == ["fresh"] * 3
    assert mcwbuild("verify", folder / "dask", cwd=folder).code == 0
    assert list((cluster.shared / "calls").iterdir()) == []


def test_a_stages_own_error_comes_with_the_drivers_paths(cluster: Processes, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "best.pt", tmp_path / "best.pt")
    (tmp_path / "best.pt").write_bytes((EXAMPLE / "best.pt").read_bytes()[:1000])
    words = ["run", "--pt", tmp_path / "best.pt", "--target", "rk3588", "--out", tmp_path / "out"]
    far = mcwbuild(*words, *on(cluster), cwd=tmp_path)
    near = mcwbuild(*words, "--engine", "local", cwd=tmp_path)
    assert far.code == near.code == 2
    errors = [[line for line in done.stderr.splitlines() if "error" in line] for done in (far, near)]
    assert errors[0] == errors[1]
    assert "anew" not in far.stderr


def test_a_changed_contract_is_exit_3_and_is_not_tried_again(
    cluster: Processes, runs: dict[str, Any], tmp_path: Path
) -> None:
    package = Path(shutil.copytree(runs["folder"] / "dask" / "onnx_package", tmp_path / "onnx_package"))
    replace(package / "onnx_source.yaml", "format: RGB", "format: BGR")
    words = ["convert", "--onnx", package / "best.onnx", "--source", package / "onnx_source.yaml", "--dtype", "fp16"]
    far = mcwbuild(*words, "--target", "rk3588", "--out", tmp_path / "out", *on(cluster), cwd=tmp_path)
    assert far.code == 3, far.stderr
    assert f"{package / 'onnx_source.yaml'}:" in far.stderr
    assert "anew" not in far.stderr


def start(cluster: Processes, folder: Path) -> subprocess.Popen[str]:
    """A run of the pt phase and on, in a process of its own."""
    words = ["run", "--pt", EXAMPLE / "best.pt", "--data", EXAMPLE / "data.yaml", "--target", "rk3588"]
    return subprocess.Popen(
        [*MCWBUILD, *map(str, [*words, "--progress", "json", "--out", folder / "out", *on(cluster)])],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MCWBUILD_STORE": "false"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_stopped_leaves_no_stage(cluster: Processes, tmp_path: Path, number: int) -> None:
    run = start(cluster, tmp_path)
    until(lambda: bool(cluster.busy()))
    run.send_signal(number)
    _, said = run.communicate(timeout=30)
    assert run.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -number), said
    if number != signal.SIGKILL:
        assert cluster.busy() == []
    until(lambda: cluster.busy() == [], 15)
    assert not list(tmp_path.glob("out/*_package"))
    until(lambda: not list(cluster.folder.glob("scratch/*/*/*/mcwbuild-*")), 15)


def toy_docker() -> Engine:
    """On a worker: the docker engine with one image."""

    def find(_client: object, phase: Phase) -> str:
        if phase is not ONNX:
            raise EnvironmentLacking(f"The {phase.name} stage has no image to run in.", f"No {phase.name} image.")
        return os.environ[TOY_IMAGE]

    return DockerEngine(find=find)


@pytest.fixture
def dockers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Two workers that have a toy image, and one that offers no container."""
    toy = containers.toy_image(stage_images.client(), ONNX)
    made = Processes(tmp_path_factory.mktemp("dockers"), {TOY_IMAGE: toy})
    try:
        made.start()
        made.work("plain")
        made.work("first", "mcwbuild=1 docker=1")
        made.work("second", "mcwbuild=1 docker=1")
        yield made
    finally:
        made.close()


@pytest.mark.docker
def test_containers_of_killed_workers_and_cancelled_calls_are_gone(
    dockers: Processes, call: Call, tmp_path: Path
) -> None:
    client = stage_images.client()
    engine = DaskEngine(Cluster(dockers.address, dockers.shared, "docker"), make=toy_docker)

    def interrupt(event: Event) -> None:
        if isinstance(event, Noted):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(call("sleep", nonce="c1"), interrupt)
    assert containers.ours(client) == []

    def kill() -> None:
        until(lambda: any(" running" in one for one in containers.ours(client)))
        dockers.kill(busy_worker(dockers))

    killer = threading.Thread(target=kill)
    killer.start()
    made = call("wait", "2", "/out/ledger", nonce="c2")
    said: list[Event] = []
    assert engine.run(made, said.append) == 0
    killer.join()
    engine.close()
    assert json.loads((made.staging / "result.json").read_text())["nonce"] == "c2"
    assert any(isinstance(event, Noted) and "A worker was lost" in event.text for event in said)
    assert "plain" in dockers.alive()
    assert len(dockers.alive()) == 2
    assert containers.ours(client) == []


def busy_worker(cluster: Processes) -> str:
    """The worker that holds a scratch folder of a call."""
    (scratch,) = cluster.folder.glob("scratch/*/*/*/mcwbuild-*")
    return scratch.relative_to(cluster.folder / "scratch").parts[0]
