"""Options: the order of their sources, their origins, and every mistake told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild import options
from mcwbuild.contract import schemas
from mcwbuild.contract.errors import InputError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a configuration of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def project(folder: Path, text: str) -> Path:
    (folder / "mcwbuild.yaml").write_text(text)
    deep = folder / "deep" / "er"
    deep.mkdir(parents=True)
    return deep


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    deep = project(tmp_path, "conf: 0.1\niou: 0.2\nmax_detections: 5\n")
    environment = {"MCWBUILD_CONF": "0.3", "MCWBUILD_IOU": "0.4"}
    settings = options.resolve({"conf": "0.5"}, environment, deep)
    assert [settings[name] for name in ("conf", "iou", "max_detections", "opset")] == [0.5, 0.4, 5, 17]
    assert settings.origins["conf"] == "flag --conf"
    assert settings.origins["iou"] == "environment MCWBUILD_IOU"
    assert settings.origins["max_detections"] == f"{tmp_path / 'mcwbuild.yaml'}:3"
    assert settings.origins["opset"] == "default"


def test_the_users_own_file_stands_below_the_projects(tmp_path: Path) -> None:
    mine = options.user_file()
    mine.parent.mkdir(parents=True)
    mine.write_text("conf: 0.9\niou: 0.9\n")
    settings = options.resolve({}, {}, project(tmp_path, "conf: 0.1\n"))
    assert (settings["conf"], settings["iou"]) == (0.1, 0.9)


def test_paths_in_a_file_mean_the_files_own_folder(tmp_path: Path) -> None:
    settings = options.resolve({}, {}, project(tmp_path, "data: sets/data.yaml\n"))
    assert settings["data"] == tmp_path / "sets" / "data.yaml"


def test_targets_are_named_in_any_usual_way() -> None:
    assert options.targets("RK3588s, rk3576 rk3588") == ("rk3588", "rk3576")
    assert options.targets(["rk3566"]) == ("rk3566",)


@pytest.mark.parametrize(
    ("given", "size"), [("640", (640, 640)), ("320,640", (320, 640)), ("320x640", (320, 640)), ([96, 64], (96, 64))]
)
def test_image_sizes(given: object, size: tuple[int, int]) -> None:
    assert options.image_size(given) == size


def test_every_value_that_cannot_be_understood_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        options.resolve({"target": "rk9999", "conf": "2", "imgsz": "a"}, {"MCWBUILD_DTYPE": "int9"}, tmp_path)
    told = [str(problem) for problem in raised.value.problems]
    assert len(told) == 4
    assert "flag --target: --target: rk9999 is none of rk3562" in told[0]
    assert told[1].startswith("environment MCWBUILD_DTYPE: --dtype: int9 is none of both, fp16, int8")


def test_closed_sets_are_those_of_the_schema() -> None:
    properties = schemas.schema("mcwbuild")["properties"]
    assert set(properties) - {"schema"} == {option.name for option in options.OPTIONS if option.in_file}
    assert sorted(properties["dtype"]["enum"]) == sorted(options.DTYPES)
    assert sorted(properties["engine"]["enum"]) == sorted(options.ENGINES)
    assert sorted(properties["progress"]["enum"]) == sorted(options.PROGRESS)
    assert sorted(properties["algorithm"]["enum"]) == sorted(options.ALGORITHMS)


def test_a_target_is_what_the_toolkit_calls_it() -> None:
    assert options.targets("RK3588S, rk3588 rv1106") == ("rk3588", "rv1106")
    with pytest.raises(ValueError, match="rk3562, rk3566"):
        options.targets("rk9999")


def test_gates_of_every_source_count_and_the_stronger_has_the_last_word(tmp_path: Path) -> None:
    deep = project(tmp_path, "gates:\n  int8:\n    map50_95: 4 %\n    map50: 0.02\n  onnx:\n    map50_95: 1%\n")
    settings = options.resolve({"gates": "int8.map50_95=3%"}, {"MCWBUILD_GATES": "fp16.f1=1%,int8.map50=0.01"}, deep)
    assert sorted(str(one) for one in settings["gates"]) == [
        "fp16.f1=1%",
        "int8.map50=0.01",
        "int8.map50_95=3%",
        "onnx.map50_95=1%",
    ]
    assert settings.origins["gates"] == "flag --gate"
    assert options.resolve({}, {}, tmp_path / "elsewhere")["gates"] != settings["gates"]


def test_gates_that_there_are_not_are_told_with_their_source(tmp_path: Path) -> None:
    deep = project(tmp_path, "gates:\n  int8:\n    map5095: 4 %\n")
    with pytest.raises(InputError) as raised:
        options.resolve({"gates": "int4.map50=1%"}, {}, deep)
    told = [str(problem) for problem in raised.value.problems]
    assert "--gate: map5095 is no metric of the records" in told[0]
    assert told[1].startswith("flag --gate: --gate: int4 is no gate of this; there are: onnx, fp16, int8")
