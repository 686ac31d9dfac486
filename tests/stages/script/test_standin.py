"""The stand-in for the board's runtime: what rknn.md says of the real one, and that it says what it is."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.board import CONTRACT_SHA256, STANDIN, contract, outputs
from tests.support.rknn_file import rknn_file

NAMES = ("boxes_8", "scores_8", "boxes_16", "scores_16")
GIVEN = np.random.default_rng(4).integers(0, 256, (1, 64, 96, 3), np.uint8)


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in can be imported, and counts its calls from the beginning."""
    monkeypatch.syspath_prepend(str(STANDIN))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "rknnlite"]:
        del sys.modules[name]


def model(folder: Path, target: str = "rk3588", **settings: Any) -> Path:
    shapes = {name: list(output.shape) for name, output in zip(NAMES, outputs(), strict=True)}
    path = folder / "best_int8.rknn"
    path.write_bytes(rknn_file(contract(), CONTRACT_SHA256, shapes, target))
    (folder / "standin.json").write_text(json.dumps(settings))
    np.savez(folder / "outputs.npz", **{f"{number}": array for number, array in enumerate(outputs())})
    return path


def started(path: Path, **options: Any) -> Any:
    from rknnlite.api import RKNNLite

    runtime = RKNNLite()
    assert runtime.load_rknn(str(path)) == 0
    assert runtime.init_runtime(**options) == 0
    return runtime


def test_it_is_called_a_standin_wherever_it_appears(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = started(model(tmp_path))
    assert "stand-in" in runtime.get_sdk_version()
    printed = capfd.readouterr()
    assert "stand-in" in printed.err
    assert "librknnrt version: 2.3.2 (stand-in" in printed.out
    (found,) = metadata.distributions(name="rknn-toolkit-lite2", path=[str(STANDIN)])
    assert found.version == "2.3.2+standin"


def test_outputs_are_float32_in_the_model_s_shapes(tmp_path: Path) -> None:
    found = started(model(tmp_path)).inference(inputs=[GIVEN])
    assert all(np.array_equal(one, other) for one, other in zip(found, outputs(), strict=True))
    assert {output.dtype for output in found} == {np.dtype(np.float32)}


def test_outputs_recorded_for_an_input_are_given_for_it_alone(tmp_path: Path) -> None:
    from rknnlite.compute import record

    path = model(tmp_path)
    record(tmp_path, GIVEN, outputs(seed=7))
    runtime = started(path)
    assert np.array_equal(runtime.inference(inputs=[GIVEN])[0], outputs(seed=7)[0])
    assert np.array_equal(runtime.inference(inputs=[255 - GIVEN])[0], outputs()[0])
    turned = np.ascontiguousarray(GIVEN.transpose(0, 3, 1, 2))
    assert np.array_equal(runtime.inference(inputs=[turned], data_format="nchw")[0], outputs(seed=7)[0])


@pytest.mark.parametrize(
    "given",
    [
        {"inputs": []},
        {"inputs": [GIVEN[0]]},
        {"inputs": [GIVEN.astype(np.float32)]},
        {"inputs": [GIVEN.astype(np.float64)], "data_type": "float64"},
        {"inputs": [GIVEN], "data_format": "nchw"},
        {"inputs": [GIVEN], "data_format": "chw"},
        {"inputs": None},
    ],
)
def test_input_that_does_not_fit_gives_none_and_never_raises(tmp_path: Path, given: dict[str, Any]) -> None:
    assert started(model(tmp_path)).inference(**given) is None


def test_calls_out_of_order_give_minus_one_or_none(tmp_path: Path) -> None:
    from rknnlite.api import RKNNLite

    runtime = RKNNLite()
    assert runtime.load_rknn(str(tmp_path / "absent.rknn")) == -1
    assert runtime.init_runtime() == -1
    assert runtime.inference(inputs=[GIVEN]) is None
    assert runtime.get_sdk_version() is None
    runtime = started(model(tmp_path))
    runtime.release()
    assert runtime.inference(inputs=[GIVEN]) is None
    assert runtime.init_runtime() == 0
    assert runtime.init_runtime(target="rk3588") == -1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chip": "rk3566"}, "RKNN_ERR_TARGET_PLATFORM_UNMATCH"),
        ({"runtime": "1.4.0b3"}, "Invalid RKNN model version 6"),
        ({"driver": None}, "failed to open rknpu module"),
        ({"library": False}, "Can not find dynamic library"),
        ({"fail": {"call": "init_runtime", "print": "E RKNN: something"}}, "E RKNN: something"),
    ],
)
def test_a_board_that_does_not_fit_is_told_by_the_real_messages(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], settings: dict[str, Any], message: str
) -> None:
    from rknnlite.api import RKNNLite

    runtime = RKNNLite()
    assert runtime.load_rknn(str(model(tmp_path, **settings))) == 0
    assert runtime.init_runtime() == -1
    assert message in capfd.readouterr().err
    assert runtime.inference(inputs=[GIVEN]) is None


