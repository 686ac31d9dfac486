"""The pt stage from checkpoint to package, and everything that it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract import documents, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import ContractBroken, InputError, McwbuildError
from mcwbuild.contract.stage import parser
from stages.pt.stage import STAGE
from tests.support.drawn import draw
from tests.support.make_checkpoint import main as make_checkpoint

ROOT = Path(__file__).parents[3]
NAMES = ("first", "second name")
SOURCE = """
model: {name: mine, type: YOLOv8, task: object_detection}
classes:
  names: [first, second name]
  num_classes: 2
input: {size: [64, 128], format: BGR}
preprocessing:
  resize: {method: letterbox}
  normalize: {enabled: true, method: mean_std, mean: [0, 0, 0], std: [255, 255, 255]}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained YOLOv8n for 64x96 images, with two classes."""
    path = tmp_path_factory.mktemp("weights") / "best.pt"
    make_checkpoint(str(path), "yolov8n.yaml", "64,96", *NAMES)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("dataset") / "drawn", NAMES)


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
            written[name] = document.value
    return written


def test_a_checkpoint_becomes_a_package(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    written = do(tmp_path / "out", "--pt", checkpoint, "--data", data, "--name", "chosen")
    assert (tmp_path / "out" / "best.pt").read_bytes() == checkpoint.read_bytes()
    source, record = written["training_source.yaml"], written["performance_pt.json"]
    assert source["model"]["name"] == "chosen"
    assert source["input"]["size"] == [64, 96]
    assert source["classes"]["names"] == list(NAMES)
    assert record["report_info"]["contract_sha256"] == source["contract_sha256"]
    assert record["model_info"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert record["model_info"]["inputs"][0]["shape"] == [1, 3, 64, 96]
    assert record["test_configuration"]["dataset"]["images"] == 4
    assert 0 <= record["accuracy_metrics"]["map50_95"] <= 1
    assert record["inference_performance"]["runs"] == 4
    assert record["validation"]["status"] == "passed"
    assert [check["status"] for check in record["validation"]["checks"]] == [*["passed"] * 3, "unmeasured"]


def test_without_images_accuracy_is_unmeasured_and_says_why(tmp_path: Path, checkpoint: Path) -> None:
    record = do(tmp_path / "out", "--pt", checkpoint)["performance_pt.json"]
    assert record["test_configuration"]["dataset"] is None
    assert "Neither" in record["test_configuration"]["dataset_reason"]
    assert record["accuracy_metrics"]["status"] == "unmeasured"
    assert record["inference_performance"]["fps"] > 0


def test_a_given_source_is_taken_as_it_is_and_completed(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    given = tmp_path / "training_source.yaml"
    given.write_text(SOURCE)
    written = do(tmp_path / "out", "--pt", checkpoint, "--source", given, "--data", data)
    source = written["training_source.yaml"]
    assert source["model"]["name"] == "mine"
    assert source["input"] == {"size": [64, 128], "format": "BGR", "channels": 3, "dtype": "float32", "layout": "NCHW"}
    assert source["preprocessing"]["padding"]["color"] == [114, 114, 114]
    assert source["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert written["performance_pt.json"]["test_configuration"]["input_size"] == [64, 128]


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("second name]", "other]", ContractBroken, "classes.names"),
        (
            "names: [first, second name]\n  num_classes: 2",
            "names: [first]\n  num_classes: 1",
            ContractBroken,
            "num_classes",
        ),
        ("format: BGR", "format: Grayscale", InputError, "mean"),
        ("object_detection", "segmentation", ContractBroken, "model.task"),
        ("[64, 128]", "[64, 100]", InputError, "multiples of its largest stride"),
        ("method: letterbox}", "method: letterbox}\n  padding: {enabled: false}", InputError, "padding.enabled"),
        ("model: {", "export: {tool: x}\nmodel: {", InputError, "export"),
    ],
)
def test_a_source_that_is_not_the_checkpoint_s_is_refused(
    tmp_path: Path, checkpoint: Path, old: str, new: str, error: type[McwbuildError], said: str
) -> None:
    given = tmp_path / "training_source.yaml"
    assert old in SOURCE
    given.write_text(SOURCE.replace(old, new))
    with pytest.raises(error) as caught:
        do(tmp_path / "out", "--pt", checkpoint, "--source", given)
    assert said in f"{caught.value} {' '.join(map(str, caught.value.problems))}"


def test_an_edited_contract_is_noticed_by_its_hash(tmp_path: Path, checkpoint: Path) -> None:
    given = tmp_path / "training_source.yaml"
    given.write_text(SOURCE + f"contract_sha256: '{'0' * 64}'\n")
    with pytest.raises(InputError, match="edited"):
        do(tmp_path / "out", "--pt", checkpoint, "--source", given)


def test_everything_that_is_wrong_with_the_inputs_comes_at_once(tmp_path: Path) -> None:
    broken, given = tmp_path / "best.pt", tmp_path / "training_source.yaml"
    broken.write_text("not a checkpoint")
    given.write_text(SOURCE.replace("task:", "tusk:"))
    with pytest.raises(InputError) as caught:
        do(tmp_path / "out", "--pt", broken, "--source", given)
    told = " ".join(map(str, caught.value.problems))
    assert "best.pt" in told
    assert "tusk" in told


def test_a_name_beside_a_source_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    given = tmp_path / "training_source.yaml"
    given.write_text(SOURCE)
    with pytest.raises(InputError, match="--name"):
        do(tmp_path / "out", "--pt", checkpoint, "--source", given, "--name", "x")


def test_the_source_s_colour_format_decides_what_the_network_sees(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    found = {}
    for form in ("RGB", "BGR"):
        given = tmp_path / f"{form}.yaml"
        given.write_text(SOURCE.replace("BGR", form))
        args = parser(STAGE).parse_args(
            ["--out", "x", "--pt", str(checkpoint), "--source", str(given), "--data", str(data)]
        )
        request = STAGE.require(args)
        assert request.images is not None
        found[form] = next(request.images.prepared(request.contract, 1))
    assert np.array_equal(found["RGB"], found["BGR"][:, :, ::-1])
    assert not np.array_equal(found["RGB"], found["BGR"])


def command(*flags: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = (
        "import sys\nfrom mcwbuild.contract.stage import run\nfrom stages.pt.stage import STAGE\n"
        "code = run(STAGE, sys.argv[1:])\nprint('torch' in sys.modules, file=sys.stderr)\nsys.exit(code)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, flags)], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_describing_writes_the_source_alone_and_needs_no_torch(tmp_path: Path, checkpoint: Path) -> None:
    out = tmp_path / "out"
    done = command("--pt", checkpoint, "--describe", "--imgsz", "96,64", "--out", out)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.iterdir()] == ["training_source.yaml"]
    assert documents.read_yaml(out / "training_source.yaml").value["input"]["size"] == [96, 64]
    assert done.stderr.split()[-1] == "False"


def test_a_broken_contract_leaves_nothing_and_exits_with_3(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    other = tmp_path / "data.yaml"
    other.write_text(f"path: {data.parent}\nval: images\ntrain: images\nnames: [first, second]\n")
    result, out = tmp_path / "result.json", tmp_path / "out"
    done = command("--pt", checkpoint, "--data", other, "--out", out, "--result", result, "--nonce", "n")
    assert done.returncode == 3
    assert list(out.iterdir()) == []
    outcome = json.loads(result.read_text())
    assert outcome["error"]["error"] == "ContractBroken"
    assert "'second'" in outcome["error"]["found"]
    assert done.stderr.split()[-1] == "False"
