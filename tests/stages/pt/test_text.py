"""Text recognition against PyTorch: CTC's own loss, TorchScript's own run, and an evaluation written out once more."""

from __future__ import annotations

import itertools
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks.draw_words import CHARACTERS, write
from mcwbuild.contract import inherit
from mcwbuild.contract.errors import InputError
from stages.common.evaluate import Settings, evaluate
from stages.common.image_set import open_images
from stages.families import family_of
from stages.families.opened import Wanted, open_model
from stages.families.plain.network import Network
from stages.families.shapes import output_shapes
from stages.families.text.decode import decode_text
from stages.pt.torch_runner import TorchRunner

MODEL = Path(__file__).parents[3] / "examples" / "ocr" / "best.pt"
RANDOM = np.random.default_rng(2)


def opened() -> Any:
    return open_model(Namespace(pt=MODEL, model=None, model_code=None, trust_checkpoint=False))


def contract() -> dict[str, Any]:
    source = {
        "model": {"name": "words", "type": "CRNN", "task": "ocr"},
        "classes": {"names": list(CHARACTERS)},
        "input": {"size": [32, 128], "format": "Grayscale"},
        "preprocessing": {
            "resize": {"method": "resize_pad"},
            "padding": {"color": [128]},
            "normalize": {"mean": [127.5], "std": [127.5]},
        },
    }
    return inherit.critical(inherit.complete(source))


@pytest.mark.parametrize("blank", ["first", "last"])
def test_the_text_that_is_decoded_is_the_one_that_ctc_s_loss_finds_likely(blank: str) -> None:
    head = {"num_classes": 9, "layout": "T1C", "blank": blank, "activation": "softmax"}
    number = 0 if blank == "first" else 9
    for _ in range(20):
        scores = torch.from_numpy(RANDOM.normal(0, 1, (24, 1, 10)).astype(np.float32))
        scores[torch.arange(24), 0, torch.from_numpy(RANDOM.integers(0, 10, 24))] += 14  # one path has nearly all
        classes, _ = decode_text([scores.numpy()], head, 0.0)
        target = torch.from_numpy(classes + (1 if blank == "first" else 0))[None]
        lengths = torch.tensor([24]), torch.tensor([len(classes)])
        loss = torch.nn.functional.ctc_loss(scores.log_softmax(2), target, *lengths, blank=number, reduction="sum")
        assert loss.item() < 0.1


def test_the_network_gives_what_torchscript_gives_and_its_head_is_found() -> None:
    model = opened()
    cut, head = model.cut(model.build(), contract())
    assert (head["layout"], head["steps"], head["blank"], head["activation"]) == ("T1C", 32, "first", "softmax")
    image = torch.rand(1, 1, 32, 128)
    with torch.inference_mode():
        (found,) = cut(image)
        assert torch.allclose(found, torch.jit.load(str(MODEL))(image), atol=1e-5)
    assert [list(found.shape)] == output_shapes(head, [32, 128])


def test_a_softmax_at_the_end_is_cut_off_and_other_characters_are_refused(tmp_path: Path) -> None:
    class Softened(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = torch.nn.Conv2d(1, len(CHARACTERS) + 1, (32, 4), stride=4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.last(image).squeeze(2).permute(0, 2, 1).softmax(2)

    path = tmp_path / "softened.pt"
    torch.jit.save(torch.jit.trace(Softened().eval(), torch.zeros(1, 1, 32, 128)), str(path))
    model = open_model(Namespace(pt=path, model=None, model_code=None, trust_checkpoint=False))
    network = model.build()
    assert isinstance(network, Network)
    cut, head = model.cut(network, contract())
    assert (head["layout"], head["activation"], head["outputs"]) == ("1TC", "softmax", ["scores"])
    image = torch.rand(1, 1, 32, 128)
    with torch.inference_mode():
        assert torch.allclose(cut(image)[0].softmax(2), torch.jit.load(str(path))(image), atol=1e-6)
    fewer = contract()
    fewer["classes"]["num_classes"] = 30
    with pytest.raises(InputError, match="not that of a text recogniser with these characters"):
        model.cut(model.build(), fewer)


def distance(a: str, b: str) -> int:
    """Levenshtein's, row by row, as textbooks have it."""
    rows = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1])
        rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, replaced)
    return rows[-1][-1]


def read_by_hand(network: Any, path: Path) -> str:
    """The text in an image, by OpenCV, PyTorch and a loop."""
    grey = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)
    width = min(-(-32 * grey.shape[1] // grey.shape[0]), 128)
    line = np.full((32, 128), 128, np.uint8)
    line[:, :width] = cv2.resize(grey, (width, 32))
    with torch.inference_mode():
        path_of = network((torch.from_numpy(line).float()[None, None] - 127.5) / 127.5).argmax(2).flatten().tolist()
    return "".join(CHARACTERS[kind - 1] for kind, _ in itertools.groupby(path_of) if kind)


def test_accuracy_is_that_of_an_evaluation_written_out_once_more(tmp_path: Path) -> None:
    images = open_images(write(tmp_path / "words", 1, 40, seed=3), None, contract())
    model = opened()
    cut, head = model.cut(model.build(), contract())
    noisy = torch.nn.Module()
    noisy.forward = lambda image: cut(image + 0.9 * torch.sin(40 * image))  # type: ignore[method-assign]
    theirs = torch.jit.load(str(MODEL))
    for network, other in ((cut, theirs), (noisy, lambda image: theirs(image + 0.9 * torch.sin(40 * image)))):
        settings = Settings(0.25, 0.7, 300, threads=1)
        decode = lambda outputs, confidence: family_of(head).decode(outputs, head, confidence)  # noqa: E731
        runner = TorchRunner(network, contract(), 1)
        found = evaluate(runner, decode, images.images, images.labels, contract(), settings)
        texts = [read_by_hand(other, path) for path in images.images if isinstance(path, Path)]
        edits = [distance(text, right) for text, right in zip(texts, images.texts, strict=True)]
        total = sum(map(len, images.texts))
        assert found.metrics["edits"] == sum(edits)
        assert found.metrics["character_accuracy"] == pytest.approx(max(1 - sum(edits) / total, 0), abs=1e-6)
        assert found.metrics["word_accuracy"] == pytest.approx(edits.count(0) / len(edits), abs=1e-6)
        assert (found.metrics["character_accuracy"] > 0.97) is (network is cut)


def test_a_source_is_begun_with_its_guesses_named() -> None:
    draft = opened().describe(Wanted(task="ocr", classes=tuple(CHARACTERS), draft=True))
    assert draft["input"] == {
        "size": [32, 128], "channels": 1, "format": "Grayscale", "dtype": "float32", "layout": "NCHW",
    }  # fmt: skip
    assert draft["preprocessing"]["resize"] == {"method": "resize_pad"}
    assert {"classes.blank", "input.size", "preprocessing.normalize"} <= set(draft["training"]["guessed"])
