"""The network's floating point operations, by PyTorch's own counter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Shape = Sequence[int]
Result = TypeVar("Result")


def run(work: Callable[[], Result]) -> tuple[Result, int]:
    """What `work` gives, and its operations: two for each multiply-accumulate of convolutions and matrix products.

    What PyTorch's counter does not know is told to it: recurrent layers, and attention on a CPU.
    """
    with FlopCounterMode(display=False, custom_mapping=_FURTHER) as counter:
        result = work()
    return result, int(counter.get_total_flops())


def _layer(given: Shape, *weights: Any, **_: Any) -> int:
    """One direction of one recurrent layer: `given` is [steps, batch, values]."""
    return _recurrent(given, [weight for weight in weights[:2] if len(weight) == 2])


def _recurrent(given: Shape, weights: Any, *_args: Any, **_: Any) -> int:
    matrices = (weight for weight in weights if len(weight) == 2)
    return int(2 * given[0] * given[1] * sum(math.prod(weight) for weight in matrices))


def _attention(query: Shape, key: Shape, value: Shape, *_args: Any, **_: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


_FURTHER = {
    torch.ops.aten.mkldnn_rnn_layer: _layer,
    torch.ops.aten._cudnn_rnn: _recurrent,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}
