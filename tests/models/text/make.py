"""Train the two text recognisers that lie beside this file, on words that `benchmarks/draw_words.py` draws.

    cd <repository>; <python of the pt stage's environment> -m tests.models.text.make {crnn,convolutional} OUT.pt

crnn: convolutions, then a bidirectional LSTM; logits [T, 1, C], blank first; images as high as the input, padded.
convolutional: convolutions only; log-probabilities [1, C, T], blank last; images stretched.
Both are saved as TorchScript. About five minutes each on one processor.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.draw_words import CHARACTERS, draw, word
from stages.common.images import normalise, prepare

SIZE = (32, 128)
BATCH, STEPS, RATE = 64, 600, 3e-3
PADDED: dict[str, Any] = {"resize": {"method": "resize_pad"}}
PADDED["padding"] = {"enabled": True, "color": [128], "position": "top_left"}
STRETCHED: dict[str, Any] = {"resize": {"method": "direct"}, "padding": {"enabled": False}}
NORMAL = {"enabled": True, "method": "mean_std", "mean": [127.5], "std": [127.5]}


def block(before: int, after: int, size: int | tuple[int, int] = 3) -> list[nn.Module]:
    """A convolution that keeps the size, normalised, rectified."""
    return [nn.Conv2d(before, after, size, padding="same", bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def features() -> nn.Sequential:
    """[n, 1, 32, W] to [n, 96, 1, W / 4]."""
    narrow = nn.MaxPool2d((2, 1))
    return nn.Sequential(
        *(*block(1, 16), nn.MaxPool2d(2), *block(16, 32), nn.MaxPool2d(2)),
        *(*block(32, 64), *block(64, 64), narrow, *block(64, 96), narrow, *block(96, 96), narrow),
    )


class Crnn(nn.Module):
    """Convolutions and an LSTM, as in Shi et al. 2015 (arXiv:1507.05717); logits [T, n, classes + 1], blank first."""

    blank = 0

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = features()
        self.sequence = nn.LSTM(96, 48, bidirectional=True)
        self.last = nn.Linear(96, classes + 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[n, 1, 32, W] to [W / 4, n, classes + 1]."""
        columns = self.features(images).squeeze(2).permute(2, 0, 1)
        return self.last(self.sequence(columns)[0])

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [T, n, classes + 1], as the loss wants them."""
        return self(images).log_softmax(2)


class Convolutional(nn.Module):
    """Convolutions only; log-probabilities [n, classes + 1, T], blank last."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = features()
        self.context = nn.Sequential(*block(96, 96, (1, 5)), *block(96, 96, (1, 3)))
        self.last = nn.Conv2d(96, classes + 1, 1)
        self.blank = classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[n, 1, 32, W] to [n, classes + 1, W / 4]."""
        return self.last(self.context(self.features(images))).squeeze(2).log_softmax(1)

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [T, n, classes + 1], as the loss wants them."""
        return self(images).permute(2, 0, 1)


def batch(number: int, contract: dict[str, Any]) -> tuple[torch.Tensor, list[str]]:
    """Images [BATCH, 1, H, W] and their words; every batch is drawn anew, and no seed is one of `draw_words.write`."""
    random = np.random.default_rng([7, 7, 7, number])
    texts = [word(random) for _ in range(BATCH)]
    planes = [normalise(prepare(draw(random, text), contract)[0], contract) for text in texts]
    return torch.from_numpy(np.concatenate(planes)), texts


def train(network: nn.Module, contract: dict[str, Any], steps: int) -> None:
    """Adam with one cycle of the rate; the loss is CTC's."""
    first = 1 if network.blank == 0 else 0
    numbers = {character: index + first for index, character in enumerate(CHARACTERS)}
    adam = torch.optim.Adam(network.parameters(), RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps)
    for step in range(steps):
        images, texts = batch(step, contract)
        scores = network.scores(images)
        targets = torch.tensor([numbers[character] for text in texts for character in text])
        loss = nn.functional.ctc_loss(
            scores, targets, (len(scores),) * BATCH, tuple(map(len, texts)), blank=network.blank, zero_infinity=True
        )
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        adam.step()
        cycle.step()
        if step % 50 == 49:
            print(f"{step + 1} of {steps}: loss {loss.item():.4f}", flush=True)


def main() -> None:
    """Train one and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=("crnn", "convolutional"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    torch.manual_seed(1)
    chosen, resize = (Crnn, PADDED) if given.network == "crnn" else (Convolutional, STRETCHED)
    contract = {"input": {"size": list(SIZE), "format": "Grayscale"}, "preprocessing": {**resize, "normalize": NORMAL}}
    network = chosen(len(CHARACTERS))
    train(network, contract, given.steps)
    network.eval()
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.zeros(1, 1, *SIZE))
    torch.jit.save(traced, str(given.out))


if __name__ == "__main__":
    main()
