"""`mcwbuild train` and `run --train-config` as a user runs them: killed, taken up again, and the whole way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from mcwbuild import inspection
from mcwbuild.contract import documents, training
from mcwbuild.contract.phases import PHASES
from mcwbuild.contract.resumable import TRAINING
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT, mcwbuild, small_dataset

# From the example's own weights, in small steps: it still finds its shapes afterwards.
CONFIG = f"""
model: {EXAMPLE / "best.pt"}
imgsz: 128
epochs: 2
batch: 6
nbs: 6
optimizer: SGD
lr0: 0.0001
warmup_epochs: 0
mosaic: 0
val: false
"""


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """The command, on six images of each of the example's splits."""
    (tmp_path / "train.yaml").write_text(CONFIG)
    data = small_dataset(tmp_path, 6)
    way = ("run", "--train-config", "train.yaml", "--data", str(data), "--target", "rk3588", "--dtype", "fp16")
    return (*way, "--out", "out", "--progress", "json", "--json")


def test_a_training_that_is_killed_goes_on_and_the_whole_way_is_gone(tmp_path: Path, words: tuple[str, ...]) -> None:
    run = subprocess.Popen(
        [*MCWBUILD, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    for line in run.stderr:
        if '"epoch 2/2"' in line:
            run.send_signal(signal.SIGKILL)
            break
    run.stderr.read()
    assert run.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "pt_package").exists()
    done = mcwbuild(*words, cwd=tmp_path)
    assert done.code == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [event["name"] for event in events if event["event"] == "measured"] == ["epoch 2/2"]
    out = tmp_path / "out"
    for phase in PHASES.values():
        assert inspection.inspect(out / phase.package, phase) == []
    assert inspection.chain(inspection.packages_in(out)) == []
    source = documents.read_yaml(out / "pt_package" / "training_source.yaml").value
    assert source["training"]["begun_from"]["weights"] == "best.pt"
    assert source["dataset"]["splits"]["train"]["images"] == 6
    models = {model["model"]: model for model in done.json["models"]}
    assert models["PT"]["map50_95"] > 0.1
    assert models["ONNX"]["gate"] == "passed"
    assert not (out / TRAINING.folder).exists()
    assert not list(out.glob(".tmp-*"))


def test_all_faults_of_a_dataset_come_in_one_report_before_anything_is_trained(tmp_path: Path) -> None:
    data = small_dataset(tmp_path, 3)
    images = (tmp_path / "train.txt").read_text().splitlines()
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "cut.jpg").write_bytes(Path(images[0]).read_bytes()[:900])
    (tmp_path / "images" / "wrong.jpg").write_bytes(Path(images[1]).read_bytes())
    (tmp_path / "labels" / "wrong.txt").write_text("0 0.5 0.5 0.1 0.1\n99 0.5 0.5 0.1 0.1\n")
    (tmp_path / "labels" / "cut.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    text = data.read_text().replace("train: train.txt", "train: images")
    data.write_text(f"nc: 2\n{text}")
    (tmp_path / "train.yaml").write_text("model: yolo11n.yaml\n")
    done = mcwbuild("train", "--config", "train.yaml", "--data", data, "--out", "out", cwd=tmp_path)
    assert done.code == 2
    for said in ("nc is 2 but there are 6 names", "cut.jpg: truncated JPEG", "wrong.txt:2: class 99"):
        assert said in done.stderr
    assert not list((tmp_path / "out").glob("*_package"))


@pytest.mark.parametrize(
    ("config", "flags", "said"),
    [
        ("model: yolo11n.pt\n", (), "Nothing is downloaded here"),
        ("model: yolo11n.yaml\nepoch: 3\n", (), "did you mean `epochs`?"),
        ("model: yolo11n.yaml\n", ("--imgsz", "64"), "No such option"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(
    tmp_path: Path, config: str, flags: tuple[str, ...], said: str
) -> None:
    (tmp_path / "train.yaml").write_text(config)
    data = small_dataset(tmp_path, 2)
    done = mcwbuild("train", "--config", "train.yaml", "--data", data, *flags, cwd=tmp_path)
    assert done.code == 2
    assert said in done.stderr


def test_run_begins_with_one_model(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("model: yolo11n.yaml\n")
    both = ("--pt", EXAMPLE / "best.pt", "--train-config", "train.yaml")
    for words, said in (
        (both, "--pt and --train-config are given"),
        (("--pt", EXAMPLE / "best.pt", "--fresh"), "--fresh is for a training"),
        (("--train-config", "train.yaml"), "Add --data"),
        (("--train-config", "train.yaml", "--imgsz", "64"), "--imgsz cannot be given with a training"),
    ):
        done = mcwbuild("run", *words, "--target", "rk3588", cwd=tmp_path)
        assert done.code == 2
        assert said in done.stderr


def test_init_writes_a_configuration_to_begin_with(tmp_path: Path) -> None:
    done = mcwbuild("init", "--train", cwd=tmp_path)
    assert (done.code, done.stdout) == (0, "train.yaml\n")
    assert training.read(tmp_path / "train.yaml").model == "yolo11n.yaml"
    assert mcwbuild("init", "--train", cwd=tmp_path).code == 2
    assert mcwbuild("init", cwd=tmp_path).code == 2
