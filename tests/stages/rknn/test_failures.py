"""Every failure of the catalogue that is not cited, provoked with the real toolkit and recognised in its log."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mcwbuild.contract.failure_catalogue import ENTRIES
from mcwbuild.contract.failures import explain
from tests.support import failing_graphs as graphs
from tests.support import toy_onnx
from tests.support.toolkit_trials import Trial, build, trial

Steps = Callable[[Any, Path], list[Any]]
PICTURE = "picture.png"
# Modules whose absence is a failure: provoked in a new process, because the toolkit is loaded here already.
ABSENT = {"toolkit-missing": "rknn", "toolkit-setuptools": "pkg_resources"}
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from stages.rknn import toolkit
toolkit.Toolkit()
"""


def less_memory(megabytes: int) -> Callable[[], None]:
    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (megabytes << 20),) * 2)

    return limit


def without_mapping() -> None:
    del onnx.mapping


def toy(**options: Any) -> Steps:
    return build(toy_onnx.network(), **options)


def listed(*lines: str, **options: Any) -> Steps:
    """INT8 with a list of these lines; files that they may name lie beside it."""

    def steps(rknn: Any, folder: Path) -> list[Any]:
        assert cv2.imwrite(str(folder / PICTURE), np.zeros((toy_onnx.SIZE, toy_onnx.SIZE, 3), np.uint8))
        np.save(folder / "last.npy", np.zeros((1, toy_onnx.SIZE, toy_onnx.SIZE, 3), np.float32))
        np.save(folder / "nan.npy", np.full((1, 3, toy_onnx.SIZE, toy_onnx.SIZE), np.nan, np.float32))
        (folder / "text.jpg").write_text("no image")
        (folder / "list.txt").write_text("".join(f"{line}\n" for line in lines))
        options.setdefault("model", toy_onnx.network())
        return build(dataset=str(folder / "list.txt"), **options)(rknn, folder)

    return steps


def file(name: str, content: bytes) -> Steps:
    def steps(rknn: Any, folder: Path) -> list[Any]:
        (folder / name).write_bytes(content)
        return build(folder / name)(rknn, folder)

    return steps


def ready(rknn: Any, folder: Path) -> list[Any]:
    """A build that works, and its simulator."""
    return [*toy()(rknn, folder), rknn.init_runtime()]


def behind(op: str, *inputs: str, shape: tuple[int, ...] = (1, 8, 32, 32), **more: Any) -> Steps:
    constants = {key: value for key, value in more.items() if isinstance(value, (np.ndarray, np.generic))}
    attributes = {key: value for key, value in more.items() if key not in constants and key != "opset"}
    node = graphs.step(op, *inputs, **attributes)
    return build(graphs.behind_conv([node], shape, more.get("opset", 17), **constants))


def picture(height: int, kind: Any) -> np.ndarray[Any, Any]:
    return np.zeros((1, height, toy_onnx.SIZE, 3), kind)


PROVOKED: dict[str, Steps] = {
    "toolkit-onnx": toy(before=without_mapping),
    "disk-full": toy(export="/dev/full"),
    "out-of-memory": build(graphs.wide(), before=less_memory(300)),
    "fusion-rule": build(graphs.rules()["fuse_conv_gather"]),
    "opset": build(toy_onnx.network(opset=20)),
    "operator-unknown": build(toy_onnx.network("FooBar")),
    "graph-type": build(toy_onnx.network(input_type=TensorProto.UINT8)),
    "dynamic-graph": build(graphs.with_branches()),
    "input-shape": build(toy_onnx.network(size="side")),
    "input-dtype": build(graphs.behind_conv([graphs.step("Relu")], input_type=TensorProto.UINT8)),
    "all-constant": build(graphs.constant()),
    "quantized-model": listed(PICTURE, model=graphs.quantized()),
    "conv-unsupported": listed(PICTURE, platform="rk2118"),
    "no-float": toy(platform="rv1103"),
    "compiler-crash": behind(
        "Resize", "c", "", "scales", shape=(1, 8, 64, 64), mode="cubic", scales=np.array([1, 1, 2, 2], np.float32)
    ),
    "calibration-missing": toy(quantize=True),
    "calibration-list": toy(dataset="gone.txt"),
    "calibration-image": listed(PICTURE, "text.jpg"),
    "calibration-kind": listed("a picture.png"),
    "calibration-count": listed(f"{PICTURE} {PICTURE}"),
    "calibration-shape": listed("last.npy"),
    "not-a-number": listed("nan.npy"),
    "calibration-path": toy(dataset=[PICTURE]),
    "model-missing": build(Path("gone.onnx")),
    "model-suffix": file("model.bin", b""),
    "model-damaged": file("model.onnx", b"garbage"),
    "outputs-unknown": toy(load={"outputs": ["nothing"]}),
    "export-folder": toy(export="gone/made.rknn"),
    "target-unknown": toy(platform="rv1126"),
    "target-missing": toy(platform=None),
    "config-first": lambda rknn, folder: [onnx.save(toy_onnx.network(), "m.onnx"), rknn.load_onnx("m.onnx")],
    "load-first": lambda rknn, folder: [rknn.config(target_platform="rk3588"), rknn.build(do_quantization=False)],
    "build-first": lambda rknn, folder: [rknn.config(target_platform="rk3588"), rknn.export_rknn("made.rknn")],
    "build-twice": lambda rknn, folder: [*toy()(rknn, folder), rknn.build(do_quantization=False)],
    "runtime-first": lambda rknn, folder: [*toy()(rknn, folder), rknn.inference([picture(32, np.uint8)])],
    "config-keyword": toy(means=[0]),
    "config-value": toy(quantized_algorithm="best"),
    "config-mean": toy(mean_values=[[0, 0]], std_values=[[1, 1, 1]]),
    "config-string": toy(custom_string="x" * 2000),
    "config-gdq": toy(quantized_algorithm="gdq"),
    "simulator-loaded": lambda rknn, folder: [
        *toy()(rknn, folder),
        (other := type(rknn)()).load_rknn("made.rknn"),
        other.init_runtime(),
    ],
    "simulator-only": lambda rknn, folder: [*ready(rknn, folder), rknn.eval_perf()],
    "inference-shape": lambda rknn, folder: [*ready(rknn, folder), rknn.inference([picture(16, np.uint8)])],
    "inference-dtype": lambda rknn, folder: [*ready(rknn, folder), rknn.inference([picture(32, np.float64)])],
    "rknn-damaged": lambda rknn, folder: [*toy()(rknn, folder), type(rknn)().load_rknn("model.onnx")],
    "operator-simulated": build(toy_onnx.network("Atan")),
    "operator-custom": behind(
        "DeformConv", "c", "kernel", "offset", shape=(1, 4, 32, 32), opset=19, pads=[1, 1, 1, 1],
        kernel=graphs.floats(4, 8, 3, 3), offset=graphs.floats(1, 18, 32, 32, value=0),
    ),
    "register-overflow": behind(
        "Conv", "c", "kernel", shape=(1, 2, 2, 2), strides=[17, 17], kernel=graphs.floats(2, 8, 3, 3)
    ),
    "fp16-overflow": lambda rknn, folder: [
        *build(graphs.overflowing())(rknn, folder),
        rknn.init_runtime(),
        rknn.inference([np.full((1, 32, 32, 3), 255, np.uint8)]) is None,
    ],
}  # fmt: skip


