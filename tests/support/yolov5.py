"""A stand-in for the original YOLOv5 repository: networks with its anchor head, saved under its class paths.

Written after its published description, for the pt environment; no file of that repository is used. What counts is
what a checkpoint and an export of it hold: class paths (`models.yolo.DetectionModel`), the YAML with its anchors, the
names of the weights, and the arithmetic of the head:

    xy = (2 sigmoid - 0.5 + cell) * stride        wh = (2 sigmoid)^2 * anchor

Importing this defines the modules `models.common` and `models.yolo`, as a start in that repository's folder does.
In the onnx environment it is a program too: python -m tests.support.yolov5 best.pt model.onnx v7|rockchip|...
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

ANCHORS = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
HEAD = [
    [-1, 1, "Conv", [512, 1, 1]],
    [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
    [[-1, 6], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [256, 1, 1]],
    [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
    [[-1, 4], 1, "Concat", [1]],
    [-1, 3, "C3", [256, False]],
    [-1, 1, "Conv", [256, 3, 2]],
    [[-1, 14], 1, "Concat", [1]],
    [-1, 3, "C3", [512, False]],
    [-1, 1, "Conv", [512, 3, 2]],
    [[-1, 10], 1, "Concat", [1]],
    [-1, 3, "C3", [1024, False]],
    [[17, 20, 23], 1, "Detect", ["nc", "anchors"]],
]


def backbone(first: list[Any]) -> list[Any]:
    """The backbone of v6 and later; `first` is its first layer, a Focus up to v5."""
    return [
        first,
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C3", [128]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, "C3", [256]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 9, "C3", [512]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, "C3", [1024]],
        [-1, 1, "SPPF", [1024, 5]],
    ]


def architecture(classes: int, width: float = 0.125, *, focus: bool = False) -> dict[str, Any]:
    """A YAML in that repository's form, narrower than any of its own."""
    first = [-1, 1, "Focus", [64, 3]] if focus else [-1, 1, "Conv", [64, 6, 2, 2]]
    whole = {"nc": classes, "depth_multiple": 0.33, "width_multiple": width, "anchors": ANCHORS}
    return {**whole, "backbone": backbone(first), "head": HEAD}


