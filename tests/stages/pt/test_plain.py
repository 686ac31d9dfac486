"""Networks that tell nothing but themselves: computed as PyTorch's own loaders compute them, measured, drafted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcwbuild.contract.errors import InputError
from stages.common.checkpoint_file import contents
from stages.families import plain
from stages.families.family import Candidates
from stages.families.model import ModelFile
from stages.families.plain.decode_scores import decode_scores
from tests.support.archives import MODELS, changed

ROOT = Path(__file__).parents[3]
CODE = "code/__torch__/shapes_classifier.py"
NAMES = ("blue_arrow", "blue_bar", "blue_wedge", "red_arrow", "red_bar", "red_wedge")
CONTRACT: dict[str, Any] = {
    "model": {"task": "generic"},
    "input": {"size": [24, 32], "channels": 3, "format": "RGB"},
    "preprocessing": {
        "resize": {"method": "direct"},
        "padding": {"enabled": False},
        "normalize": {"enabled": True, "method": "mean_std", "mean": [0.0] * 3, "std": [255.0] * 3},
    },
}


class Recurrent(torch.nn.Module):
    """Rows of the image through an LSTM, as text recognisers do it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(3 * 24, 8, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, W, 16]."""
        rows = x.permute(0, 3, 1, 2).reshape(x.size(0), x.size(3), -1)
        return self.lstm(rows)[0]


class Twisted(torch.nn.Module):
    """What programs hold beside layers: loops, conditions, lists, functions, sizes, several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(3, 3, 3, padding=1, groups=3) for _ in range(3))
        self.register_buffer("grid", torch.arange(32).float() / 32)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """A tensor, and a list of two."""
        kept: list[torch.Tensor] = []
        for number, layer in enumerate(self.layers):
            x = torch.nn.functional.silu(layer(x)) if number % 2 == 0 else layer(x).clamp(-1.0, 6.0)
            if x.shape[-1] > 16 and len(kept) < 2:
                kept.append(torch.nn.functional.interpolate(x, scale_factor=0.5, mode="nearest"))
        first, second = torch.chunk(x + self.grid, 2, dim=3)
        pooled = torch.nn.functional.max_pool2d(torch.cat([first, second], 1), 2)
        return pooled.flatten(2).transpose(1, 2).softmax(-1), kept


def layers(*modules: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*modules)


SOFTMAX = torch.nn.Softmax(1)
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "convolutions": lambda: layers(
        torch.nn.Conv2d(3, 8, 3, 2, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.Hardswish(),
        torch.nn.Conv2d(8, 8, 3, groups=8),
        torch.nn.ReLU6(inplace=True),
        torch.nn.ConvTranspose2d(8, 4, 2, 2),
        torch.nn.GroupNorm(2, 4),
        torch.nn.PReLU(),
        torch.nn.AvgPool2d(2),
    ),
    "classifier": lambda: layers(
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Dropout(),
        torch.nn.Linear(48, 6),
        torch.nn.Softmax(1),
    ),
    "attention": lambda: layers(
        torch.nn.Conv2d(3, 16, 8, 8),
        torch.nn.Flatten(2),
        torch.nn.LayerNorm(12),
        torch.nn.Linear(12, 16),
        torch.nn.GELU(),
        torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
    ),
    "recurrent": Recurrent,
    "twisted": Twisted,
}


def saved(name: str, form: str, folder: Path) -> Path:
    """The network, trained a little by nobody: its statistics are not those that it began with."""
    torch.manual_seed(3)
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator for a whole layer, which cannot be exported
    network = NETWORKS[name]()
    image = torch.rand(1, 3, 24, 32)
    network.train()(image)
    network = network.eval()
    path = folder / f"{name}.{form}"
    if form == "exported":
        torch.export.save(torch.export.export(network, (image,)), path.with_suffix(".pt2"))
        return path.with_suffix(".pt2")
    made = torch.jit.trace(network, image) if form == "traced" else torch.jit.script(network)
    torch.jit.save(torch.jit.freeze(made) if form == "frozen" else made, path)
    return path


