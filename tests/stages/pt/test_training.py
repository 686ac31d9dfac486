"""A training with Ultralytics' own trainer: stopped at any moment it goes on, and ends as one that nobody stopped."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract import documents, inherit, manifest, training, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import EnvironmentLacking, InputError, McwbuildError, Refused
from mcwbuild.contract.resumable import TRAINING
from mcwbuild.contract.stage import parser
from stages.common import checkpoint
from stages.pt.stage import STAGE
from stages.pt.training import TrainRequest, train
from tests.support.drawn import draw
from tests.support.make_checkpoint import main as make_checkpoint

ROOT = Path(__file__).parents[3]
NAMES = ("first", "größer")
# Two heads whose losses' weights change from epoch to epoch, mosaics that end with the second one, a warm-up.
CONFIG = """
model: yolo26n.yaml
imgsz: 64
epochs: 2
batch: 4
nbs: 4
optimizer: AdamW
lr0: 0.001
warmup_epochs: 0.5
close_mosaic: 1
cache: ram
seed: 5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn dataset of eight images, train.yaml beside it."""
    folder = tmp_path_factory.mktemp("training")
    draw(folder / "drawn", NAMES, 8)
    (folder / "train.yaml").write_text(CONFIG)
    return folder


def start(folder: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    """The stage as a person runs it alone, with its events as lines."""
    words = ["--train", folder / "train.yaml", "--data", folder / "drawn" / "data.yaml", "--out", out, "--threads", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.pt", *map(str, words), "--progress", "json", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Its events, when it has ended well."""
    said, errors = run.communicate()
    assert run.returncode == 0, errors
    return [json.loads(line) for line in said.splitlines()]


def stop(run: subprocess.Popen[str], part: str, number: int) -> tuple[list[str], str]:
    """Send the signal when the part begins; the remarks among its events, and what it said on standard error."""
    assert run.stdout is not None
    assert run.stderr is not None
    remarks = []
    for line in run.stdout:
        event = json.loads(line)
        remarks += [event["text"]] if event["event"] == "noted" else []
        if event["event"] == "started" and event["name"] == part:
            run.send_signal(number)
    said = run.stderr.read()
    run.wait()
    return remarks, said


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The package of a training that nobody stopped, and its events."""
    return folder / "whole", finish(start(folder, folder / "whole"))


def test_the_package_says_what_was_used(folder: Path, whole: tuple[Path, list[dict[str, Any]]]) -> None:
    package, _ = whole
    assert sorted(path.name for path in package.iterdir()) == [
        "SHA256SUMS", "best.pt", "evaluation_pt.npz", "manifest.json", "performance_pt.json", "results_pt.json",
        "training_source.yaml",
    ]  # fmt: skip
    assert manifest.verify(package) == []
    source = documents.read_yaml(package / "training_source.yaml")
    validate.require(source, "training_source")
    assert source.value["contract_sha256"] == inherit.contract_sha256(source.value)
    assert source.value["classes"]["names"] == list(NAMES)
    assert source.value["input"]["size"] == [64, 64]
    used, config = source.value["training"], training.read(folder / "train.yaml").settings
    assert {key: used[key] for key in config if key in used} == {key: config[key] for key in config if key in used}
    assert used["begun_from"] == {"architecture": "yolo26n.yaml"}
    assert used["epochs_run"] == 2
    split = source.value["dataset"]["splits"]["train"]
    assert (split["images"], split["objects_by_class"]) == (8, [4, 4])
    record = documents.read_json(package / "performance_pt.json").value
    assert record["test_configuration"]["dataset"]["sha256"] == split["sha256"]
    assert record["issues"][0]["cause"].startswith("images of val that are in train too")


def test_the_checkpoint_names_no_folder_of_this_machine(whole: tuple[Path, list[dict[str, Any]]], folder: Path) -> None:
    with zipfile.ZipFile(whole[0] / "best.pt") as archive:
        (pickled,) = (archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
    assert b"data.yaml" in pickled
    assert str(folder).encode() not in pickled
    assert b"/tmp/" not in pickled
    assert b"/mcwbuild-" not in pickled


def test_every_epoch_tells_its_losses_and_its_map(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    events = whole[1]
    measured = [event for event in events if event["event"] == "measured"]
    assert [event["name"] for event in measured] == ["epoch 1/2", "epoch 2/2"]
    for event in measured:
        assert {"box_loss", "cls_loss", "map50", "map50_95", "precision", "recall"} <= set(event["figures"])
    progress = [(e["done"], e["total"]) for e in events if e["event"] == "progressed" and e["name"] == "epoch 1/2"]
    assert progress[-1] == (2, 2)
    assert any("Trains on the" in event.get("text", "") for event in events)


def test_nothing_is_written_beside_the_images(folder: Path, whole: tuple[Path, list[dict[str, Any]]]) -> None:
    assert {path.suffix for path in (folder / "drawn").rglob("*") if path.is_file()} == {".png", ".txt", ".yaml"}


def test_a_killed_training_goes_on_and_ends_as_one_that_was_not(
    folder: Path, whole: tuple[Path, list[dict[str, Any]]]
) -> None:
    out = folder / "killed"
    stop(start(folder, out), "epoch 2/2", signal.SIGKILL)
    assert not (out / "SHA256SUMS").exists()
    state = out / TRAINING.folder / TRAINING.file
    assert state.is_file()
    remarks, _ = stop(start(folder, out), "evaluate", signal.SIGKILL)
    assert any("Goes on after epoch 1" in remark for remark in remarks)
    assert not (out / "SHA256SUMS").exists()
    events = finish(start(folder, out))  # the training is done already
    assert not [event["name"] for event in events if event["event"] == "measured"]
    ours, theirs = checkpoint.read(out / "best.pt"), checkpoint.read(whole[0] / "best.pt")
    assert ours.tensors.keys() == theirs.tensors.keys()
    assert all(np.array_equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
    assert ours.metadata["train_metrics"] == theirs.metadata["train_metrics"]
    assert manifest.verify(out) == []
    assert not state.parent.exists()


def test_a_terminated_training_says_how_to_go_on_and_another_configuration_begins_anew(folder: Path) -> None:
    out = folder / "terminated"
    run = start(folder, out)
    remarks, said = stop(run, "epoch 2/2", signal.SIGTERM)
    assert run.returncode == 143
    assert remarks[-1] == "Stopped after epoch 1; the same command goes on from there."
    assert "the same command goes on from here" in said
    assert [path.name for path in out.iterdir()] == [TRAINING.folder]
    other = folder / "other"
    other.mkdir()
    (other / "drawn").symlink_to(folder / "drawn")
    (other / "train.yaml").write_text(CONFIG.replace("epochs: 2", "epochs: 1"))
    remarks, _ = stop(start(other, out), "epoch 1/1", signal.SIGKILL)  # its first epoch, not its second
    assert any("begins anew" in remark for remark in remarks)


class Hostile:
    """What a pickle may hold: a call when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {MARK}",)


