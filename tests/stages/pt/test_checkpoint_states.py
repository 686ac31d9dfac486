"""What people do to a checkpoint with the real libraries: each is taken as it is, or told by name with what to do."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import read
from stages.families import recognise
from stages.families.yolo.custom import MODULES, Unsound, sound_yaml
from stages.families.yolo.network import build, quiet_ultralytics

quiet_ultralytics()

import torch  # noqa: E402
from torch.nn.utils import prune  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.tasks import load_checkpoint, yaml_model_load  # noqa: E402

from tests.support.detectors import NAMES, saved  # noqa: E402

KINDS = {
    "detect": ("", tasks.DetectionModel),
    "segment": ("-seg", tasks.SegmentationModel),
    "pose": ("-pose", tasks.PoseModel),
    "obb": ("-obb", tasks.OBBModel),
    "classify": ("-cls", tasks.ClassificationModel),
}
MIXED = [("yolov8", "detect"), ("yolo26", "segment"), ("yolo26", "pose"), ("yolo11", "obb"), ("yolo11", "classify")]


def own(name: str, task: str) -> dict[str, Any]:
    """The library's YAML at a sixteenth of its width: somebody's own."""
    yaml = dict(yaml_model_load(f"{name}n{KINDS[task][0]}.yaml"))
    return {**yaml, "scales": {"n": [0.5, 0.0625, 1024]}, "yaml_file": "mine.yaml"}


def small(name: str = "yolo11", task: str = "detect", yaml: dict[str, Any] | None = None) -> torch.nn.Module:
    """A network of that YAML whose batch norms have seen noise."""
    torch.manual_seed(5)
    model = KINDS[task][1](yaml or own(name, task), ch=3, nc=len(NAMES), verbose=False)
    model.names = dict(enumerate(NAMES))
    model.train()
    with torch.no_grad():
        model(torch.rand(2, 3, 64, 64))
    return model.eval()


def first(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else first(value[0])


@pytest.mark.parametrize(("name", "task"), MIXED)
def test_a_yaml_of_one_s_own_is_rebuilt_bit_for_bit(tmp_path: Path, name: str, task: str) -> None:
    path = saved(tmp_path, small(name, task), 64, task)
    checkpoint = read(path)
    family = recognise(checkpoint)
    rebuilt, theirs = family.build(checkpoint), load_checkpoint(path)[0].float().eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(first(rebuilt(image)), first(theirs(image)))
    assert family.describe(checkpoint)["model"]["type"] == "custom YOLO"
    assert family.describe(checkpoint)["architecture"]["file"] == "mine.yaml"
    cut, head = family.cut(rebuilt)
    assert len(cut(image)) == len(head["outputs"])


def test_a_head_at_a_fourth_scale_another_activation_and_other_repeats_are_rebuilt(tmp_path: Path) -> None:
    yaml = {**own("yolov8", "detect"), "activation": "torch.nn.ReLU()"}
    ghost = dict(yaml_model_load("yolov8n-ghost-p2.yaml"))
    yaml["backbone"], yaml["head"] = ghost["backbone"], deepcopy(ghost["head"])
    yaml["backbone"][2][1] = 5
    path = saved(tmp_path, small(yaml=yaml), 64)
    rebuilt = build(read(path))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(first(rebuilt(image)), first(load_checkpoint(path)[0].float().eval()(image)))
    assert isinstance(rebuilt.model[0].act, torch.nn.ReLU)
    assert isinstance(build(read(saved(tmp_path, small(), 64))).model[0].act, torch.nn.SiLU)  # it does not last


def changed(**entries: Any) -> dict[str, Any]:
    return {**deepcopy(own("yolo11", "detect")), "nc": len(NAMES), **entries}


def with_layer(index: int, row: list[Any]) -> dict[str, Any]:
    yaml = changed()
    yaml["backbone"][index] = row
    return yaml


HOSTILE = "__import__('os').system('touch /tmp/mcwbuild-was-run')"
UNSOUND: dict[str, tuple[dict[str, Any], str]] = {
    "activation": (changed(activation=HOSTILE), "activation is not one"),
    "activation's words": (changed(activation="torch.nn.ReLU() or exit()"), "activation is not one"),
    "module": (with_layer(0, [-1, 1, "torchvision.ops.MLP", [64]]), "layer 0 is torchvision.ops.MLP"),
    "name": (with_layer(0, [-1, 1, "contextlib", [64]]), "layer 0 is contextlib"),
    "part of torch": (with_layer(0, [-1, 1, "nn.Module", [64]]), "layer 0 is nn.Module"),
    "a head inside": (with_layer(0, [-1, 1, "Detect", ["nc"]]), "layer 0 is Detect"),
    "argument": (with_layer(0, [-1, 1, "Conv", [64, "d", 2]]), "argument of its layer 0 is 'd'"),
    "text": (with_layer(0, [-1, 1, "Conv", [HOSTILE, 3, 2]]), "argument of its layer 0"),
    "mapping": (with_layer(0, [-1, 1, "Conv", [{}, 3, 2]]), "argument of its layer 0"),
    "huge": (with_layer(0, [-1, 1, "Conv", [10**9, 3, 2]]), "argument of its layer 0 is 1000000000"),
    "infinite": (with_layer(0, [-1, 1, "Conv", [float("inf")]]), "argument of its layer 0 is inf"),
    "repeats": (with_layer(2, [-1, 10**6, "C3k2", [256]]), "number of its layer 2"),
    "all repeats": (changed(scales={"n": [10, 0.1, 1024]}, backbone=[[-1, 50, "Conv", [64]]] * 11), "more than 1000"),
    "source": (with_layer(1, [7, 1, "Conv", [64]]), "layer 1 takes what no layer before it gives"),
    "no row": (changed(backbone=[1, 2]), "not \\[from"),
    "width": (changed(scales={"n": [0.5, 99, 1024]}), "width is not above 0"),
    "scale": (changed(scale="../n"), "scale is no word"),
    "limit": (changed(scales={"n": [0.5, 0.25, 10**9]}), "channels' limit"),
    "end2end": (changed(end2end=HOSTILE), "end2end is neither"),
    "reg_max": (changed(reg_max="16"), "reg_max is not a whole number"),
    "channels": (changed(channels=4), "three channels"),
    "no layers": (changed(head=None), "head is no list"),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_is_not_known_to_be_harmless_never_reaches_the_library(kind: str) -> None:
    yaml, told = UNSOUND[kind]
    with pytest.raises(Unsound, match=told):
        sound_yaml(yaml, "detect", 3)


def test_every_module_that_may_be_named_is_one_of_the_library_s() -> None:
    for name in MODULES:
        module = getattr(torch.nn, name[3:]) if name.startswith("nn.") else getattr(tasks, name)
        assert issubclass(module, torch.nn.Module)


def test_an_unsound_yaml_in_a_checkpoint_is_told_with_the_layer(tmp_path: Path) -> None:
    model = small()
    model.yaml = with_layer(0, [-1, 1, "Mine", [64, 3, 2]])
    with pytest.raises(InputError, match="custom architecture") as caught:
        build(read(saved(tmp_path, model)))
    assert "its layer 0 is Mine" in str(caught.value)
    assert "--trust-checkpoint" in str(caught.value.remedy)


def test_a_yaml_that_asks_for_more_than_the_file_holds_is_told_before_it_is_built(tmp_path: Path) -> None:
    model = small()
    model.yaml = changed(scales={"n": [0.5, 4.0, 4096]})  # 64 times as wide: gigabytes, if it were built
    with pytest.raises(InputError, match=r"model\.0\.conv\.weight has the shape \(8, 3, 3, 3\), not \(256, 3, 3, 3\)"):
        build(read(saved(tmp_path, model)))


def test_layers_that_do_not_fit_together_are_told(tmp_path: Path) -> None:
    model = small()
    model.yaml = with_layer(4, [-1, 1, "Concat", [1]])
    with pytest.raises(InputError, match="layers do not fit together"):
        build(read(saved(tmp_path, model)))


@pytest.mark.parametrize("task", ["segment", "classify"])
def test_a_fused_network_is_named(tmp_path: Path, task: str) -> None:
    fused = small("yolo26", task).fuse(verbose=False)
    with pytest.raises(InputError, match="is a fused network") as caught:
        build(read(saved(tmp_path, fused, 64, task)))
    assert caught.value.kind == "fused"


def written(folder: Path, **entries: Any) -> Path:
    torch.save({"train_args": {"imgsz": 64}, "version": "8.4.190", **entries}, folder / "best.pt")
    return folder / "best.pt"


def test_a_network_with_pruning_masks_is_named_and_taken_once_they_are_applied(tmp_path: Path) -> None:
    model = small()
    model.args = {}
    pruned = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    for part in pruned:
        prune.l1_unstructured(part, "weight", amount=0.3)
    with pytest.raises(InputError, match="is being pruned") as caught:
        build(read(written(tmp_path, model=model)))
    assert "prune.remove" in str(caught.value.remedy)
    for part in pruned:
        prune.remove(part, "weight")
    rebuilt = build(read(written(tmp_path, model=model)))
    assert float((rebuilt.model[0].conv.weight == 0).float().mean()) == pytest.approx(0.3, abs=0.02)


def test_a_network_whose_channels_were_cut_off_is_named(tmp_path: Path) -> None:
    model = small()
    conv, norm = model.model[0].conv, model.model[0].bn
    conv.weight = torch.nn.Parameter(conv.weight[:4])
    for name in ("weight", "bias"):
        setattr(norm, name, torch.nn.Parameter(getattr(norm, name)[:4]))
    norm.running_mean, norm.running_var = norm.running_mean[:4], norm.running_var[:4]
    model.model[1].conv.weight = torch.nn.Parameter(model.model[1].conv.weight[:, :4])
    with pytest.raises(InputError, match="is a pruned network: its layers are narrower than its YAML says"):
        build(read(saved(tmp_path, model)))


def test_a_quantized_network_is_named(tmp_path: Path) -> None:
    model = small(task="classify")
    model.args = {}
    quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    with pytest.raises(InputError, match="is a quantized network") as caught:
        read(written(tmp_path, model=quantized))
    assert "INT8 is made in the rknn phase" in str(caught.value.remedy)


@pytest.mark.parametrize("kind", ["half", "float", "bfloat16", "double"])
def test_every_precision_is_read(tmp_path: Path, kind: str) -> None:
    model = small()
    model.args = {}
    converted = getattr(deepcopy(model), kind)()
    rebuilt = build(read(written(tmp_path, model=converted, ema=None)))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(first(rebuilt(image)), first(converted.float()(image)))


def test_a_checkpoint_with_the_averages_alone_is_read_and_the_averages_are_taken(tmp_path: Path) -> None:
    averaged, model = small(), small()
    averaged.args = model.args = {}
    model.model[0].conv.weight.data += 1
    for entries in ({"ema": averaged, "updates": 9}, {"ema": averaged, "model": model, "optimizer": None}):
        rebuilt = build(read(written(tmp_path, **entries)))
        assert torch.equal(rebuilt.model[0].conv.weight, averaged.model[0].conv.weight)


def test_a_stripped_checkpoint_is_read(tmp_path: Path) -> None:
    from ultralytics.utils.torch_utils import strip_optimizer

    model = small()
    model.args = {"imgsz": 64}
    path = written(tmp_path, model=None, ema=model, optimizer={"state": {}}, epoch=3, updates=9)
    strip_optimizer(path)
    assert torch.equal(build(read(path)).model[0].conv.weight, model.half().float().model[0].conv.weight)


def test_a_checkpoint_of_a_newer_library_says_so(tmp_path: Path) -> None:
    model = small()
    model.yaml = changed(yaml_file="yolo27n.yaml")
    model.yaml["head"][-1][2] = "Detect27"
    with pytest.raises(InputError, match=r"saved by ultralytics 9\.1\.0, which is newer than 8\."):
        build(read(saved(tmp_path, model, version="9.1.0")))
    model.yaml["head"][-1][2] = "Detect"
    assert build(read(saved(tmp_path, model, version="9.1.0")))  # what can be rebuilt is taken
