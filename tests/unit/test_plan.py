"""The plan is pure: the same options and facts give the same steps, and nothing is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcwbuild import plan
from mcwbuild.contract import calibration_pool
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError
from mcwbuild.options import Settings, resolve

OUT = Path("build/shapes")


def settings(**flags: Any) -> Settings:
    return resolve({"target": "rk3588", **flags}, {}, Path("/"))


def dataset(train: int, val: int) -> Dataset:
    splits = {
        "train": tuple(Path(f"/d/train/{i:03}.jpg") for i in range(train)),
        "val": tuple(Path(f"/d/val/{i:03}.jpg") for i in range(val)),
    }
    return Dataset(file=Path("/d/data.yaml"), root=Path("/d"), names=("a", "b"), splits=splits)


def test_the_whole_way_is_three_steps_that_hand_packages_on() -> None:
    steps = plan.run_steps(Path("best.pt"), "shapes", settings(), None, OUT)
    assert [step.name for step in steps] == ["pt", "onnx", "rknn"]
    assert [step.package for step in steps] == [OUT / name for name in ("pt_package", "onnx_package", "rknn_package")]
    assert dict(steps[1].inputs)["--pt"] == OUT / "pt_package" / "best.pt"
    assert dict(steps[2].inputs) == {
        "--onnx": OUT / "onnx_package" / "best.onnx",
        "--source": OUT / "onnx_package" / "onnx_source.yaml",
        "--previous": OUT / "onnx_package" / "performance_onnx.json",
        "--evaluation": OUT / "onnx_package" / "evaluation_onnx.npz",
        "--results": OUT / "onnx_package" / "results_onnx.json",
    }


def test_several_targets_have_a_folder_each_and_share_the_onnx() -> None:
    steps = plan.run_steps(Path("best.pt"), "m", settings(target="rk3588,rk3576"), None, OUT)
    assert [step.name for step in steps] == ["pt", "onnx", "rknn rk3588", "rknn rk3576"]
    assert [step.package for step in steps[2:]] == [OUT / "rk3588" / "rknn_package", OUT / "rk3576" / "rknn_package"]
    assert steps[2].inputs == steps[3].inputs


def test_a_limit_goes_to_the_phase_whose_gate_it_is() -> None:
    chosen = settings(gates="int8.map50_95=3%,onnx.map50=0.01,fp16.f1=1%")
    given = {
        step.name: [after for word, after in zip(step.options, step.options[1:], strict=False) if word == "--gate"]
        for step in plan.run_steps(Path("best.pt"), "m", chosen, None, OUT)
    }
    assert given == {"pt": [], "onnx": ["onnx.map50=0.01"], "rknn": ["int8.map50_95=3%", "fp16.f1=1%"]}


def test_every_phase_is_measured_on_the_same_images_and_calibration_is_never_among_them() -> None:
    steps = plan.run_steps(Path("best.pt"), "m", settings(), dataset(1000, 7), OUT)
    assert [len(step.images) for step in steps] == [7, 7, 7 + calibration_pool.MOST]
    calibration = set(steps[2].images) - set(steps[0].images)
    assert {path.parent.name for path in calibration} == {"train"}


def test_an_onnx_file_of_somebody_elses_begins_at_the_second_phase() -> None:
    first, second = plan.run_given_steps(Path("m.onnx"), "m", settings(data="d.yaml"), dataset(3, 2), OUT)
    assert (first.name, second.name) == ("onnx", "rknn")
    assert dict(first.inputs) == {"--onnx": Path("m.onnx"), "--data": Path("d.yaml")}
    assert first.options[0] == "--name=m"
    assert "--opset" not in first.options
    assert len(first.images) == 2
    assert dict(second.inputs)["--onnx"] == OUT / "onnx_package" / "best.onnx"
    assert dict(second.inputs)["--previous"] == OUT / "onnx_package" / "performance_onnx.json"


def test_a_source_names_the_model_itself() -> None:
    first, _ = plan.run_given_steps(Path("m.onnx"), "m", settings(source="s.yaml"), None, OUT)
    assert dict(first.inputs)["--source"] == Path("s.yaml")
    assert not any(option.startswith("--name") for option in first.options)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("shapes/best.pt", "shapes"), ("runs/detect/train7/weights/best.pt", "train7")],
)
def test_the_name_is_the_folders(model: str, expected: str) -> None:
    assert plan.model_name(settings(), None, Path(model)) == expected
    assert plan.model_name(settings(), "from-source", Path(model)) == "from-source"
    assert plan.model_name(settings(name="mine"), "from-source", Path(model)) == "mine"


def test_a_given_source_names_the_model_itself() -> None:
    (pt, *_) = plan.run_steps(Path("best.pt"), "m", settings(source="s.yaml"), None, OUT)
    assert not [word for word in pt.options if word.startswith("--name")]
    (pt, *_) = plan.run_steps(Path("best.pt"), "m", settings(), None, OUT)
    assert pt.options[0] == "--name=m"


def test_another_target_than_the_packages_names_both_ways_out() -> None:
    steps = plan.run_steps(Path("best.pt"), "m", settings(), None, OUT)
    plan.check_targets(steps, {OUT / "rknn_package": "rk3588"})
    with pytest.raises(InputError, match=r"for rk3566, .*--out another folder.*--target rk3566 --target rk3588"):
        plan.check_targets(steps, {OUT / "rknn_package": "rk3566"})


def test_int8_without_images_is_refused_and_both_is_not() -> None:
    with pytest.raises(InputError, match="needs images for calibration"):
        plan.check_inputs(settings(dtype="int8"), dataset(0, 4))
    plan.check_inputs(settings(dtype="both"), None)
    with pytest.raises(InputError, match="rv1106 runs INT8 only, which needs images"):
        plan.check_inputs(settings(target="rk3588,rv1106"), None)
    plan.check_inputs(settings(dtype="int8"), dataset(1, 0))


def test_no_target_is_refused() -> None:
    with pytest.raises(InputError, match="--target rk3588"):
        plan.check_inputs(settings(target=()), None)


def test_a_training_is_the_first_step_and_reads_all_that_it_learns_from() -> None:
    chosen = settings(data="d.yaml")
    step = plan.train_step(Path("train.yaml"), None, "m", chosen, dataset(3, 2), OUT, anew=False)
    assert dict(step.inputs) == {"--train": Path("train.yaml"), "--data": Path("d.yaml")}
    assert step.trains
    assert len(step.images) == 5
    assert step.options[0] == "--name=m"
    first, onnx, rknn = plan.after_pt(step, chosen, dataset(3, 2), OUT)
    assert first is step
    assert dict(onnx.inputs)["--pt"] == OUT / "pt_package" / "best.pt"
    assert rknn.package == OUT / "rknn_package"
    assert [one.title for one in (step, onnx, rknn)] == ["training", "export", "conversion"]


def test_weights_to_begin_from_are_an_input() -> None:
    chosen = settings(data="d.yaml")
    step = plan.train_step(Path("train.yaml"), Path("old.pt"), "m", chosen, dataset(3, 2), OUT, anew=False)
    assert dict(step.inputs)["--pt"] == Path("old.pt")