MARK = Path(f"/tmp/mcwbuild-was-run-{os.getpid()}")


def hostile(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("state/data.pkl", pickle.dumps({"format": 1, "best": Hostile()}, protocol=2))
        archive.writestr("state/version", "3\n")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (hostile, Refused),
        (lambda path: path.write_bytes(b"garbage"), InputError),
        (lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 500), InputError),
        (lambda path: path.write_bytes(b""), InputError),
    ],
)
def test_a_state_that_is_none_is_refused_and_runs_nothing(
    tmp_path: Path, make: Any, error: type[McwbuildError]
) -> None:
    from stages.pt.training_state import load

    make(tmp_path / "state.pt")
    with pytest.raises(error, match="--fresh"):
        load(tmp_path / "state.pt")
    assert not MARK.exists()


def request(folder: Path, config: str, *flags: object) -> TrainRequest:
    (folder / "train.yaml").write_text(config)
    words = ["--train", folder / "train.yaml", "--data", folder / "data.yaml", "--out", folder / "out", *flags]
    made = STAGE.require(parser(STAGE).parse_args([str(word) for word in words]))
    assert isinstance(made, TrainRequest)
    return made


@pytest.mark.parametrize(
    ("config", "flags", "said"),
    [
        ("model: yolo11n.pt", (), "Nothing is downloaded here"),
        ("model: yolo11q.yaml", (), "Did you mean yolo11"),
        ("model: yolo11n.yaml", ("--pt", "best.pt"), "two beginnings"),
        ("model: yolo11n.yaml", ("--source", "training_source.yaml"), "takes no --source"),
        ("model: yolo11n.yaml", ("--imgsz", "64"), "takes no --source, --imgsz"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, config: str, flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        request(tmp_path, config, *flags)


def test_a_gpu_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    data = draw(tmp_path / "drawn", NAMES)
    made = request(data.parent, "model: yolov8n.yaml\ndevice: 99\n")
    with pytest.raises(EnvironmentLacking, match="GPU 99 is asked for"):
        train(made, Bench(tmp_path, tmp_path, 1, lambda event: None))
    assert not made.state.exists()


def test_a_checkpoint_to_begin_from_is_read_inertly(tmp_path: Path) -> None:
    make_checkpoint(str(tmp_path / "old.pt"), "yolov8n.yaml", "64,64", *NAMES)
    made = request(tmp_path, "model: old.pt")
    assert made.stock is None
    assert made.weights is not None
    assert made.weights[0].names == NAMES
    hostile(tmp_path / "old.pt")
    with pytest.raises(McwbuildError):
        request(tmp_path, "model: old.pt")
    assert not MARK.exists()


def test_the_defaults_in_the_schema_are_the_library_s_own() -> None:
    from ultralytics.utils import DEFAULT_CFG_DICT

    from mcwbuild.contract import schemas

    fields = schemas.schema("train")["properties"]
    assert {name: field["default"] for name, field in fields.items() if "default" in field} == {
        name: DEFAULT_CFG_DICT[name] for name, field in fields.items() if "default" in field
    }
    assert {name for name in fields if name not in DEFAULT_CFG_DICT} == {"schema"}


def test_suppression_is_the_library_s_own() -> None:
    import torch
    from ultralytics.utils.nms import TorchNMS

    from stages.pt.torchvision_operators import keep_by_score

    random = np.random.default_rng(3)
    corners = random.uniform(0, 60, (300, 2))
    boxes = torch.tensor(np.hstack([corners, corners + random.uniform(5, 40, (300, 2))]), dtype=torch.float32)
    scores = torch.tensor(random.uniform(0, 1, 300), dtype=torch.float32)
    assert keep_by_score(boxes, scores, 0.5).tolist() == TorchNMS.nms(boxes, scores, 0.5).tolist()
