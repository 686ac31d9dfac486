"""Checkpoints that the library itself saves, read without unpickling and rebuilt bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint, read
from stages.families import family_of, recognise
from stages.families.yolo.cut import cut
from stages.families.yolo.network import build, quiet_ultralytics

quiet_ultralytics()

import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402
from ultralytics.nn.tasks import load_checkpoint  # noqa: E402

from tests.support.detectors import NAMES, network, saved  # noqa: E402


@pytest.mark.parametrize(
    ("architecture", "kind", "size"),
    [("yolov8n", "YOLOv8", 128), ("yolov8s", "YOLOv8", 64), ("yolo11n", "YOLO11", [96, 160])],
)
def test_the_rebuilt_network_is_the_library_s_bit_for_bit(
    tmp_path: Path, architecture: str, kind: str, size: int | list[int]
) -> None:
    path = saved(tmp_path, network(f"{architecture}.yaml"), size)
    checkpoint = read(path)
    family = recognise(checkpoint)
    described = family.describe(checkpoint)
    rebuilt, theirs = family.build(checkpoint), load_checkpoint(path)[0]
    height, width = described["input"]["size"]
    image = torch.rand(1, 3, height, width)
    assert described["model"]["type"] == kind
    assert described["classes"] == {"names": list(NAMES), "num_classes": 3}
    assert not rebuilt.training
    assert all(not weight.requires_grad and weight.dtype == torch.float32 for weight in rebuilt.parameters())
    assert rebuilt.names == theirs.names
    with torch.no_grad():
        assert torch.equal(rebuilt(image)[0], theirs(image)[0])


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo11n"])
def test_the_cut_network_returns_the_head_s_convolutions(tmp_path: Path, architecture: str) -> None:
    rebuilt = build(read(saved(tmp_path, network(f"{architecture}.yaml"))))
    part, head = cut(rebuilt)
    image = torch.rand(1, 3, 96, 160)
    with torch.no_grad():
        outputs, raw = part(image), rebuilt(image)[1]
    assert head == {
        "family": "yolo_dfl",
        "strides": [8, 16, 32],
        "reg_max": 16,
        "num_classes": 3,
        "outputs": ["boxes_8", "scores_8", "boxes_16", "scores_16", "boxes_32", "scores_32"],
        "score_activation": "sigmoid",
    }
    assert [tuple(output.shape) for output in outputs] == [
        shape
        for stride in (8, 16, 32)
        for shape in ((1, 64, 96 // stride, 160 // stride), (1, 3, 96 // stride, 160 // stride))
    ]
    assert torch.equal(torch.cat([output.flatten(2) for output in outputs[0::2]], 2), raw["boxes"])
    # Of each scale by itself, as the cut network has it: with AVX2, torch's sigmoid of a number depends on its place.
    areas = [output.shape[2] * output.shape[3] for output in outputs[1::2]]
    for output, logits in zip(outputs[1::2], raw["scores"].split(areas, 2), strict=True):
        assert torch.equal(output.flatten(2), logits.contiguous().sigmoid())


def test_decoding_the_cut_outputs_gives_the_library_s_boxes(tmp_path: Path) -> None:
    rebuilt = build(read(saved(tmp_path, network("yolo11n.yaml"))))
    part, head = cut(rebuilt)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = rebuilt(image)[0][0].numpy()
        outputs = [output.numpy() for output in part(image)]
    boxes, scores, classes = family_of(head).decode(outputs, head, 0.0)
    assert len(boxes) == expected.shape[1] * 3
    centre, extent = expected[:2].T, expected[2:4].T
    corners = torch.from_numpy(expected[:2] - expected[2:4] / 2).T.numpy()
    found = {(int(kind), tuple(box.round(1))) for box, kind in zip(boxes, classes, strict=True)}
    assert len(found) > 0
    first = boxes[classes == 0]
    order, theirs = first[:, 0].argsort(), corners[:, 0].argsort()
    assert abs(first[order, 0] - corners[theirs, 0]).max() < 1e-2
    assert abs((first[:, 2] - first[:, 0]).mean() - extent[:, 0].mean()) < 1e-2
    assert abs((first[:, :2] + first[:, 2:]).mean() / 2 - centre.mean()) < 1e-2
    assert abs(scores[classes == 2].sum() - expected[6].sum()) < 1e-3


OTHERS = [("yolo12n-seg", "YOLO12", "segmentation"), ("yolov8n-ghost", "custom YOLO", "object_detection")]


@pytest.mark.parametrize(("architecture", "kind", "task"), OTHERS)
def test_the_rest_of_the_family_is_read_whole_and_rebuilt_from_its_own_yaml(
    tmp_path: Path, architecture: str, kind: str, task: str
) -> None:
    model = YOLO(f"{architecture}.yaml").model
    checkpoint = read(saved(tmp_path, model, task=model.task))
    state = model.half().state_dict()
    assert list(checkpoint.tensors) == list(state)
    assert all(torch.equal(torch.from_numpy(checkpoint.tensors[name]), weight) for name, weight in state.items())
    family = recognise(checkpoint)
    described = family.describe(checkpoint)["model"]
    assert (described["type"], described["task"]) == (kind, task)
    rebuilt = family.build(checkpoint).state_dict()
    assert all(torch.equal(rebuilt[name], weight.float()) for name, weight in state.items())


def test_a_checkpoint_with_optimizer_and_loss_is_read(tmp_path: Path) -> None:
    """What last.pt holds while the training runs."""
    from ultralytics.utils import IterableSimpleNamespace

    model = network("yolo11n.yaml")
    model.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    model.criterion = model.init_criterion()
    moments = {n: {"step": torch.tensor(9.0), "exp_avg": w.half()} for n, w in enumerate(model.parameters())}
    optimizer = {"state": moments, "param_groups": [{"lr": 0.01, "betas": (0.9, 0.999), "params": list(moments)}]}
    whole = {"epoch": 3, "ema": None, "model": model, "optimizer": optimizer, "train_args": {"imgsz": 64}}
    torch.save(whole, tmp_path / "last.pt")
    checkpoint = read(tmp_path / "last.pt")
    assert checkpoint.metadata["epoch"] == 3
    rebuilt = build(checkpoint)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(rebuilt(image)[0], model.float().eval()(image)[0])


def exchanged_class() -> torch.nn.Module:
    model = network("yolo11n.yaml")
    model.model[0].act = torch.nn.ReLU()
    return model


def other_epsilon() -> torch.nn.Module:
    model = network("yolo11n.yaml")
    model.model[0].bn.eps = 0.1
    return model


def other_kernel() -> torch.nn.Module:
    model = network("yolov8n.yaml")
    model.model[9].m.kernel_size = 3
    return model


def other_stride() -> torch.nn.Module:
    model = network("yolov8n.yaml")
    model.stride = torch.tensor([4.0, 8.0, 16.0])
    return model


def pruned() -> torch.nn.Module:
    model = network("yolov8n.yaml")
    model.model[0].conv.weight = torch.nn.Parameter(model.model[0].conv.weight[:8])
    return model


def fused() -> torch.nn.Module:
    return network("yolov8n.yaml").eval().fuse(verbose=False)


def not_finite() -> torch.nn.Module:
    model = network("yolov8n.yaml")
    model.model[3].conv.weight.data[0] = float("nan")
    return model


CUSTOM: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "class": (exchanged_class, "model.0.act is a torch.nn.modules.activation.ReLU"),
    "setting": (other_epsilon, "model.0.bn has eps 0.1"),
    "kernel": (other_kernel, "model.9.m has kernel_size 3"),
    "stride": (other_stride, r"strides are \[4, 8, 16\]"),
    "pruned": (pruned, r"model.0.conv.weight has the shape \(8, 3, 3, 3\)"),
    "fused": (fused, "fused network"),
    "not finite": (not_finite, "model.3.conv.weight holds values that are not finite"),
}


@pytest.mark.parametrize("kind", CUSTOM)
def test_a_network_that_is_not_the_library_s_own_is_not_rebuilt(tmp_path: Path, kind: str) -> None:
    make, told = CUSTOM[kind]
    checkpoint = read(saved(tmp_path, make()))
    with pytest.raises(InputError, match=told) as caught:
        build(checkpoint)
    assert caught.value.remedy
    if caught.value.kind == "custom-architecture":
        assert "--trust-checkpoint" in caught.value.remedy


def test_one_class_and_a_thousand(tmp_path: Path) -> None:
    for count in (1, 1000):
        names = tuple(f"class {index}" for index in range(count))
        checkpoint = read(saved(tmp_path, network("yolov8n.yaml", names)))
        assert recognise(checkpoint).describe(checkpoint)["classes"]["num_classes"] == count
        assert cut(build(checkpoint))[1]["num_classes"] == count


def test_a_torch_function_in_a_saved_file_is_refused(tmp_path: Path) -> None:
    """A real file of torch.save whose object reduces to a call."""
    from mcwbuild.contract.errors import Refused

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, ("exit 7",)

    with pytest.raises(Refused, match=r"would call os\.system"):
        read(saved(tmp_path, network("yolov8n.yaml"), extra=Hostile()))


def test_the_library_is_imported_without_network_home_or_torchvision(tmp_path: Path) -> None:
    """Building and running a network connects nowhere and writes nothing below the home."""
    path = saved(tmp_path, network("yolov8n.yaml"))
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event) if event.startswith('socket.') else None)\n"
        "from stages.common.checkpoint import read\n"
        "from stages.families import recognise\n"
        f"checkpoint = read({str(path)!r})\n"
        "assert 'torch' not in sys.modules\n"
        "network = recognise(checkpoint).build(checkpoint)\n"
        "import torch\n"
        "network(torch.zeros(1, 3, 64, 64))\n"
        "assert not [event for event in seen if event in ('socket.connect', 'socket.getaddrinfo')], seen\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO_", "XDG_", "MPL"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(home.rglob("*")) == []


def test_the_example_is_read() -> None:
    checkpoint: Checkpoint = read(Path(__file__).parents[3] / "examples" / "shapes" / "best.pt")
    described = recognise(checkpoint).describe(checkpoint)
    assert described["input"]["size"] == [256, 256]
    assert described["model"]["name"] == "shapes"
