"""YOLO networks cut at the last convolutions of their heads, and the head as data. torch is imported inside functions.

Everything behind those convolutions is decoded in numpy: what is concatenated there has ranges that one INT8 scale
cannot hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cut(network: torch.nn.Module) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network cut at its head's convolutions, and the head as data.

    The cut network takes float32 [1, 3, H, W] in 0..1 and returns, for each stride in order, the
    distance logits [1, 4 * reg_max, h, w] and the class scores after the sigmoid [1, nc, h, w].
    Of two heads (YOLOv10, YOLO26) the one-to-one head stays, whose boxes need no suppression
    (Wang et al. 2024, arXiv:2405.14458): what Ultralytics runs with `nms=False`.
    """
    import torch

    class Cut(torch.nn.Module):  # type: ignore[misc,unused-ignore]  # torch is not where the types are checked
        """Everything up to the head's last convolutions."""

        def __init__(self, model: Any, boxes: torch.nn.Module, scores: torch.nn.Module) -> None:
            super().__init__()
            self.layers, self.save, self.features = model.model[:-1], frozenset(model.save), model.model[-1].f
            self.boxes, self.scores = boxes, scores

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features = _run(self.layers, self.save, self.features, x)
            outputs: list[torch.Tensor] = []
            for feature, boxes, scores in zip(features, self.boxes, self.scores, strict=True):
                outputs += [boxes(feature), scores(feature).sigmoid()]
            return tuple(outputs)

    model: Any = network
    head = model.model[-1]
    one_to_one = getattr(head, "one2one_cv2", None) is not None
    parts = head.one2one if one_to_one else head.one2many
    strides = [int(stride) for stride in head.stride.tolist()]
    described = {
        "family": "yolo_dfl",
        "strides": strides,
        "reg_max": int(head.reg_max),
        "num_classes": int(head.nc),
        "outputs": [f"{part}_{stride}" for stride in strides for part in ("boxes", "scores")],
        "score_activation": "sigmoid",
        **({"nms": False} if one_to_one else {}),
    }
    return Cut(model, parts["box_head"], parts["cls_head"]).eval(), described


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
            feature = _run(self.layers, self.save, self.features, x)
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


def _run(layers: Any, save: frozenset[int], features: Any, x: Any) -> Any:
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
