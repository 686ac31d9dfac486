"""The operators that a network's file may call: a closed set of PyTorch's `aten`, all of them arithmetic on tensors.

None of them opens a file, waits or calls back, and each checks its arguments before it reads memory. `aten` has others
that do not (`from_file`, `save`, `as_strided`, `set_`), and other namespaces hold anything: what is not listed here is
never called. Names as in torch's `native_functions.yaml`; a name stands for all of its overloads but those that write
into a tensor that they are given (`out`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mcwbuild.contract.errors import InputError, McwbuildError, Refused

# What reads or writes files, runs code, or looks at memory outside of its tensors.
HARMFUL = frozenset({"from_file", "save", "load", "as_strided", "as_strided_", "set_", "set_data", "_reshape_alias"})


def words(text: str) -> frozenset[str]:
    """The words of a text that is laid out for people."""
    return frozenset(text.split())


POINTWISE = words(
    """
    abs acos acosh add addcdiv addcmul asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor
    ceil celu clamp clamp_max clamp_min clip cos cosh div divide elu eq erf erfc exp exp2 expm1 floor floor_divide fmod
    frac ge gelu glu greater greater_equal gt hardsigmoid hardswish hardtanh isfinite isinf isnan le leaky_relu lerp
    less less_equal log log10 log1p log2 log_sigmoid log_softmax logical_and logical_not logical_or logical_xor logit lt
    masked_fill maximum minimum mish mul multiply ne neg negative nan_to_num not_equal pow prelu reciprocal relu relu6
    remainder round rrelu rsqrt rsub selu sigmoid sign silu sin sinh softmax softplus softshrink sqrt square sub
    subtract tan tanh tanhshrink threshold trunc true_divide where _softmax _log_softmax
    """
)
REDUCING = words(
    """
    all amax amin any argmax argmin argsort cumsum frobenius_norm linalg_vector_norm logsumexp max mean min norm prod
    sort std std_mean sum topk var var_mean
    """
)
SHAPING = words(
    """
    alias arange broadcast_tensors broadcast_to cat channel_shuffle chunk clone concat concatenate constant_pad_nd
    contiguous detach diagonal dropout dropout2d embedding expand expand_as eye feature_dropout flatten flip full
    full_like gather hstack index index_select lift_fresh_copy linspace meshgrid movedim narrow new_full new_ones
    new_zeros ones ones_like pad permute pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d repeat
    repeat_interleave replication_pad1d replication_pad2d reshape reshape_as roll scatter select slice split
    split_with_sizes squeeze stack swapaxes t take_along_dim tensor_split tile to transpose tril triu type_as unbind
    unflatten unfold unsqueeze view view_as vstack zeros zeros_like _to_copy _shape_as_tensor scalar_tensor tensor
    """
)
LAYERS = words(
    """
    _adaptive_avg_pool2d _convolution _convolution_mode adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_max_pool1d adaptive_max_pool2d addbmm addmm avg_pool1d avg_pool2d baddbmm batch_norm bmm conv1d conv2d
    conv_transpose1d conv_transpose2d convolution cosine_similarity dot einsum grid_sampler gru group_norm im2col
    instance_norm layer_norm linear lstm matmul max_pool1d max_pool2d max_pool2d_with_indices mm multi_head_attention
    mv normalize rms_norm rnn_relu rnn_tanh
    scaled_dot_product_attention upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d _upsample_bilinear2d_aa local_response_norm linalg_norm affine_grid_generator outer
    """
)
# What networks do in place on tensors of their own; the weights are never among them, which is checked.
IN_PLACE = words(
    """
    add_ clamp_ copy_ div_ dropout_ elu_ exp_ fill_ floor_ hardsigmoid_ hardswish_ hardtanh_ leaky_relu_ masked_fill_
    mul_ neg_ relu6_ relu_ round_ rsub_ sigmoid_ silu_ sqrt_ squeeze_ sub_ tanh_ threshold_ transpose_ unsqueeze_ zero_
    index_put_ mish_ pow_ celu_ selu_ clamp_min_ clamp_max_ feature_dropout_
    """
)
KNOWN = POINTWISE | REDUCING | SHAPING | LAYERS | IN_PLACE
MAX_CALLS = 50_000  # operators in one image; the largest networks have some thousands


def unknown(file: str, name: str) -> McwbuildError:
    """The error for an operator that is not called: one that does harm is Refused, another one is not supported."""
    shown = ascii(name)[1:-1][:80]
    if HARMFUL & set(re.split(r"::|\.", name)):
        return Refused(
            f"{file} would call the operator {shown} when it is used.",
            "It reaches beyond the network's own tensors: files, or memory.",
            "Nothing of it was run. Do not load it elsewhere, and take a model from somebody you trust.",
            kind="hostile-operator",
        )
    return InputError(
        f"{file} calls the operator {shown}.",
        "It is not among those that are called without a container: PyTorch's own arithmetic on tensors.",
        "Give the network's code with --model-code and --model, or export it to ONNX yourself and start there.",
        kind="operator",
    )


class Operators:
    """The operators for one file's network: looked up by name, called, counted.

    `skipped` is the number of the call (from 0) that gives back its input instead: a last softmax that is cut off.
    `last` tells of the latest call its number, name, arguments and result.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.calls = 0
        self.skipped = -1
        self.held: frozenset[int] = frozenset()
        self.softmaxes: dict[int, tuple[Any, Any]] = {}

    def begin(self, held: Iterator[Any]) -> None:
        """A new image; `held` are the network's own tensors, which nothing may write into."""
        self.calls, self.held, self.softmaxes = 0, frozenset(id(tensor) for tensor in held), {}

    def call(self, name: str, arguments: Sequence[Any], named: Mapping[str, Any], overload: str = "") -> Any:
        """The result of `aten::<name>`; without `overload` it is the one that the arguments fit.

        Raises InputError where the operator cannot take them, and for what `unknown` has an error for.
        """
        import torch

        if name not in KNOWN or "out" in named or overload.endswith("out"):
            raise unknown(self.file, name)
        if name in IN_PLACE and arguments and id(arguments[0]) in self.held:
            raise self._wrong(name, "it would change a weight of the network")
        number, self.calls = self.calls, self.calls + 1
        if number >= MAX_CALLS:
            raise self._wrong(name, f"it is the {MAX_CALLS}th call for one image")
        if number == self.skipped:
            return arguments[0]
        packet = getattr(torch.ops.aten, name)
        function: Callable[..., Any] = getattr(packet, overload) if overload else packet
        try:
            result = function(*arguments, **named)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise self._wrong(name, (str(error).strip().splitlines() or ["no reason"])[0][:200]) from error
        if name in ("softmax", "_softmax"):
            self.softmaxes[id(result)] = (number, result)
        return result

    def softmax_of(self, output: Any) -> int | None:
        """The number of the softmax call whose result `output` is, or None."""
        found = self.softmaxes.get(id(output))
        return None if found is None else int(found[0])

    def _wrong(self, name: str, found: str) -> InputError:
        return InputError(
            f"{self.file} cannot be run: its call {self.calls} of the operator {name} fails.",
            f"{found[0].upper()}{found[1:]}.",
            "Check input.size and input.channels in training_source.yaml, or save the model again in eval mode.",
            kind="network",
        )