class Conv(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None, g: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2 if p is None else p, groups=g, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, c1: int, c2: int, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, int(c2 * e)), Conv(int(c2 * e), c2, 3, 1, g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class C3(nn.Module):
    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        inner = int(c2 * e)
        self.cv1, self.cv2, self.cv3 = Conv(c1, inner), Conv(c1, inner), Conv(2 * inner, c2)
        self.m = nn.Sequential(*(Bottleneck(inner, inner, shortcut, g, e=1.0) for _ in range(n)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class SPPF(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(c1, c1 // 2), Conv(c1 // 2 * 4, c2)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = [self.cv1(x)]
        for _ in range(3):
            pooled.append(self.m(pooled[-1]))
        return self.cv2(torch.cat(pooled, 1))


class Focus(nn.Module):
    def __init__(self, c1: int, c2: int, k: int = 1) -> None:
        super().__init__()
        self.conv = Conv(c1 * 4, c2, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        quarters = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(quarters, 1))


class Concat(nn.Module):
    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.d = dimension

    def forward(self, x: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(x, self.d)


class Detect(nn.Module):
    """`form` is how an exported head writes its arithmetic: `v7` is this repository's last, `yolov7` that one's."""

    def __init__(self, nc: int, anchors: list[list[float]], channels: list[int]) -> None:
        super().__init__()
        self.nc, self.no, self.nl, self.na = nc, nc + 5, len(anchors), len(anchors[0]) // 2
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(nn.Conv2d(width, self.no * self.na, 1) for width in channels)
        self.stride, self.form = torch.zeros(self.nl), "v7"
        self.sides: list[int] = []

    def forward(self, features: list[torch.Tensor]) -> Any:
        raw = [conv(x) for conv, x in zip(self.m, features, strict=True)]
        if self.form == "rockchip":
            return [one.sigmoid() for one in raw]
        if self.form == "convolutions":
            return raw
        maps = [one.view(1 if self.form != "training" else -1, self.na, self.no, *one.shape[2:]) for one in raw]
        maps = [one.permute(0, 1, 3, 4, 2).contiguous() for one in maps]
        if self.training or self.form in ("training", "maps"):
            return maps
        found = torch.cat([self.decoded(one, index).view(1, -1, self.no) for index, one in enumerate(maps)], 1)
        return (found, *maps) if self.form == "v6" else found

    def decoded(self, logits: torch.Tensor, index: int) -> torch.Tensor:
        """[1, na, h, w, no] with boxes cx cy w h in input pixels."""
        rows, columns = logits.shape[2:4]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells, stride = torch.stack((x, y), 2).float()[None, None], self.sides[index]
        sizes = (self.anchors[index] * stride).view(1, self.na, 1, 1, 2)
        xy, wh, rest = logits.sigmoid().split((2, 2, self.no - 4), 4)
        if self.form == "yolov7":
            return torch.cat((xy * (2.0 * stride) + stride * (cells - 0.5), wh**2 * (4 * sizes), rest), 4)
        return torch.cat(((xy * 2 + (cells - 0.5)) * stride, (wh * 2) ** 2 * sizes, rest), 4)


class DetectionModel(nn.Module):
    def __init__(self, cfg: dict[str, Any], names: tuple[str, ...]) -> None:
        super().__init__()
        self.yaml = {**deepcopy(cfg), "ch": 3}
        self.yaml_file, self.names, self.inplace = "standin.yaml", dict(enumerate(names)), True
        layers, widths, save = [], [3], set()
        for index, (source, number, kind, args) in enumerate(cfg["backbone"] + cfg["head"]):
            sources = source if isinstance(source, list) else [source]
            inputs = [widths[-1] if one == -1 else widths[one + 1] for one in sources]
            layer, width = _layer(kind, list(args), number, inputs, cfg)
            layer.i, layer.f, layer.type = index, source, kind
            save |= {one for one in sources if one != -1}
            layers.append(layer)
            widths.append(width)
        self.model, self.save = nn.Sequential(*layers), sorted(save)
        head = self.model[-1]
        head.stride = torch.tensor([64.0 / one.shape[2] for one in self.train()(torch.zeros(2, 3, 64, 64), "training")])
        head.anchors /= head.stride.view(-1, 1, 1)
        head.sides = [int(side) for side in head.stride]
        self.stride = head.stride

    def forward(self, x: torch.Tensor, form: str | None = None) -> Any:
        kept: list[Any] = []
        if form is not None:
            self.model[-1].form = form
        for layer in self.model:
            taken = [x if one == -1 else kept[one] for one in (layer.f if isinstance(layer.f, list) else [layer.f])]
            x = layer(taken if isinstance(layer.f, list) else taken[0])
            kept.append(x)
        return x


def _layer(kind: str, args: list[Any], number: int, inputs: list[int], cfg: dict[str, Any]) -> tuple[nn.Module, int]:
    count = max(round(number * cfg["depth_multiple"]), 1) if number > 1 else 1
    if kind == "Detect":
        return Detect(cfg["nc"], cfg["anchors"], inputs), 0
    if kind == "nn.Upsample":
        return nn.Upsample(None, *args[1:]), inputs[0]
    if kind == "Concat":
        return Concat(*args), sum(inputs)
    width = -(-int(args[0] * cfg["width_multiple"]) // 8) * 8
    more = [count, *args[1:]] if kind == "C3" else args[1:]
    return KINDS[kind](inputs[0], width, *more), width


KINDS: dict[str, Any] = {"Conv": Conv, "C3": C3, "SPPF": SPPF, "Focus": Focus}
for _name, _parts in {
    "models.common": (Conv, Bottleneck, C3, SPPF, Focus, Concat),
    "models.yolo": (Detect, DetectionModel),
}.items():
    _module = sys.modules.setdefault(_name, ModuleType(_name))
    for _part in _parts:
        _part.__module__ = _name
        setattr(_module, _part.__name__, _part)
sys.modules.setdefault("models", ModuleType("models"))


def network(names: tuple[str, ...], width: float = 0.125, *, focus: bool = False, seed: int = 3) -> DetectionModel:
    """An untrained network whose normalisations have seen noise, and whose scores spread over 0..1."""
    torch.manual_seed(seed)
    model = DetectionModel(architecture(len(names), width, focus=focus), names)
    with torch.no_grad():
        model(torch.rand(4, 3, 64, 64), "training")
    for last in model.model[-1].m:
        nn.init.normal_(last.weight, std=0.3)
        nn.init.normal_(last.bias, std=1.0)
    model.model[-1].form = "v7"
    return model.eval().requires_grad_(False)


def export(checkpoint: Path, target: Path, form: str) -> None:
    """An ONNX file of a saved network, its head in `form`, with the metadata that `export.py` writes."""
    import onnx

    whole = torch.load(checkpoint, map_location="cpu", weights_only=False)
    model, size = whole["model"].float().eval(), whole["opt"]["imgsz"]
    model.model[-1].form = form
    torch.onnx.export(
        model, (torch.zeros(1, 3, size, size),), target, input_names=["images"], opset_version=12, dynamo=False
    )
    made = onnx.load(target)
    for key, value in (("stride", "32"), ("names", str(list(model.names.values())))):
        made.metadata_props.add(key=key, value=value)
    onnx.save(made, target)


def saved(path: Path, model: DetectionModel, size: int = 64, **more: Any) -> Path:
    """The file that the repository's `strip_optimizer` leaves of a training."""
    whole = {"epoch": -1, "best_fitness": 0.5, "model": deepcopy(model).half(), "ema": None, "updates": None}
    options = {"imgsz": size, "epochs": 3, "data": "data.yaml", "batch_size": 16, "optimizer": "SGD"}
    torch.save({**whole, "optimizer": None, "opt": options, "git": {}, "date": "2026-11-23T10:00:00", **more}, path)
    return path


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
