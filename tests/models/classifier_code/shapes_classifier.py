"""The network whose weights lie beside this folder, as its author would have written it."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape as `x`."""
        return torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))


class Classifier(nn.Module):
    """float32 [n, 3, 64, 64] in, logits [n, classes] out."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (16, 32, 64)
        stages: list[nn.Module] = []
        before = 3
        for width in widths:
            stages += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.ReLU(inplace=True), Block(width)]
            before = width
        self.features = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(before * 16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.head(torch.flatten(self.pool(self.features(x)), 1))


def make() -> nn.Module:
    """The network without its weights."""
    return Classifier(6)
