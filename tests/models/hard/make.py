"""Train the networks beside this file, each of which plain INT8 spoils in another way.

    cd <repository>; <python of the pt stage's environment> -m tests.models.hard.make FOLDER [NAME ...]

Each learns the stripes of `tests/support/gratings.py` within a minute on one processor, is changed in a way that leaves
its result in float as it was, and is saved as TorchScript.

wide: one channel of a feature map is 120 times as wide as the others; what reads it has that much smaller weights.
outliers: the glaring spots are the range of every feature map, and the stripes a few steps of it.
depthwise: a stack of depthwise convolutions; each channel has a scale of its own, as folded normalisation leaves them.
difference: the result is the small difference of two large numbers, which is lost in FP16 too: no build can pass.
transformer: two blocks of attention; two channels behind each normalisation are far wider than the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tests.support.gratings import NAMES, draw

MEAN, STD = 127.5, 127.5
TRAINED, CHECKED, EPOCHS, BATCH = 2048, 512, 12, 64
WIDE = 120.0
GLARE = 100.0
SMOOTHED = 300.0
UNEVEN = 120.0
LARGE = 300.0


def convolution(before: int, after: int, stride: int = 1, groups: int = 1, size: int = 3) -> list[nn.Module]:
    """A convolution, normalised, rectified."""
    conv = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU()]


def plain() -> nn.Sequential:
    """Four convolutions: [n, 3, 32, 32] to logits [n, 8]."""
    layers = [*convolution(3, 16), *convolution(16, 16, 2), *convolution(16, 32, 2), *convolution(32, 32)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(NAMES)))


def depthwise() -> nn.Sequential:
    """A stem and six pairs of a depthwise and a pointwise convolution."""
    layers = convolution(3, 24, 2)
    for _ in range(6):
        layers += [*convolution(24, 24, groups=24), *convolution(24, 24, size=1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, len(NAMES)))


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalisation and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[n, tokens, width] to the same."""
        count, length, width = tokens.shape
        x = self.norms[0](tokens)
        q, k, v = (
            layer(x).reshape(count, length, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(q @ k.transpose(2, 3) * (width // self.heads) ** -0.5, -1)
        tokens = tokens + self.out((weights @ v).transpose(1, 2).reshape(count, length, width))
        return tokens + self.fall(torch.relu(self.rise(self.norms[1](tokens))))


class Transformer(nn.Module):
    """Patches of 8 x 8 through two convolutions, 16 tokens, two blocks."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Sequential(*convolution(3, 16, 2), *convolution(16, width), nn.Conv2d(width, width, 4, 4))
        self.place = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, len(NAMES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[n, 3, 32, 32] to logits [n, 8]."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.place
        return self.last(self.norm(self.blocks(tokens)).mean(1))


def prepared(pictures: np.ndarray) -> torch.Tensor:
    """float32 [n, 3, H, W] from uint8 [n, H, W, 3]."""
    return torch.from_numpy((pictures.astype(np.float32) - MEAN) / STD).permute(0, 3, 1, 2).contiguous()


def train(network: nn.Module, epochs: int = EPOCHS) -> nn.Module:
    """The trained network, in eval mode."""
    pictures, labels = draw(TRAINED, 3)
    images, wanted = prepared(pictures), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01)
    steps = epochs * (TRAINED // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(TRAINED).split(BATCH):
            loss = nn.functional.cross_entropy(network(images[chosen]), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def folded(network: nn.Sequential) -> nn.Sequential:
    """Its normalisations within its convolutions."""
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def scaled(network: nn.Sequential, scales: list[torch.Tensor | None]) -> nn.Sequential:
    """Each convolution's outputs times its scales, and what reads them divided: ReLU lets positive factors through."""
    readers = [layer for layer in network if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for layer, reader, scale in zip(readers, readers[1:], scales, strict=False):
        if scale is None:
            continue
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        layer.weight.mul_(scale[:, None, None, None])
        layer.bias.mul_(scale)
        grouped = isinstance(reader, nn.Conv2d) and reader.groups > 1
        shape = (-1, 1, 1, 1) if grouped else (1, -1, 1, 1) if isinstance(reader, nn.Conv2d) else (1, -1)
        reader.weight.div_(scale.reshape(shape))
    return network


def wide() -> nn.Module:
    scale = torch.ones(16)
    scale[0] = WIDE
    return scaled(folded(train(plain())), [None, scale])


def outliers() -> nn.Module:
    network = folded(train(plain()))
    first, reader = network[0], network[2]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(reader, nn.Conv2d)
    assert first.bias is not None
    assert reader.bias is not None
    spots, blind = nn.Conv2d(3, 17, 3, padding=1), nn.Conv2d(17, 16, 3, 2, 1)
    white = (255 - MEAN) / STD * 27
    with torch.no_grad():
        spots.weight.copy_(torch.cat([first.weight, torch.full((1, 3, 3, 3), GLARE)]))
        spots.bias.copy_(torch.cat([first.bias, torch.tensor([-0.8 * white * GLARE])]))
        blind.weight.copy_(torch.cat([reader.weight, torch.zeros(16, 1, 3, 3)], 1))
        blind.bias.copy_(reader.bias)
    network[0], network[2] = spots, blind
    return network


def uneven() -> nn.Module:
    network = folded(train(depthwise()))
    random = torch.Generator().manual_seed(5)
    scales = [torch.exp(torch.rand(24, generator=random) * np.log(UNEVEN)) for _ in range(13)]
    return scaled(network, scales)


def transformer() -> nn.Module:
    """Factors of a normalisation's channels, taken back by what reads them: SmoothQuant's way, backwards."""
    network = train(Transformer(), 30)
    assert isinstance(network, Transformer)
    for block in network.blocks:
        readers = ((block.query, block.key, block.value), (block.rise,))
        for norm, layers in zip(block.norms, readers, strict=True):
            factors = torch.ones_like(norm.weight)
            factors[:2] = SMOOTHED
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
            for layer in layers:
                layer.weight.div_(factors)
    return network


class Difference(nn.Module):
    """A network whose result is the small difference of two large numbers, which FP16 does not tell apart either."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        *features, last = network
        assert isinstance(last, nn.Linear)
        self.features = nn.Sequential(*features)
        self.minuend, self.subtrahend = last, nn.Linear(last.in_features, len(NAMES), bias=False)
        self.subtrahend.weight.copy_(torch.full_like(last.weight, LARGE))
        self.minuend.weight.add_(LARGE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[n, 3, 32, 32] to logits [n, 16]."""
        found = self.features(images)
        return self.minuend(found) - self.subtrahend(found)


def difference() -> nn.Module:
    network = folded(train(plain()))
    with torch.no_grad():
        return Difference(network)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "wide": wide, "outliers": outliers, "depthwise": uneven, "transformer": transformer, "difference": difference,
}  # fmt: skip


def main() -> None:
    """Train and save the networks that are named, else all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", choices=[[], *NETWORKS])
    args = parser.parse_args()
    torch.set_num_threads(1)  # the same sums in the same order everywhere
    pictures, labels = draw(CHECKED, 2)
    for name in args.names or NETWORKS:
        torch.manual_seed(0)
        network = NETWORKS[name]()
        right = (network(prepared(pictures)).argmax(1).numpy() == labels).mean()
        traced = torch.jit.trace(network, torch.zeros(1, 3, 32, 32))
        torch.jit.save(traced, args.folder / f"{name}.pt")
        print(f"{name}: top1 {right:.4f}", flush=True)


if __name__ == "__main__":
    main()
