"""Classification: preparation, decoding and rebuilding against the library's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint import read
from stages.common.images import prepare
from stages.families import recognise
from stages.families.shapes import output_shapes
from stages.families.yolo.cut import cut_classifier
from stages.families.yolo.decode_classes import decode_classes
from stages.families.yolo.network import build, quiet_ultralytics
from stages.pt.torchvision_operators import register_missing

quiet_ultralytics()

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from ultralytics.nn.tasks import load_checkpoint  # noqa: E402

from tests.support.detectors import saved, untrained  # noqa: E402

RANDOM = np.random.default_rng(3)
OPERATORS = register_missing()  # they last as long as this


def contract(size: tuple[int, int], method: str) -> dict[str, Any]:
    resize = {"method": method, "interpolation": "antialias"}
    return {"input": {"size": list(size), "format": "RGB"}, "preprocessing": {"resize": resize}}


@pytest.mark.parametrize("size", [(64, 64), (97, 97), (224, 224), (96, 160), (224, 320)])
def test_images_are_prepared_as_the_library_does_pixel_for_pixel(size: tuple[int, int]) -> None:
    from ultralytics.data.augment import classify_transforms

    side = size[0] if size[0] == size[1] else size
    transform = classify_transforms(side)
    method = "center_crop" if size[0] == size[1] else "direct"
    for _ in range(40):
        rows, columns = (int(part) for part in RANDOM.integers(2, 500, 2))
        image = RANDOM.integers(0, 256, (rows, columns, 3), np.uint8)
        wanted = np.rint(transform(Image.fromarray(image[:, :, ::-1].copy())).numpy() * 255).astype(np.uint8)
        prepared, _ = prepare(image, contract(size, method))
        assert np.array_equal(prepared, wanted.transpose(1, 2, 0)), (rows, columns)


def test_probabilities_are_the_softmax_of_torch_in_its_order() -> None:
    for classes in (1, 2, 5, 1000):
        logits = RANDOM.normal(0, 4, (1, classes, 1, 1)).astype(np.float32)
        found, scores = decode_classes([logits], {"num_classes": classes}, 0.0)
        expected = torch.from_numpy(logits).flatten().softmax(0)
        assert np.array_equal(found, expected.argsort(descending=True, stable=True).numpy())
        assert np.allclose(scores, expected.numpy()[found], rtol=1e-5, atol=1e-7)
        assert set(decode_classes([logits], {"num_classes": classes}, 0.2)[0]) == set(np.flatnonzero(expected >= 0.2))


@pytest.mark.parametrize(("name", "told"), [("yolov8n", "YOLOv8"), ("yolo11n", "YOLO11"), ("yolo26n", "YOLO26")])
def test_a_classifier_is_rebuilt_bit_for_bit_and_cut(tmp_path: Path, name: str, told: str) -> None:
    path = saved(tmp_path, untrained(f"{name}-cls.yaml"), imgsz=64, task="classify")
    checkpoint = read(path)
    family = recognise(checkpoint)
    source = family.describe(checkpoint)
    assert family.task == source["model"]["task"] == "classification"
    assert source["model"]["type"] == told
    assert source["preprocessing"]["resize"] == {"method": "center_crop", "interpolation": "antialias"}
    network = build(checkpoint)
    image = torch.rand(1, 3, 64, 64)
    whole, head = cut_classifier(network)
    with torch.no_grad():
        probabilities, logits = load_checkpoint(path)[0].float().eval()(image)
        assert torch.equal(network(image)[1], logits)
        (raw,) = whole(image)
    assert list(raw.shape) == output_shapes(head, [64, 64])[0]
    assert torch.allclose(raw.flatten(), logits.flatten(), atol=1e-5)
    classes, scores = decode_classes([raw.numpy()], head, 0.0)
    assert np.allclose(scores, probabilities.flatten().numpy()[classes], atol=1e-6)


def test_mean_and_std_are_those_that_the_checkpoint_was_trained_with(tmp_path: Path) -> None:
    from ultralytics.data.augment import classify_transforms

    model = untrained("yolo11n-cls.yaml")
    model.transforms = classify_transforms(64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    checkpoint = read(saved(tmp_path, model, imgsz=64, task="classify"))
    normal = recognise(checkpoint).describe(checkpoint)["preprocessing"]["normalize"]
    assert normal["mean"] == [123.675, 116.28, 103.53]
    assert normal["std"] == [58.395, 57.12, 57.375]
    model.transforms.transforms[0].size = 80
    checkpoint = read(saved(tmp_path, model, imgsz=64, task="classify"))
    with pytest.raises(InputError, match="not Ultralytics' own"):
        recognise(checkpoint).describe(checkpoint)
    model.transforms.transforms.pop(1)
    with pytest.raises(InputError, match="Its transforms are Resize, ToTensor, Normalize"):
        recognise(checkpoint).describe(read(saved(tmp_path, model, imgsz=64, task="classify")))