def test_damaged_files_are_found_by_init_runtime(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from rknnlite.api import RKNNLite

    path = model(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    runtime = RKNNLite()
    assert runtime.load_rknn(str(path)) == 0
    assert runtime.init_runtime() == -1
    assert "invalid RKNN_MAGIC" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("target", "mask", "kept"),
    [
        ("rk3588", 7, "7"),
        ("rk3588", 0xFFFF, "7"),
        ("rk3576", 7, "3"),
        ("rk3576", 4, "1"),
        ("rk3576", 3, "3"),
        ("rk3566", 0, "0"),
        ("rk3566", 1, None),
        ("rk3588", 9, None),
    ],
)
def test_core_masks_are_those_of_the_chip(tmp_path: Path, target: str, mask: int, kept: str | None) -> None:
    from rknnlite.api import RKNNLite

    runtime = RKNNLite()
    runtime.load_rknn(str(model(tmp_path, target, keep=True)))
    assert runtime.init_runtime(core_mask=mask) == (0 if kept else -1)
    if kept:
        assert (tmp_path / "core_masks.txt").read_text().split() == [kept]


def test_twins_run_each_other_s_models(tmp_path: Path) -> None:
    path = model(tmp_path, "rk3588", chip="rk3588s")
    runtime = started(path)
    assert runtime.list_support_target_platform(str(path)) == {
        "filled_target_platform": ["rk3588"],
        "support_target_platform": ["RK3588", "RK3588S"],
    }
    assert runtime.list_support_target_platform(str(tmp_path / "absent")) is None


def test_the_nth_inference_fails_and_those_after_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = started(model(tmp_path, fail={"call": "inference", "print": "E RKNN: failed to submit!", "at": 3}))
    assert [runtime.inference(inputs=[GIVEN]) is None for _ in range(4)] == [False, False, True, True]
    assert "failed to submit!" in capfd.readouterr().err


def seconds(runtimes: list[Any], each: int = 3) -> float:
    """How long the contexts take, each in a thread of its own."""

    def work(runtime: Any) -> None:
        for _ in range(each):
            assert runtime.inference(inputs=[GIVEN]) is not None

    threads = [threading.Thread(target=work, args=(runtime,)) for runtime in runtimes]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - start


def test_cores_work_beside_each_other_and_one_core_does_not(tmp_path: Path) -> None:
    path = model(tmp_path, latency_ms=50)
    apart = seconds([started(path, core_mask=mask) for mask in (1, 2, 4)])
    assert 0.15 <= apart < 0.4
    assert seconds([started(path, core_mask=1) for _ in range(3)]) >= 0.45


def test_two_threads_may_not_share_a_context(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = started(model(tmp_path, latency_ms=300))
    thread = threading.Thread(target=runtime.inference, args=([GIVEN],))
    thread.start()
    time.sleep(0.1)
    assert runtime.inference(inputs=[GIVEN]) is None
    thread.join()
    assert "failed to submit!" in capfd.readouterr().err
