"""YOLO networks cut at the last convolutions of their heads, and the head as data. torch is imported inside functions.

Everything behind those convolutions is decoded in numpy: what is concatenated there has ranges that one INT8 scale
cannot hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Branch:
    """What a head has on each scale beside boxes and scores: the outputs' names, and the module that gives them."""

    names: tuple[str, ...]
    modules: tuple[torch.nn.Module, ...]


def cut(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network cut at its head's convolutions, and the head as data.

    The cut network takes float32 [1, 3, H, W] in 0..1 and returns, for each stride in order, the
    distance logits [1, 4 * reg_max, h, w] and the class scores after the sigmoid [1, nc, h, w].
    Of two heads (YOLOv10, YOLO26) the one-to-one head stays, whose boxes need no suppression
    (Wang et al. 2024, arXiv:2405.14458): what Ultralytics runs with `nms=False`.
    """
    return _cut(network, "yolo_dfl", {}, None)


def cut_segmenter(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """As `cut`, with each scale's mask coefficients [1, n, h, w], and the prototypes [1, n, H/4, W/4] at the end."""
    head: Any = _head(network)
    coefficients = Branch(("coefficients",), tuple(_parts(head)["mask_head"]))
    return _cut(network, "yolo_masks", {"prototypes": int(head.nm)}, coefficients)


def cut_pose(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """As `cut`, with each scale's keypoint offsets [1, 2 * keypoints, h, w] and, where it tells them, visibilities.

    The library has both in one convolution; its rows are taken apart, so that INT8 has a scale for each.
    """
    head: Any = _head(network)
    parts = _parts(head)
    count, numbers = (int(part) for part in head.kpt_shape)
    lasts = parts.get("kpts_head") or [trunk[-1] for trunk in parts["pose_head"]]
    trunks = parts["pose_head"] if "kpts_head" in parts else [trunk[:-1] for trunk in parts["pose_head"]]
    rows = [row for row in range(count * numbers) if row % numbers < 2]
    seen = [row for row in range(count * numbers) if row % numbers == 2]
    names = ("keypoints", "visible") if seen else ("keypoints",)
    modules = (_keypoints(trunk, last, rows, seen) for trunk, last in zip(trunks, lasts, strict=True))
    # YOLO26 counts in cells from a cell's centre, the others in double cells from its corner.
    described = {"keypoints": [count, numbers], "keypoint_unit": 1 if "kpts_head" in parts else 2}
    return _cut(network, "yolo_poses", described, Branch(names, tuple(modules)))


def cut_turned(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """As `cut`, with each scale's angles [1, 1, h, w]: radians of YOLO26, after the sigmoid of the others."""
    import torch

    head: Any = _head(network)
    plain = type(head).__name__ == "OBB26"
    trunks = _parts(head)["angle_head"]
    modules = tuple(trunk if plain else torch.nn.Sequential(*trunk, torch.nn.Sigmoid()) for trunk in trunks)
    return _cut(network, "yolo_turned", {"angle": "radians" if plain else "sigmoid"}, Branch(("angles",), modules))


def _head(network: torch.nn.Module) -> Any:
    model: Any = network
    return model.model[-1]


def _parts(head: Any) -> dict[str, Any]:
    """The branches of the head that is deployed: the one-to-one head where there is one."""
    return dict(head.one2one if getattr(head, "one2one_cv2", None) is not None else head.one2many)


def _cut(
    network: torch.nn.Module, family: str, described: dict[str, Any], branch: Branch | None
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network up to the last convolutions of boxes, scores, the branch and, of masks, the prototypes."""
    import torch

    class Cut(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
        """Everything up to the head's last convolutions."""

        def __init__(self, model: Any, parts: dict[str, Any]) -> None:
            super().__init__()
            self.layers, self.save, self.features = model.model[:-1], frozenset(model.save), model.model[-1].f
            self.boxes, self.scores = parts["box_head"], parts["cls_head"]
            self.branch = torch.nn.ModuleList(branch.modules if branch else [torch.nn.Identity() for _ in self.boxes])
            self.prototypes = getattr(model.model[-1], "proto", None)
            self.first_only = type(self.prototypes).__name__ == "Proto"  # YOLO26's takes every scale

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features = run_layers(self.layers, self.save, self.features, x)
            outputs: list[torch.Tensor] = []
            scales = zip(features, self.boxes, self.scores, self.branch, strict=True)
            for feature, boxes, scores, more in scales:
                outputs += [boxes(feature), scores(feature).sigmoid()]
                if branch is not None:
                    found = more(feature)
                    outputs += found if isinstance(found, tuple) else [found]
            if self.prototypes is not None:
                outputs.append(self.prototypes(features[0] if self.first_only else features))
            return tuple(outputs)

    model: Any = network
    head = model.model[-1]
    strides = [int(stride) for stride in head.stride.tolist()]
    names = ("boxes", "scores", *(branch.names if branch else ()))
    whole = {
        "family": family,
        "strides": strides,
        "reg_max": int(head.reg_max),
        "num_classes": int(head.nc),
        **described,
        "outputs": [f"{part}_{stride}" for stride in strides for part in names]
        + (["prototypes"] if hasattr(head, "proto") else []),
        "score_activation": "sigmoid",
        **({"nms": False} if getattr(head, "one2one_cv2", None) is not None else {}),
    }
    return Cut(model, _parts(head)).eval(), whole


def _keypoints(trunk: Any, last: Any, rows: list[int], seen: list[int]) -> torch.nn.Module:
    """The trunk, and the rows of its last convolution apart: offsets, and visibilities after the sigmoid."""
    import torch

    def taken(chosen: list[int]) -> torch.nn.Module:
        part = torch.nn.Conv2d(last.in_channels, len(chosen), 1)
        part.weight = torch.nn.Parameter(last.weight[chosen], requires_grad=False)
        part.bias = torch.nn.Parameter(last.bias[chosen], requires_grad=False)
        return part

    class Keypoints(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
        """One scale's keypoints."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.offsets = trunk, taken(rows)
            self.visible = taken(seen) if seen else None

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            feature = self.trunk(x)
            offsets = self.offsets(feature)
            return (offsets,) if self.visible is None else (offsets, self.visible(feature).sigmoid())

    return Keypoints()


def cut_classifier(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A classifier without its softmax: float32 [1, 3, H, W] in, logits [1, nc, 1, 1] out.

    In INT8, probabilities below 1/255 would all be 0 and could not be ranked; logits keep their order. The linear
    layer stands as the convolution that it is: the NPU flattens nothing.
    """
    import torch

    class Cut(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
        """The network up to its linear layer; dropout does nothing in evaluation."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.layers, self.save, self.features = model.model[:-1], frozenset(model.save), model.model[-1].f
            head = model.model[-1]
            self.conv, self.pool = head.conv, head.pool
            self.linear = torch.nn.Conv2d(head.linear.in_features, head.linear.out_features, 1)
            self.linear.weight = torch.nn.Parameter(head.linear.weight[:, :, None, None], requires_grad=False)
            self.linear.bias = head.linear.bias

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            feature = run_layers(self.layers, self.save, self.features, x)
            return (self.linear(self.pool(self.conv(feature))),)

    model: Any = network
    classes = int(model.model[-1].linear.out_features)
    described = {
        "family": "yolo_classes",
        "num_classes": classes,
        "outputs": ["logits"],
        "score_activation": "softmax",
    }
    return Cut(model).eval(), described


def run_layers(layers: Any, save: frozenset[int], features: Any, x: Any) -> Any:
    """What the head takes of the image `x`. The layers are run as BaseModel._predict_once does."""
    kept: list[Any] = []
    for layer in layers:
        x = layer(_inputs(layer.f, x, kept))
        kept.append(x if layer.i in save else None)
    return _inputs(features, x, kept)


def _inputs(sources: Any, x: Any, kept: list[Any]) -> Any:
    """What a layer takes: the output before it (-1), or those of the layers that `sources` names."""
    if sources == -1:
        return x
    return kept[sources] if isinstance(sources, int) else [x if index == -1 else kept[index] for index in sources]
