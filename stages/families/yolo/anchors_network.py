"""The network of a checkpoint of the original YOLOv5, rebuilt from its own YAML and the checkpoint's weights.

That repository has no package to take its architecture from, and its users change widths, depths and layers: the
checkpoint's YAML says what it is. It is built of the few kinds of layers below, which Ultralytics' package has too,
and of a head of our own; whatever else the YAML names is refused. The weights have to fit one by one, and the dead
module tree class by class and setting by setting. torch and ultralytics are imported inside functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import Checkpoint
from stages.families.yolo.network import quiet_ultralytics
from stages.families.yolo.weights import Origin, fill

if TYPE_CHECKING:
    import torch

DETECTORS = ("models.yolo.DetectionModel", "models.yolo.Model")  # the second up to its version 6.1
_PACKAGES = ("torch.nn.", "models.common.", "models.yolo.")  # whose classes its checkpoints may name
EPS = 1e-3  # of its batch normalisations (utils/torch_utils.py, initialize_weights)
MAX_LAYERS, MAX_SCALES, MAX_ANCHORS = 200, 8, 16
_REPEATED = frozenset({"C3"})  # take their number of repetitions themselves
_ABSENT = ("", None, False)


@dataclass(frozen=True)
class Layer:
    """One row of the YAML: where its input is from, how often it is repeated, its kind, its arguments."""

    sources: tuple[int, ...]
    listed: bool
    number: int
    kind: str
    arguments: tuple[Any, ...]


def build(checkpoint: Checkpoint) -> torch.nn.Module:
    """The network with the checkpoint's weights: float32, in eval mode, on the CPU, no gradients.

    Its forward gives the head's raw maps, [1, anchors * (5 + classes), h, w] for each scale. Raises InputError where
    the YAML names what is not known, or a weight is missing, of another shape, or not finite.
    """
    layers, multiples, anchors = read_yaml(checkpoint)
    quiet_ultralytics()
    import torch

    with torch.device("meta"):  # shapes without memory: the YAML may claim any size
        network = _assembled(checkpoint, layers, multiples, anchors)
    if sum(one.numel() for one in network.state_dict().values()) > sum(one.size for one in checkpoint.tensors.values()):
        raise custom(checkpoint, "Its YAML asks for more weights than it has.")
    network = network.to_empty(device="cpu")
    twice = f"model.{len(layers) - 1}.anchor_grid"  # up to its version 5.0 the anchors were kept twice
    fill(checkpoint, network, Origin(_PACKAGES, custom, DETECTORS, twice))
    return network.float().eval().requires_grad_(False)


def custom(checkpoint: Checkpoint, found: str) -> InputError:
    """The refusal of a network that is no YOLOv5 of the parts that are known."""
    return InputError(
        f"{checkpoint.file} has a custom architecture, not one of YOLOv5's own layers.",
        found,
        "Export it to ONNX with that repository's export.py, and start there: mcwbuild run --onnx.",
        kind="custom-architecture",
    )


def read_yaml(checkpoint: Checkpoint) -> tuple[list[Layer], tuple[float, float], int]:
    """The layers of the checkpoint's own YAML, its multiples (depth, width), and a scale's number of anchors.

    Raises InputError where it cannot be followed.
    """
    found = checkpoint.yaml
    rows = [*_rows(found.get("backbone")), *_rows(found.get("head"))]
    layers = [layer for index, row in enumerate(rows) if (layer := _layer(row, index)) is not None]
    if len(layers) != len(rows) or not 2 <= len(layers) <= MAX_LAYERS or layers[-1].kind != "Detect":
        bad = next((row for index, row in enumerate(rows) if _layer(row, index) is None), "no Detect at its end")
        raise custom(checkpoint, f"Its YAML has {ascii(bad)[:100]}.")
    if found.get("activation") not in (*_ABSENT, "nn.SiLU()"):
        raise custom(checkpoint, f"Its activation is {ascii(found['activation'])[:60]}.")
    if found.get("ch", 3) != 3:
        raise custom(checkpoint, f"Its images have {ascii(found['ch'])[:20]} channels.")
    multiples = found.get("depth_multiple", 1.0), found.get("width_multiple", 1.0)
    if not all(isinstance(one, int | float) and 0 < one <= 4 for one in multiples):
        raise custom(checkpoint, f"Its depth_multiple and width_multiple are {ascii(multiples)[:60]}.")
    anchors = found.get("anchors")
    count = anchors if isinstance(anchors, int) else len(_rows(_rows(anchors)[:1][0])) // 2 if _rows(anchors) else 0
    if not 1 <= count <= MAX_ANCHORS:
        raise custom(checkpoint, f"Its anchors are {ascii(anchors)[:80]}.")
    return layers, multiples, count


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _layer(row: Any, index: int) -> Layer | None:
    """The layer of one row, None where it is none."""
    if not isinstance(row, list) or len(row) != 4 or not isinstance(row[3], list):
        return None
    sources = tuple(row[0]) if isinstance(row[0], list) else (row[0],)
    sound = bool(sources) and all(type(one) is int and (one == -1 or 0 <= one < index) for one in sources)
    if not sound or type(row[1]) is not int or not 1 <= row[1] <= 100 or not isinstance(row[2], str):
        return None
    return Layer(sources, isinstance(row[0], list), row[1], row[2], tuple(row[3]))


def _assembled(
    checkpoint: Checkpoint, layers: Sequence[Layer], multiples: tuple[float, float], anchors: int
) -> torch.nn.Module:
    """The network of random weights."""
    import torch

    from stages.families.yolo.anchors_head import Detect, Network

    made: list[Any] = []
    widths: list[int] = []
    for index, layer in enumerate(layers):
        inputs = [3 if index == 0 else widths[-1] if one == -1 else widths[one] for one in layer.sources]
        if layer.kind == "Detect":
            if index != len(layers) - 1 or len(inputs) > MAX_SCALES:
                raise custom(checkpoint, f"Its layer {index} is a Detect of {len(inputs)} scales.")
            part, width = Detect(inputs, anchors, len(checkpoint.names)), 0
        else:
            try:
                part, width = _KINDS[layer.kind](layer, inputs, multiples)
            except (KeyError, TypeError, ValueError, IndexError, ArithmeticError, RuntimeError):
                words = f"{layer.kind} {list(layer.arguments)}"
                raise custom(checkpoint, f"Its layer {index} is {ascii(words)[1:-1][:100]}.") from None
        part.i, part.f = index, list(layer.sources) if layer.listed else layer.sources[0]
        made.append(part)
        widths.append(width)
    try:
        network = Network(made, {one for layer in layers for one in layer.sources if one != -1})
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise custom(checkpoint, f"Its layers do not fit together: {ascii(str(error))[1:100]}.") from None
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = EPS
    return network


def _wide(kind: str) -> Callable[..., tuple[Any, int]]:
    """A maker of layers whose first argument is their number of channels."""

    def make(layer: Layer, inputs: Sequence[int], multiples: tuple[float, float]) -> tuple[Any, int]:
        import torch
        from ultralytics.nn import modules

        (channels,) = inputs
        width = -(-int(layer.arguments[0] * multiples[1]) // 8) * 8  # up to the next multiple of 8
        count = max(round(layer.number * multiples[0]), 1) if layer.number > 1 else 1
        more = list(layer.arguments[1:])
        named: Mapping[str, Any] = {"k": (1, 3)} if kind == "Bottleneck" else {}
        if kind in _REPEATED:
            return getattr(modules, kind)(channels, width, count, *more), width
        parts = [getattr(modules, kind)(width if one else channels, width, *more, **named) for one in range(count)]
        if kind == "SPPF":
            for part in parts:
                part.cv1.act = torch.nn.SiLU()  # Ultralytics' own has none there
        return (parts[0] if count == 1 else torch.nn.Sequential(*parts)), width

    return make


def _upsample(layer: Layer, inputs: Sequence[int], multiples: tuple[float, float]) -> tuple[Any, int]:
    import torch

    del multiples
    none, factor, mode = layer.arguments
    if none not in (None, "None") or factor != 2 or mode != "nearest":
        raise ValueError
    (channels,) = inputs
    return torch.nn.Upsample(None, 2, "nearest"), channels


def _concat(layer: Layer, inputs: Sequence[int], multiples: tuple[float, float]) -> tuple[Any, int]:
    from ultralytics.nn.modules import Concat

    del multiples
    if layer.arguments != (1,):
        raise ValueError
    return Concat(1), sum(inputs)


_KINDS: Mapping[str, Callable[..., tuple[Any, int]]] = {
    **{kind: _wide(kind) for kind in ("Conv", "C3", "SPPF", "SPP", "Bottleneck", "Focus")},
    "nn.Upsample": _upsample,
    "Concat": _concat,
}