CRASHES: dict[str, Steps] = {
    "cubic": PROVOKED["compiler-crash"],
    "own transpose": build(graphs.by_its_own_transpose()),
    "w8a16": listed(PICTURE, platform="rk3562", quantized_dtype="w8a16"),
}


def whole(made: Trial) -> str:
    """The log as a shell would leave it, with what it says of a process that a signal ended."""
    return "\n".join(part for part in (made.log, made.raised, made.signal) if part)


def test_every_entry_is_provoked_here_or_cited() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(names) == len(set(names))
    assert {entry.name for entry in ENTRIES if not entry.cited} == {*PROVOKED, *ABSENT}


@pytest.mark.parametrize("name", PROVOKED)
def test_the_real_failure_is_recognised(tmp_path: Path, name: str) -> None:
    made = trial(tmp_path / "trial", PROVOKED[name])
    found = explain(whole(made))
    assert found, whole(made)[-3000:]
    assert found[0].entry.name == name, [str(one) for one in found]


@pytest.mark.parametrize("name", ABSENT)
def test_an_environment_that_lacks_something_is_recognised(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", WITHOUT, ABSENT[name]]
    done = subprocess.run(command, cwd=tmp_path, text=True, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert explain(done.stderr)[0].entry.name == name


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("operator-unknown", 'FooBar "/box/extra"'),
        ("dynamic-graph", 'If "/last/If"'),
        ("operator-simulated", 'Atan "/box/extra"'),
        ("operator-custom", 'DeformConv "/last/DeformConv"'),
        ("conv-unsupported", '"images"'),
        ("graph-type", '"/stem/Conv"'),
    ],
)
def test_the_layer_is_named_where_the_toolkit_names_one(tmp_path: Path, name: str, layer: str) -> None:
    found = explain(whole(trial(tmp_path / "trial", PROVOKED[name])))
    assert found[0].layer == layer


@pytest.mark.parametrize("rule", graphs.rules())
def test_a_rule_that_fails_may_be_turned_off(tmp_path: Path, rule: str) -> None:
    model = graphs.rules()[rule]
    refused = trial(tmp_path / "with", build(model))
    assert f"disable_rules=['{rule}']" in refused.log
    assert refused.raised
    assert trial(tmp_path / "without", build(model, disable_rules=[rule])).results == "[0, 0, 0, 0]"


@pytest.mark.parametrize("name", CRASHES)
def test_every_cause_of_a_crash_that_is_named_is_one(tmp_path: Path, name: str) -> None:
    made = trial(tmp_path / "trial", CRASHES[name])
    assert made.signal in ("SIGABRT", "SIGSEGV")
    assert explain(whole(made))[0].entry.name == "compiler-crash"


def test_a_build_that_works_shows_nothing(tmp_path: Path) -> None:
    made = trial(tmp_path / "trial", ready)
    assert made.results == "[0, 0, 0, 0, 0]"
    assert explain(whole(made)) == []
