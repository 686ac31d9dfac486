"""The torch module that computes a program read from a file. This loads torch."""

from __future__ import annotations

from typing import Any

import torch

from stages.common.checkpoint_tensor import Tensor
from stages.families.plain import exported_run, script_run
from stages.families.plain.exported import Exported
from stages.families.plain.operators import Operators
from stages.families.plain.script import Script


class Network(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
    """Takes an image float32 [1, C, H, W] and gives what the program gives; its tensors are this module's own.

    `operators` tells of the calls of the latest image, and can leave one of them out.
    """

    def __init__(self, program: Script | Exported) -> None:
        super().__init__()
        self.program, self.operators = program, Operators(program.file)
        self._names: dict[int, str] = {}
        for number, (_, tensor, weight) in enumerate(program.tensors()):
            name = f"tensor_{number}"  # their own names hold dots, which a module's may not
            live = _live(tensor)
            if weight and live.is_floating_point():
                self.register_parameter(name, torch.nn.Parameter(live, requires_grad=False))
            else:
                self.register_buffer(name, live)
            self._names[id(tensor)] = name
        self.eval()

    def forward(self, image: torch.Tensor) -> Any:
        """The program's own result: a tensor, or tuples and lists of them."""
        tensors = {place: getattr(self, name) for place, name in self._names.items()}
        self.operators.begin(iter(tensors.values()))
        if isinstance(self.program, Exported):
            return exported_run.forward(self.program, self.operators, tensors, image)
        return script_run.Run(self.program, self.operators, tensors, image.device).forward(image)


def _live(tensor: Tensor) -> torch.Tensor:
    """The tensor with its numbers; of half precision it becomes float32, which everything is computed in."""
    live = torch.from_numpy(tensor.array())
    return live.float() if live.dtype in (torch.float16, torch.float64) else live
