"""What a network gives, brought into the form that its task wants. This loads torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from mcwbuild.contract.errors import InputError
from stages.common import image_set
from stages.common.images import normalise, prepare
from stages.families.plain.heads import HEADS, Probe
from stages.families.plain.network import Network

PROBES = 4  # images on which a network's outputs are looked at


class Cut(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
    """The network with its outputs as a flat tuple of float32 tensors; `flat`: [1, N] of what has more axes of 1."""

    def __init__(self, network: Any, flat: bool) -> None:
        super().__init__()
        self.network, self.flat = network, flat

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """float32 [1, C, H, W] in."""
        found = tuple(tensor.float() for _, tensor in _tensors_in(self.network(image), "", ""))
        return tuple(tensor.flatten(1) for tensor in found) if self.flat else found


def cut(network: Any, contract: Mapping[str, Any], file: str) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network as its task wants it, and its head. Raises InputError where its outputs are not the task's."""
    task = HEADS[contract["model"]["task"]]
    whole, images = Cut(network, task.flat), list(_images(contract))
    with torch.inference_mode():
        named = list(_tensors_in(_first(network, images[0], contract, file), "", file))
        skipped = task.bare and len(named) == 1 and _skip_softmax(network, named[0][1])
        found = tuple(tuple(output.numpy() for output in whole(image)) for image in images)
    head = task.describe(Probe(tuple(name for name, _ in named), found, skipped), contract, file)
    return whole.eval(), head


def _images(contract: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    """Generated images, prepared as the contract says."""
    for image in image_set.generated(contract["input"]["size"], PROBES):
        yield torch.from_numpy(normalise(prepare(image, contract)[0], contract))


def _first(network: Any, image: torch.Tensor, contract: Mapping[str, Any], file: str) -> Any:
    """What the network gives for an image. Raises InputError where it cannot take one of the contract's size."""
    try:
        return network(image)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        size, channels = contract["input"]["size"], contract["input"]["channels"]
        raise InputError(
            f"The network of {file} does not take an image of [1, {channels}, {size[0]}, {size[1]}].",
            f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason'])[0][:200]}.",
            "Check input.size and input.format in training_source.yaml.",
            kind="network",
        ) from error


def _tensors_in(found: Any, name: str, file: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in the network's result with its place there: `0`, `1_0`, `boxes`."""
    if isinstance(found, torch.Tensor) and not found.is_complex():
        yield name, found
        return
    parts = found.items() if isinstance(found, Mapping) else enumerate(found) if isinstance(found, list | tuple) else ()
    if not parts:
        raise InputError(
            f"The network of {file} does not give tensors.",
            f"It gives a {type(found).__name__}.",
            "Wrap it in a module that returns a tensor, or a tuple of them.",
            kind="outputs",
        )
    for key, part in parts:
        yield from _tensors_in(part, f"{name}_{key}".lstrip("_"), file)


def _skip_softmax(network: Any, output: torch.Tensor) -> bool:
    """Leave the network's last operator out where it is a softmax: INT8 cannot tell small probabilities apart."""
    number = network.operators.softmax_of(output) if isinstance(network, Network) else None
    if number is None:
        return False
    network.operators.skipped = number
    return True
