"""Networks that plain INT8 spoils: the search passes their gate, goes on after a kill, and says where it cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import documents
from mcwbuild.contract.resumable import TUNING
from tests.support import hard
from tests.support.commands import MCWBUILD, ROOT, mcwbuild

RUN = (
    *("run", "--pt", "net.pt", "--source", "training_source.yaml", "--data", "data", "--target", "rk3588"),
    *("--contract-check", "off", "--out", "out"),
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A network's folder with its packages, made once."""

    @cache
    def make(network: str) -> Path:
        folder = hard.write(tmp_path_factory.mktemp(network), network)
        done = mcwbuild(*RUN, "--dtype", "int8", cwd=folder)
        assert done.code == 0, done.stderr
        return folder

    return make


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = documents.read_json(folder / "out" / "rknn_package" / "performance_rknn.json").value
    return found


def tries(folder: Path) -> list[dict[str, Any]]:
    return [one for one in record(folder)["tuning_history"] if one["variant"] == "int8"]


def plan(folder: Path) -> list[Any]:
    """What was tried, and what came of it, without times."""
    timed = ("seconds", "build_seconds", "peak_memory_mb", "size")
    return [{key: value for key, value in one.items() if key not in timed} for one in tries(folder)]


@pytest.mark.parametrize("network", ["wide", "outliers", "depthwise", "transformer"])
def test_the_search_passes_what_plain_int8_fails(searched: Callable[[str], Path], network: str) -> None:
    folder = searched(network)
    first, *later = tries(folder)
    assert first["verdict"] == "failed"
    assert first["drop"] > first["limit"] == 5
    assert [one["verdict"] for one in later].count("passed") >= 1
    assert "mmse" not in {one["algorithm"] for one in later}
    (gate,) = [gate for gate in record(folder)["validation"]["gates"] if gate["variant"] == "int8"]
    assert gate["status"] == "passed"
    assert {one["name"] for one in record(folder)["pareto"]} & {one["name"] for one in later}
    int8 = documents.read_yaml(folder / "out" / "rknn_package" / "rknn_source.yaml").value["quantization"]["int8"]
    chosen = next(one for one in later if one["verdict"] == "passed" and one["algorithm"] == int8["algorithm"])
    if int8["hybrid"]:
        assert int8["hybrid"]["mixed"] == (int8["hybrid"]["int8_share"] < 0.8)
        finer = {row["dtype"] for row in record(folder)["layers"]["int8"]} - {"INT8"}
        assert finer
    else:
        assert chosen["int8_share"] == 1
    known = [row for row in record(folder)["layers"]["int8"] if row.get("cosine") is not None]
    assert min(row["cosine"] for row in known) < 0.999


def test_a_second_run_gives_the_same_plan(searched: Callable[[str], Path]) -> None:
    folder = searched("wide")
    before = plan(folder)
    shutil.rmtree(folder / "out" / "rknn_package")
    done = mcwbuild(*RUN, "--dtype", "int8", cwd=folder)
    assert done.code == 0, done.stderr
    assert plan(folder) == before


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = hard.write(tmp_path, "outliers")
    started = subprocess.Popen(
        [*MCWBUILD, *RUN, "--progress", "json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert started.stderr is not None
    for line in started.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "started" and event.get("name") == "int8-4 build":
            break
    os.killpg(started.pid, signal.SIGKILL)
    started.stderr.read()
    started.wait(30)
    done = mcwbuild(*RUN, cwd=folder)
    assert done.code == 0, done.stderr
    assert "Goes on after 3 tries" in done.stderr
    assert "int8-3 build" not in done.stderr
    assert "int8-4 build" in done.stderr
    assert len({json.dumps(one) for one in plan(folder)}) == len(plan(folder)) >= 4
    assert not (folder / "out" / TUNING.folder).exists()


def test_where_fp16_cannot_either_it_says_so(tmp_path: Path) -> None:
    folder = hard.write(tmp_path, "difference")
    done = mcwbuild(*RUN, cwd=folder)
    assert done.code == 3
    assert "none of" in done.stderr
    assert "passed" not in {one["verdict"] for one in tries(folder)}
    (issue,) = [one for one in record(folder)["issues"] if "INT8 builds passes" in one["what"]]
    assert "no mixture can pass" in issue["cause"]
    assert "FP16 misses its gate too" in issue["cause"]
    assert "Most is lost in" in issue["cause"]
    assert (folder / "out" / "rknn_package" / "best_int8.rknn").is_file()
