"""What the inert reader takes out of a checkpoint: the right numbers, and plain values only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import plain, read
from stages.common.checkpoint_calls import CheckpointCalls
from stages.common.checkpoint_machine import Broken, Dead, Global
from stages.common.checkpoint_pickle import follow
from stages.common.checkpoint_zip import open_archive
from tests.support.checkpoint_files import (
    Pieces,
    Raw,
    archive,
    call,
    checkpoint,
    code,
    instance,
    module,
    named,
    pickled,
    placed,
    small_network,
    storage,
    tensor,
)


def value_of(value: object, records: dict[str, bytes] | None = None) -> object:
    """What the machine makes of one value."""
    raw = archive(pickled(value), records)
    opened = open_archive(raw, "best.pt")
    return follow(opened.records["data.pkl"], CheckpointCalls("best.pt", opened))[0]


def test_a_checkpoint_becomes_plain_data(tmp_path: Path) -> None:
    found = read(placed(tmp_path, checkpoint(train_metrics={"metrics/mAP50(B)": 0.5})))
    assert found.file == "best.pt"
    assert found.model_class == "ultralytics.nn.tasks.DetectionModel"
    assert (found.task, found.names, found.stride) == ("detect", ("first", "second"), (8, 16, 32))
    assert found.yaml["yaml_file"] == "yolo11n.yaml"
    assert found.train_args == {"imgsz": 256, "data": "data.yaml"}
    assert found.metadata["train_metrics"] == {"metrics/mAP50(B)": 0.5}
    assert found.size == (tmp_path / "best.pt").stat().st_size
    assert list(found.modules) == ["", "model", "model.0"]
    assert found.modules["model.0"].settings["kernel_size"] == (1, 1)
    assert list(found.tensors) == ["model.0.weight"]
    assert found.tensors["model.0.weight"].dtype == np.float16
    assert np.array_equal(found.tensors["model.0.weight"], np.arange(12).reshape(3, 4))


def test_the_average_wins_over_the_model(tmp_path: Path) -> None:
    pieces = Pieces()
    both = {"model": small_network(pieces), "ema": small_network(pieces, names={0: "averaged", 1: "other"})}
    assert read(placed(tmp_path, archive(pickled(both), pieces.records))).names == ("averaged", "other")


@given(
    arrays.arrays(
        st.sampled_from(
            [np.float16, np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]
        ),
        arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back_the_same(array: np.ndarray) -> None:
    kinds = {"f2": "Half", "f4": "Float", "f8": "Double", "i8": "Long", "i4": "Int", "i2": "Short", "i1": "Char"}
    kind = {**kinds, "u1": "Byte", "b1": "Bool"}[array.dtype.str[1:]] + "Storage"
    pieces = Pieces()
    found = value_of(pieces.tensor(array, kind), pieces.records)
    assert found.array().dtype == array.dtype
    assert np.array_equal(found.array(), array, equal_nan=array.dtype.kind == "f")


def test_bfloat16_is_widened_without_loss() -> None:
    exact = np.array([1.0, -2.5, 3e38, 2**-126], np.float32).view(np.uint32) & 0xFFFF0000
    pieces = Pieces()
    found = value_of(pieces.tensor((exact >> 16).astype(np.uint16), "BFloat16Storage"), pieces.records)
    assert np.array_equal(found.array(), exact.view(np.float32))


@given(st.permutations(range(4)), st.integers(0, 3))
def test_strides_and_offsets_are_those_of_torch(order: list[int], skipped: int) -> None:
    """A transposed view of a longer storage, as channels-last weights are saved."""
    whole = np.arange(200, dtype=np.float32)
    view = whole[skipped : skipped + 120].reshape(2, 3, 4, 5).transpose(order)
    strides = [step // 4 for step in view.strides]
    found = value_of(tensor(storage("0", 200), view.shape, strides, skipped), {"data/0": whole.tobytes()})
    assert np.array_equal(found.array(), view)


HARMLESS = {
    "ordered dictionary": (call("collections", "OrderedDict"), {}),
    "size": (call("torch", "Size", (1, 2)), (1, 2)),
    "device": (call("torch", "device", "cuda", 0), "cuda:0"),
    "set": (call("__builtin__", "set", [1, 2]), {1, 2}),
    "path": (call("pathlib", "PosixPath", "/", "data", "a.yaml"), "/data/a.yaml"),
    "windows path": (call("pathlib", "WindowsPath", "runs", "train"), "runs/train"),
    "bytes of protocol 2": (call("_codecs", "encode", "\xe9", "latin1"), b"\xe9"),
    "moment": (
        call("datetime", "datetime", call("_codecs", "encode", "\x07\xea\x0b\x16\x0a\x1e\x00\x00\x00\x00", "latin1")),
        "2026-11-22T10:30:00",
    ),
    "enum": (call("torchvision.transforms.functional", "InterpolationMode", "bilinear"), "bilinear"),
    "numpy scalar": (
        call(
            "numpy._core.multiarray",
            "scalar",
            call("numpy", "dtype", "f8", False, True),
            call("_codecs", "encode", "\x00\x00\x00\x00\x00\x00\xe0?", "latin1"),
        ),
        0.5,
    ),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_benign_checkpoints_call_is_done_by_our_own_code(kind: str) -> None:
    written, expected = HARMLESS[kind]
    assert value_of(written) == expected


def test_a_namespace_of_arguments_is_read(tmp_path: Path) -> None:
    space = call("ultralytics.utils", "IterableSimpleNamespace")
    arguments = code(space) + code({"imgsz": [128, 256]}) + b"b"
    pieces = Pieces()
    network = small_network(pieces, args=Raw(arguments))
    assert read(placed(tmp_path, archive(pickled({"model": network}), pieces.records))).train_args == {
        "imgsz": [128, 256]
    }


def test_objects_of_other_classes_stay_dead() -> None:
    found = value_of(instance("torch.nn.modules.activation", "SiLU", {"inplace": True}))
    assert isinstance(found, Dead)
    assert str(found.kind) == "torch.nn.modules.activation.SiLU"
    assert found.state == {"inplace": True}


def test_plain_values_are_what_yaml_can_hold() -> None:
    mixed = {"a": (1, 2.5, None), 3: Global("torch", "float32"), "dead": Dead(Global("x", "Y"))}
    assert plain(mixed) == {"a": [1, 2.5, None], "3": "torch.float32", "dead": None}


def test_shared_parts_cannot_multiply_without_end() -> None:
    value: list[object] = []
    for _ in range(20):
        value = [value] * 10
    with pytest.raises(Broken):
        plain(value)


WRONG = {
    "names with a gap": ({"names": {0: "a", 2: "b"}}, "numbered"),
    "a name that is no text": ({"names": {0: "a", 1: 2.5}}, "class 1"),
    "a name with a bell": ({"names": ["a\x07"]}, "class 0"),
    "half of a pair": ({"names": ["\ud800"]}, "class 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_names_that_cannot_be_carried_on(tmp_path: Path, kind: str) -> None:
    settings, told = WRONG[kind]
    pieces = Pieces()
    path = placed(tmp_path, archive(pickled({"model": small_network(pieces, **settings)}), pieces.records))
    with pytest.raises(InputError, match=told):
        read(path)


def test_a_network_that_contains_itself_is_damaged(tmp_path: Path) -> None:
    loop = named("torch.nn.modules.module", "Module") + b")\x81q\x00" + code({"_modules": {"a": Raw(b"h\x00")}}) + b"b"
    with pytest.raises(InputError, match="modules"):
        read(placed(tmp_path, archive(pickled({"model": Raw(loop)}))))


def test_tied_weights_cannot_multiply_without_end(tmp_path: Path) -> None:
    pieces = Pieces()
    large = pieces.tensor(np.zeros(100_000, np.float32))
    shared = Raw(large + b"q\x00")
    layers = {str(index): module("torch.nn.modules.linear.Linear", {"w": Raw(b"h\x00")}, {}) for index in range(100)}
    network = module("torch.nn.modules.container.Sequential", {"w": shared}, layers, names=["a"])
    with pytest.raises(InputError, match="more bytes than the file"):
        read(placed(tmp_path, archive(pickled({"model": network}), pieces.records)))