def theirs(path: Path) -> Callable[[torch.Tensor], Any]:
    """The network as PyTorch's own loader loads it."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    return torch.jit.load(path).eval()


def flat(found: Any) -> list[torch.Tensor]:
    return [found] if isinstance(found, torch.Tensor) else [each for part in found for each in flat(part)]


def opened(path: Path) -> ModelFile:
    return plain.open_inertly(contents(path))


# A scripted transformer asks for autocast and nested tensors, which no network of images has.
FORMS = {
    name: ("traced", "exported") if name == "attention" else ("traced", "scripted", "frozen", "exported")
    for name in NETWORKS
}


@pytest.mark.parametrize(("name", "form"), [(name, form) for name, forms in FORMS.items() for form in forms])
def test_programs_are_computed_as_pytorch_computes_them(tmp_path: Path, name: str, form: str) -> None:
    path = saved(name, form, tmp_path)
    model, reference = opened(path), theirs(path)
    network = model.build()
    with torch.inference_mode():
        for seed in range(3):
            image = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(seed))
            own, wanted = flat(network(image)), flat(reference(image))
            assert len(own) == len(wanted)
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(own, wanted, strict=True))
    cut, head = model.cut(network, CONTRACT)
    assert head["shapes"] == [list(tensor.shape) for tensor in wanted]
    assert len(set(head["outputs"])) == len(wanted)
    assert len(cut(image)) == len(wanted)


def classes(count: int = 6) -> dict[str, Any]:
    return {**CONTRACT, "model": {"task": "classification"}, "classes": {"num_classes": count}}


@pytest.mark.parametrize("form", ["traced", "scripted", "exported"])
def test_a_softmax_at_the_end_is_left_out_and_done_by_the_decoder(tmp_path: Path, form: str) -> None:
    path = saved("classifier", form, tmp_path)
    model = opened(path)
    cut, head = model.cut(model.build(), classes())
    assert (head["outputs"], head["activation"]) == (["logits"], "softmax")
    image = torch.rand(1, 3, 24, 32)
    wanted = theirs(path)(image).flatten().detach()
    found: Candidates = decode_scores([cut(image)[0].detach().numpy()], head, 0.0)
    assert found[0].tolist() == wanted.argsort(descending=True).tolist()
    assert np.allclose(found[1], wanted.sort(descending=True).values.numpy(), atol=1e-6)
    with pytest.raises(InputError, match="no classifier of 7 classes"):
        model.cut(model.build(), classes(7))


def test_probabilities_that_cannot_be_cut_are_taken_as_they_are(tmp_path: Path) -> None:
    network = layers(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Softmax(1), torch.nn.Hardtanh(0, 1))
    torch.jit.save(torch.jit.trace(network.eval(), torch.rand(1, 3, 24, 32)), tmp_path / "model.pt")
    model = opened(tmp_path / "model.pt")
    cut, head = model.cut(model.build(), classes(3))
    assert (head["outputs"], head["activation"]) == (["probabilities"], "none")
    output = cut(torch.rand(1, 3, 24, 32))[0].numpy()
    assert np.array_equal(decode_scores([output], head, 0.0)[1], np.sort(output[0])[::-1])


def run_with(tmp_path: Path, body: str) -> None:
    """Compute a program whose `forward` begins with `body`."""

    def change(data: bytes) -> bytes:
        head, _, rest = data.partition(b"-> Tensor:\n")
        return head + b"-> Tensor:\n" + body.encode() + rest

    path = changed(MODELS / "classifier_traced.pt", tmp_path / "model.pt", {CODE: change})
    opened(path).build()(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    for i in range(100000000):\n      for j in range(100000000):\n        pass\n", "does not end"),
        ("    _ = (self).forward(x, )\n", "calls itself"),
        ("    _ = __import__(x)\n", "it calls '__import__'|It calls '__import__'"),
        ("    _ = open(x)\n", "'open'"),
        ("    import os\n", "Import"),
        ("    while True:\n      pass\n", "While"),
        ("    del x\n", "Delete"),
        ("    _ = (lambda: x)()\n", "Lambda|no function"),
        ("    _ = [part for part in x]\n", "ListComp"),
        ("    _ = ops.profiler._record_function_enter(x)\n", "profiler::_record_function_enter"),
        ("    _ = ops.aten.relu(x)\n", "aten::relu"),
        ("    _ = ops.prim.PythonOp(x)\n", "prim::PythonOp"),
        ("    _ = torch.classes.own.Thing(x)\n", "it does not have"),
        ("    _ = torch.stft(x, 3)\n", "aten::stft|stft"),
        ('    _ = getattr(x, "__class__")\n', "'__class__'"),
        ('    _ = getattr(self, "__dict__")\n', "'__dict__'"),
        ("    _ = x.__class__\n", "'__class__'"),
        ("    _ = (x).backward()\n", "'backward'"),
        ("    _ = torch.mul([0], 100000000000)\n", "what is no number|too large"),
        ("    _ = torch.pow(7, 1000000000000000)\n", "too large"),
        ("    _ = torch.zeros([1000000, 1000000, 1000000])\n", "operator zeros fails"),
        ("    self.training = x\n", "changes one of its own modules"),
        ("    _ = torch.relu_(CONSTANTS.c99)\n", "IndexError"),
    ],
)
def test_a_program_that_is_no_network_ends_with_a_sentence(tmp_path: Path, body: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        run_with(tmp_path, body)


def test_a_program_may_not_write_into_its_weights(tmp_path: Path) -> None:
    network = torch.jit.script(layers(torch.nn.Conv2d(3, 3, 1)))
    torch.jit.save(network, tmp_path / "own.pt")
    record = "code/__torch__/torch/nn/modules/conv.py"
    import zipfile

    with zipfile.ZipFile(tmp_path / "own.pt") as made:
        record = next(name for name in made.namelist() if "conv" in name and name.endswith(".py")).partition("/")[2]
    path = changed(
        tmp_path / "own.pt",
        tmp_path / "model.pt",
        {record: lambda data: data.replace(b"    _0 = (self)", b"    _9 = torch.zero_(weight)\n    _0 = (self)")},
    )
    with pytest.raises(InputError, match="change a weight"):
        opened(path).build()(torch.rand(1, 3, 24, 32))
