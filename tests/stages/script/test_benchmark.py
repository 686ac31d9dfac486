"""npu_inference.py --benchmark: figures that are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.rknn.program.benchmark import sensors
from tests.support.board import Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = Board.make(tmp_path, target="rk3588")
    board.configure(latency_ms=20, keep=False)
    return board


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


SYSTEM = {
    "proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
    "sys/class/thermal/thermal_zone0/type": "soc-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "41538\n",
    "sys/class/thermal/thermal_zone1/temp": "38000\n",
    "sys/class/thermal/thermal_zone2/type": "broken\n",
    "sys/class/devfreq/fdab0000.npu/cur_freq": "1000000000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "2256000\n",
}


def test_the_figures_come_as_json(board: Board, tmp_path: Path) -> None:
    put(tmp_path / "root", SYSTEM)
    (tmp_path / "in").mkdir()
    for number in range(3):
        board.image(f"in/{number}.png")
    words = ("in", "--benchmark", "--json", "--runs", "12", "--warmup", "2")
    done = board.run(*words, environment={"NPU_INFERENCE_ROOT": str(tmp_path / "root")})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["chip"], found["target"]) == ("best_int8.rknn", "rk3588", "rk3588")
    assert found["cores"] == ["NPU_CORE_0", "NPU_CORE_1", "NPU_CORE_2"]
    assert "stand-in" in found["versions"]["librknnrt"]
    assert found["versions"]["rknn-toolkit-lite2"] == "2.3.2+standin"
    assert found["versions"]["driver"] == "0.9.8"
    assert (found["runs"], found["warmup"], found["images"]) == (12, 2, [f"in/{n}.png" for n in range(3)])
    for part in ("pre", "inference", "post", "total"):
        row = found["latency_ms"][part]
        assert 0 < row["p50"] <= row["p90"] <= row["p99"]
    assert found["latency_ms"]["inference"]["p50"] >= 20
    assert 0 < found["fps"]["one_after_the_other"] <= 50
    assert found["fps"]["all_contexts"] > found["fps"]["one_after_the_other"]
    assert found["peak_memory_mb"] > 10
    assert found["before"]["temperature_c"] == {"soc-thermal": 41.538, "thermal_zone1": 38.0}
    assert found["after"]["frequency_mhz"] == {"fdab0000.npu": 1000, "policy4": 2256}


def test_people_get_a_table_and_need_no_picture(board: Board) -> None:
    done = board.run("--benchmark", "--runs", "5", "--warmup", "1", "--core", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "best_int8.rknn on rk3588, NPU_CORE_1: 5 runs after 1"
    assert [line.split()[0] for line in lines[1:6]] == ["ms", "pre", "inference", "post", "total"]
    assert "degrees C: cannot be read here" in done.stdout or "degrees C:" in lines
    assert "librknnrt 2.3.2 (stand-in for tests, no NPU computes here)" in lines


def test_sensors_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    assert sensors(tmp_path) == {"temperature_c": {}, "frequency_mhz": {}}
    put(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "\n"})
    assert sensors(tmp_path)["temperature_c"] == {}


def test_a_picture_that_cannot_be_read_ends_the_benchmark(board: Board, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = board.run("broken.png", "--benchmark")
    assert done.returncode == 2
    assert "broken.png is no image that can be read" in done.stderr
