"""Checkpoints whose own code runs: those that mean harm, and those that cannot be rebuilt without it."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.phases import PT
from mcwbuild.engines.local import LocalEngine
from tests.support import hostile_checkpoint
from tests.support.archives import MODELS
from tests.support.commands import ROOT, mcwbuild
from tests.support.engines import alive, gone_soon

pytestmark = pytest.mark.docker

WORD = "outlives-the-run"


def test_a_pickle_that_runs_code_leaves_its_container_by_no_way(images: dict[str, str], tmp_path: Path) -> None:
    checkpoint, ports = tmp_path / "best.pt", tmp_path / "ports"
    hostile_checkpoint.main(checkpoint)
    before = checkpoint.read_bytes()
    ports.mkdir()
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server((place, 0))) for place in ("127.0.0.1", "0.0.0.0")]
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("0.0.0.0", servers[1].getsockname()[1]))
        (ports / "ports.txt").write_text(" ".join(str(server.getsockname()[1]) for server in servers))
        with gone_soon(WORD, 3):
            done = mcwbuild(
                "run",
                "--engine",
                "docker",
                "--pt",
                checkpoint,
                "--model-code",
                ports,
                "--target",
                "rk3588",
                cwd=tmp_path,
            )
        for server in (*servers, datagrams):
            server.settimeout(0)
            with pytest.raises(BlockingIOError):
                server.recvfrom(1) if server is datagrams else server.accept()
    assert done.code == 2, done.stderr
    log = next((tmp_path / "build").glob("*/logs/pt.log")).read_text()
    told = json.loads(log.partition("PROBE ")[2].splitlines()[0])  # it ran
    assert "done" not in told["writes"].values()
    assert told["checkpoint"] != "done"
    assert len(told["connections"]) == 4
    assert "done" not in told["connections"].values()
    assert told["datagram"] != "done"
    assert told["docker"] is False
    assert checkpoint.read_bytes() == before
    assert not alive(WORD)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"best.pt", "ports.txt", "pt.log", ".lock"}


def test_without_trust_nothing_of_it_runs(images: dict[str, str], tmp_path: Path) -> None:
    hostile_checkpoint.main(tmp_path / "best.pt")
    done = mcwbuild("run", "--engine", "docker", "--pt", "best.pt", "--target", "rk3588", cwd=tmp_path)
    assert done.code == 6, done.stderr
    assert "exec" in done.stderr
    assert "PROBE" not in next((tmp_path / "build").glob("*/logs/pt.log")).read_text()


def test_the_local_engine_refuses_to_run_a_checkpoints_code(tmp_path: Path) -> None:
    hostile_checkpoint.main(tmp_path / "best.pt")
    for trust in (["--trust-checkpoint"], ["--model-code", tmp_path]):
        done = mcwbuild("run", "--engine", "local", "--pt", "best.pt", *trust, "--target", "rk3588", cwd=tmp_path)
        assert done.code == 6, done.stderr
        assert "--engine docker" in done.stderr


def test_a_network_with_its_authors_own_parts_goes_the_whole_way(images: dict[str, str], tmp_path: Path) -> None:
    LocalEngine().prepare(PT, lambda event: None)
    python = LocalEngine().python(PT)
    maker = ROOT / "tests" / "support" / "make_custom_checkpoint.py"
    subprocess.run([python, maker, tmp_path], check=True, env={"YOLO_OFFLINE": "1", "HOME": str(tmp_path)})
    words = ["run", "--engine", "docker", "--pt", "best.pt", "--target", "rk3588", "--dtype", "fp16", "--out", "out"]
    refused = mcwbuild(*words, cwd=tmp_path)
    assert refused.code == 2
    assert "--trust-checkpoint" in refused.stderr
    lacking = mcwbuild(*words, "--trust-checkpoint", cwd=tmp_path)
    assert lacking.code == 2
    assert "--model-code" in lacking.stderr
    done = mcwbuild(*words, "--model-code", "code", cwd=tmp_path)
    assert done.code == 0, done.stderr
    source = documents.read_yaml(tmp_path / "out" / "rknn_package" / "rknn_source.yaml").value
    assert source["model"]["type"] == "custom DetectionModel"
    assert mcwbuild("verify", "out", cwd=tmp_path).code == 0


def test_weights_whose_network_is_made_by_their_authors_code_go_the_whole_way(
    images: dict[str, str], tmp_path: Path
) -> None:
    code = ["--model-code", MODELS / "classifier_code", "--model", "shapes_classifier:make"]
    words = ["--engine", "docker", "--pt", MODELS / "classifier.safetensors"]
    begun = mcwbuild("init", *words, *code, "--task", "generic", "--imgsz", "64", cwd=tmp_path)
    assert begun.code == 0, begun.stderr
    way = ["--source", "training_source.yaml", "--target", "rk3588", "--dtype", "fp16", "--out", "out"]
    done = mcwbuild("run", *words, *code, *way, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert mcwbuild("verify", "out", cwd=tmp_path).code == 0
