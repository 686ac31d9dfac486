"""The original YOLOv5's anchor head and the frame around its layers. Importing this loads torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from stages.families.yolo.cut import run_layers


class Detect(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
    """A convolution for each scale; `anchors` [scales, count, 2] are width and height in cells, as its weights say."""

    f: Any

    def __init__(self, widths: Sequence[int], anchors: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.zeros(len(widths), anchors, 2))
        self.m = torch.nn.ModuleList(torch.nn.Conv2d(width, anchors * (5 + classes), 1) for width in widths)

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The raw maps [1, anchors * (5 + classes), h, w]."""
        return tuple(conv(feature) for conv, feature in zip(self.m, features, strict=True))


class Network(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """Layers that name their inputs by number, as the YAML does; `save` are those that a later one takes.

    `stride` has the scales' strides, which a run tells. Raises RuntimeError where the layers do not fit together.
    """

    def __init__(self, layers: Sequence[torch.nn.Module], save: Collection[int]) -> None:
        super().__init__()
        self.model, self.save = torch.nn.Sequential(*layers), frozenset(save)
        sides = [output.shape[2] for output in self.train()(torch.zeros(2, 3, _PROBE, _PROBE))]
        self.stride = torch.tensor([_PROBE // side for side in sides], device="cpu")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The head's raw maps."""
        head: Any = self.model[-1]
        maps: tuple[torch.Tensor, ...] = head(run_layers(self.model[:-1], self.save, head.f, x))
        return maps


class Activated(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """The network with the sigmoid behind each map: x, y, width, height, objectness and classes are all in 0..1."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The maps after the sigmoid."""
        return tuple(raw.sigmoid() for raw in self.network(x))


_PROBE = 256  # pixels; a multiple of every stride
