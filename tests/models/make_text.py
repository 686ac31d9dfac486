"""Train the text recogniser of examples/ocr, on words that `benchmarks/draw_words.py` draws.

    cd <repository>; <python of the pt stage's environment> -m tests.models.make_text OUT.pt

Convolutions, then a bidirectional LSTM; logits [T, 1, C], the blank first; grey images as high as the input, padded at
the right. Saved as TorchScript. Some minutes on one processor.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.draw_words import CHARACTERS, draw, word
from stages.common.images import normalise, prepare

SIZE = (32, 128)
BATCH, STEPS, RATE = 64, 600, 3e-3
CONTRACT: dict[str, Any] = {
    "input": {"size": list(SIZE), "format": "Grayscale"},
    "preprocessing": {
        "resize": {"method": "resize_pad"},
        "padding": {"enabled": True, "color": [128], "position": "top_left"},
        "normalize": {"enabled": True, "method": "mean_std", "mean": [127.5], "std": [127.5]},
    },
}


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

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = features()
        self.sequence = nn.LSTM(96, 48, bidirectional=True)
        self.last = nn.Linear(96, classes + 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[n, 1, 32, W] to [W / 4, n, classes + 1]."""
        columns = self.features(images).squeeze(2).permute(2, 0, 1)
        return self.last(self.sequence(columns)[0])


def batch(number: int) -> tuple[torch.Tensor, list[str]]:
    """Images [BATCH, 1, H, W] and their words; every batch is drawn anew, and no seed is one of `draw_words.write`."""
    random = np.random.default_rng([7, 7, 7, number])
    texts = [word(random) for _ in range(BATCH)]
    planes = [normalise(prepare(draw(random, text), CONTRACT)[0], CONTRACT) for text in texts]
    return torch.from_numpy(np.concatenate(planes)), texts


def train(network: nn.Module, steps: int) -> None:
    """Adam with one cycle of the rate; the loss is CTC's."""
    numbers = {character: index + 1 for index, character in enumerate(CHARACTERS)}
    adam = torch.optim.Adam(network.parameters(), RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps)
    for step in range(steps):
        images, texts = batch(step)
        scores = network(images).log_softmax(2)
        targets = torch.tensor([numbers[character] for text in texts for character in text])
        loss = nn.functional.ctc_loss(
            scores, targets, (len(scores),) * BATCH, tuple(map(len, texts)), blank=0, zero_infinity=True
        )
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        adam.step()
        cycle.step()
        if step % 50 == 49:
            print(f"{step + 1} of {steps}: loss {loss.item():.4f}", flush=True)


def without_paths(archive: bytes) -> bytes:
    """The TorchScript archive without its debug records, which name files of the machine that it was made on."""
    made = io.BytesIO()
    reader, writer = torch._C.PyTorchFileReader(io.BytesIO(archive)), torch._C.PyTorchFileWriter(made)
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and name not in ("version", ".data/serialization_id"):
            data = reader.get_record(name)
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return made.getvalue()


def main() -> None:
    """Train one and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    torch.manual_seed(1)
    network = Crnn(len(CHARACTERS))
    train(network, given.steps)
    network.eval()
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.zeros(1, 1, *SIZE))
    whole = io.BytesIO()
    torch.jit.save(traced, whole)
    given.out.write_bytes(without_paths(whole.getvalue()))


if __name__ == "__main__":
    main()
