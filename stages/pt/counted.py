"""The network's floating point operations, by PyTorch's own rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count, shape_wrapper

Shape = Sequence[int]
Result = TypeVar("Result")


def run(work: Callable[[], Result]) -> tuple[Result, int]:
    """What `work` gives, and its operations: two for each multiply-accumulate of convolutions and matrix products.

    What PyTorch has no rule for has one here: recurrent layers, and attention on a CPU.
    """
    with _Counter() as counter:
        result = work()
    return result, counter.total


class _Counter(TorchDispatchMode):  # type: ignore[misc]  # PyTorch is untyped here
    """Adds up what the operators take. PyTorch's `FlopCounterMode` does too, but loads its compiler: a second."""

    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and whoever asks for it to be skipped loads it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        named, rule = kwargs or {}, _RULES.get(func._overloadpacket)
        if rule is None:
            with self:  # of an operator that is made of others, these are counted
                parts = func.decompose(*args, **named)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **named)
        if rule is not None:
            self.total += int(rule(*args, **named, out_val=result))
        return result


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
_RULES = {**flop_registry, **{operator: shape_wrapper(rule) for operator, rule in _FURTHER.items()}}
