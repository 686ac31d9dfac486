"""The contract out of an ONNX file's Ultralytics metadata: taken whole, or refused with the reason."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcwbuild.contract import inherit
from mcwbuild.contract.errors import InputError
from stages.families.yolo.metadata import source_of_metadata

HEAD = {"family": "yolo_dfl", "num_classes": 2, "strides": [8, 16, 32]}
WRITTEN = {
    "description": "Ultralytics YOLO11n model trained on data.yaml",
    "date": "2026-11-23T02:13:11.123456",
    "version": "8.4.190",
    "stride": "32",
    "task": "detect",
    "imgsz": "[320, 640]",
    "names": "{0: 'cat', 1: 'großer Hund'}",
    "channels": "3",
}


def source(**changes: str | None) -> dict[str, Any]:
    metadata = {key: value for key, value in {**WRITTEN, **changes}.items() if value is not None}
    return source_of_metadata(metadata, "model.onnx", "ab" * 32, "pets", [320, 640], HEAD)


def test_it_becomes_a_whole_source() -> None:
    made = source()
    assert made["model"] == {"name": "pets", "version": "2026.11.23", "type": "YOLO11", "task": "object_detection"}
    assert made["classes"] == {"names": ["cat", "großer Hund"], "num_classes": 2}
    assert made["input"] == {"size": [320, 640], "channels": 3, "format": "RGB", "dtype": "float32", "layout": "NCHW"}
    assert made["preprocessing"]["padding"]["color"] == [114, 114, 114]
    assert made["preprocessing"]["normalize"]["std"] == [255.0] * 3
    assert made["contract_sha256"] == inherit.contract_sha256(made)
    assert made["training"]["known_from"] == "metadata of the ONNX file"


@pytest.mark.parametrize(
    ("description", "kind"),
    [
        ("Ultralytics YOLOv8s model trained on coco.yaml", "YOLOv8"),
        ("Ultralytics YOLO11x model ", "YOLO11"),
        ("Ultralytics best model ", "YOLO"),
        ("something else", "YOLO"),
    ],
)
def test_the_architecture_is_the_descriptions(description: str, kind: str) -> None:
    assert source(description=description)["model"]["type"] == kind


def test_without_a_day_the_version_is_the_files_hash() -> None:
    assert source(date=None)["model"]["version"] == "sha256.abababababab"


WRONG = {
    "names": [
        *("{0: 'cat'}", "{1: 'cat', 2: 'dog'}", "{0: 'cat', 1: 2}"),
        *("__import__('os').getcwd()", "", "(" * 9000, "7"),
    ],
    "imgsz": ["[640, 320]", "640", "no"],
    "stride": ["64", "x"],
    "task": ["segment"],
    "channels": ["1"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_what_contradicts_the_graph_is_told(key: str, value: str) -> None:
    with pytest.raises(InputError, match=r"training_source\.yaml.*--source") as caught:
        source(**{key: value})
    assert f"$.{key}" in {problem.path for problem in caught.value.problems}


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        source(imgsz="[1, 1]", stride="1", task="pose")
    assert {problem.path for problem in caught.value.problems} == {"$.imgsz", "$.stride", "$.task"}


@pytest.mark.parametrize("key", ["names", "imgsz", "stride", "task"])
def test_missing_metadata_say_what_to_write(key: str) -> None:
    with pytest.raises(InputError, match=rf"lack {key}.*classes\.names.*--source"):
        source(**{key: None})


@pytest.mark.parametrize("names", [["same", "same"], ["", "b"], ["a", "b\u202e"], ["a" * 201, "b"]])
def test_names_that_no_source_may_hold_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError):
        source(names=str(names))


@given(st.dictionaries(st.sampled_from([*WRITTEN, "license"]), st.text(max_size=60)))
def test_any_text_gives_a_source_or_a_typed_error(changes: dict[str, str]) -> None:
    with contextlib.suppress(InputError):
        assert source(**changes)["classes"]["num_classes"] == 2


def of(head: dict[str, Any], size: tuple[int, int] = (320, 640), **metadata: str) -> dict[str, Any]:
    return source_of_metadata(metadata, "model.onnx", "ab" * 32, "pets", list(size), head)


def test_keypoints_are_those_of_graph_and_metadata_alike() -> None:
    head = {**HEAD, "family": "yolo_poses", "keypoints": [17, 3]}
    written = {**WRITTEN, "task": "pose", "description": "Ultralytics YOLO26n-pose model "}
    made = of(head, **written, kpt_shape="[17, 3]")
    assert (made["model"]["task"], made["model"]["type"]) == ("pose", "YOLO26")
    assert made["classes"]["keypoints"] == [17, 3]
    for other in ("[17, 2]", "nonsense"):
        with pytest.raises(InputError, match="kpt_shape"):
            of(head, **written, kpt_shape=other)
    with pytest.raises(InputError, match=r"(?i)its task is .pose., not .segment."):
        of({**HEAD, "family": "yolo_masks"}, **written)


def test_a_classifier_is_prepared_as_ultralytics_prepares_for_it() -> None:
    head = {"family": "yolo_classes", "num_classes": 2}
    made = of(head, (224, 224), **{**WRITTEN, "task": "classify", "stride": "1", "imgsz": "[224, 224]"})
    assert made["preprocessing"]["resize"] == {"method": "center_crop", "interpolation": "antialias"}
    assert made["preprocessing"]["padding"] == {"enabled": False}


def test_names_are_enough_of_an_original_yolov5_whose_graph_tells_its_anchors() -> None:
    head = {**HEAD, "family": "yolo_anchors", "anchors": [[[10.0, 13.0]], [[30.0, 61.0]], [[116.0, 90.0]]]}
    made = of(head, stride="32", names="['cat', 'dog']")
    assert (made["model"]["type"], made["model"]["anchors"]) == ("YOLOv5", head["anchors"])
    assert made["training"]["framework"] == "yolov5"
    without = {key: value for key, value in head.items() if key != "anchors"}
    with pytest.raises(InputError, match="lack anchors"):
        of(without, stride="32", names="['cat', 'dog']")
