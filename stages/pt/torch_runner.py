"""The cut network in PyTorch, as the evaluator wants it: on the GPU where there is one, else on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.common.device import cpu_model, versions
from stages.common.images import normalise


class TorchRunner:
    """Runs a network that takes float32 [1, C, H, W] and gives a tuple of tensors."""

    def __init__(self, network: torch.nn.Module, contract: Mapping[str, Any], threads: int) -> None:
        torch.set_num_threads(threads)
        self._gpu = torch.cuda.is_available()
        self._place = torch.device("cuda" if self._gpu else "cpu")
        self._network = network.to(self._place).eval()
        self._contract = contract

    @property
    def device(self) -> dict[str, Any]:
        """`device` of the performance record."""
        return {
            "kind": "GPU" if self._gpu else "CPU",
            "model": torch.cuda.get_device_name() if self._gpu else cpu_model(),
            **({"cpu": cpu_model()} if self._gpu else {}),
            "backend": "PyTorch",
            "versions": {**versions("torch", "ultralytics-opencv-headless"), "cuda": torch.version.cuda},
        }

    def feed(self, prepared: NDArray[np.uint8]) -> torch.Tensor:
        """The normalised tensor, on the device."""
        return torch.from_numpy(normalise(prepared, self._contract)).to(self._place)

    def run(self, feed: torch.Tensor) -> list[NDArray[np.float32]]:
        """The outputs; copying them back waits for the GPU, so the time is the whole."""
        with torch.inference_mode():
            return [output.float().cpu().numpy() for output in self._network(feed)]

    def alone(self) -> TorchRunner:
        """Itself with one thread: of PyTorch's threads none is in the copy."""
        torch.set_num_threads(1)
        return self
