"""The pt stage on networks that tell nothing but themselves: baseline, draft, weights with their author's code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mcwbuild.contract import documents, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.stage import parser
from stages.common.checkpoint_file import contents
from stages.families.plain.weights import read
from stages.pt.stage import STAGE
from tests.support.archives import MODELS

ROOT = Path(__file__).parents[3]
NAMES = ("blue_arrow", "blue_bar", "blue_wedge", "red_arrow", "red_bar", "red_wedge")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn arrows, bars and wedges in folders by class; others than those that the classifier was trained on."""
    folder = tmp_path_factory.mktemp("drawn") / "images"
    program = ROOT / "benchmarks" / "draw_tasks.py"
    words = [sys.executable, str(program), "classify", str(folder), "--train", "12", "--val", "48"]
    subprocess.run(words, check=True)
    return folder


def do(out: Path, *flags: object) -> dict[str, Any]:
    """Run the stage's own part; returns the documents that it wrote."""
    out.mkdir()
    args = parser(STAGE).parse_args(["--out", str(out), "--threads", "1", *map(str, flags)])
    STAGE.work(STAGE.require(args), Bench(out, out, 1, lambda event: None))
    written = {}
    for name, schema in (("training_source.yaml", "training_source"), ("performance_pt.json", "performance_pt")):
        if (out / name).exists():
            document = documents.read(out / name)
            validate.require(document, schema)
            written[schema] = document.value
    return written


def own_evaluation(folder: Path) -> tuple[float, float]:
    """top-1 and top-5 as torchvision's own evaluation has them: Pillow's resize and crop, PyTorch's loader, a loop."""
    network = torch.jit.load(MODELS / "classifier_traced.pt").eval()
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    first, five = [], []
    for path in sorted((folder / "val").glob("*/*")):
        image = Image.open(path).convert("RGB")
        wide, high = (int(72 * side / min(image.size)) for side in image.size)
        left, top = round((wide - 64) / 2.0), round((high - 64) / 2.0)
        crop = image.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + 64, top + 64))
        pixels = (np.asarray(crop, np.float32) / 255 - mean) / std
        with torch.inference_mode():
            best = network(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))[0].topk(5).indices.tolist()
        first.append(NAMES[best[0]] == path.parent.name)
        five.append(path.parent.name in [NAMES[each] for each in best])
    return float(np.mean(first)), float(np.mean(five))


def source(folder: Path, images: Path, task: str = "classification") -> Path:
    """A draft, completed as its owner would."""
    words = ("--task", task, "--imgsz", "64", "--data", images, "--describe")
    (draft,) = do(folder / "draft", "--pt", MODELS / "classifier_traced.pt", *words).values()
    assert set(draft["training"]["guessed"]) >= {"input.format", "preprocessing.normalize"}
    assert "contract_sha256" not in draft
    draft["preprocessing"]["resize"]["shorter_side"] = 72
    draft["training"]["guessed"] = ["input.format"]
    path = folder / "training_source.yaml"
    documents.write_yaml(path, draft)
    return path


def test_the_baseline_is_the_accuracy_of_an_independent_evaluation(tmp_path: Path, images: Path) -> None:
    given = source(tmp_path, images)
    for number, name in enumerate(("classifier_traced.pt", "classifier_scripted.pt", "classifier.pt2")):
        written = do(tmp_path / str(number), "--pt", MODELS / name, "--source", given, "--data", images)
        record = written["performance_pt"]
        metrics = record["accuracy_metrics"]
        assert (metrics["top1"], metrics["top5"]) == tuple(round(figure, 6) for figure in own_evaluation(images))
        assert 0.5 < metrics["top1"] < 1
        assert [issue["what"] for issue in record["issues"]] == ["input.format is a guess."]
        assert record["validation"]["status"] == "passed"
        assert written["training_source"]["checkpoint"]["file"] == name


def test_weights_become_a_network_by_their_author_s_code(tmp_path: Path, images: Path) -> None:
    given = source(tmp_path, images)
    code = ("--model-code", MODELS / "classifier_code", "--model", "shapes_classifier:make")
    flags = ("--pt", MODELS / "classifier.safetensors", "--source", given, "--data", images)
    record = do(tmp_path / "weights", *flags, *code)["performance_pt"]
    assert record["accuracy_metrics"]["top1"] == round(own_evaluation(images)[0], 6)
    state = {name: torch.from_numpy(array) for name, array in read(contents(MODELS / "classifier.safetensors")).items()}
    for number, held in enumerate((state, {"state_dict": state})):
        torch.save(held, tmp_path / "weights.pth")
        again = do(tmp_path / str(number), "--pt", tmp_path / "weights.pth", "--source", given, "--data", images, *code)
        assert again["performance_pt"]["accuracy_metrics"] == record["accuracy_metrics"]
    state.pop("head.bias")
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"head\.bias"):
        do(tmp_path / "lacking", "--pt", tmp_path / "weights.pth", "--source", given, *code)
    with pytest.raises(InputError, match="No module named 'nothing'"):
        do(tmp_path / "wrong", *flags[:2], "--source", given, *code[:3], "nothing:make")


def test_without_a_source_the_command_that_begins_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mcwbuild init --pt classifier\.pt2 --task generic --imgsz 64,64") as raised:
        do(tmp_path / "a", "--pt", MODELS / "classifier.pt2")
    assert raised.value.code == 2
    with pytest.raises(InputError, match="--names"):
        do(tmp_path / "b", "--pt", MODELS / "classifier.pt2", "--task", "classification", "--describe")
    with pytest.raises(InputError, match="task pose"):
        do(tmp_path / "c", "--pt", MODELS / "classifier.pt2", "--task", "pose", "--describe")


def test_a_source_that_is_not_the_network_s_is_told(tmp_path: Path, images: Path) -> None:
    text = source(tmp_path, images).read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("size: [64, 64]", "size: [96, 64]").replace("shorter_side: 72", "shorter_side: 96"))
    with pytest.raises(ContractBroken, match=r"input\.size"):
        do(tmp_path / "a", "--pt", MODELS / "classifier.pt2", "--source", wrong)
    wrong.write_text(text.replace("task: classification", "task: pose"))
    with pytest.raises(InputError, match="for the task pose"):
        do(tmp_path / "b", "--pt", MODELS / "classifier.pt2", "--source", wrong)
    generic = tmp_path / "generic.yaml"
    generic.write_text(text.replace("task: classification", "task: generic"))
    with pytest.raises(InputError, match="generic network has no labels"):
        do(tmp_path / "c", "--pt", MODELS / "classifier.pt2", "--source", generic, "--data", images)
    record = do(tmp_path / "d", "--pt", MODELS / "classifier.pt2", "--source", generic)["performance_pt"]
    assert record["accuracy_metrics"]["status"] == "unmeasured"
    assert record["model_info"]["outputs"] == [{"name": "output", "dtype": "float32", "shape": [1, 6]}]
