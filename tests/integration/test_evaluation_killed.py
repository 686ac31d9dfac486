"""kill -9 in the middle of an evaluation on the simulator: the next run goes on there, and finds what an uninterrupted
one finds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from mcwbuild.contract import documents
from mcwbuild.contract.resumable import EVALUATIONS
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT, mcwbuild

STATE = EVALUATIONS["fp16"]
IMAGES = 256  # the example's 128 twice: in one thread they take long enough that something is kept, on any machine
PATIENCE = 120.0  # seconds until something is kept, on a busy machine


def many(folder: Path) -> Path:
    """The example's data.yaml with its images of validation twice, under other names."""
    images = sorted((EXAMPLE / "images" / "val").iterdir())
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(IMAGES):
        image = images[number % len(images)]
        label = EXAMPLE / "labels" / "val" / f"{image.stem}.txt"
        shutil.copyfile(image, folder / "images" / f"{number:03}{image.suffix}")
        if label.is_file():
            shutil.copyfile(label, folder / "labels" / f"{number:03}.txt")
    names = (EXAMPLE / "data.yaml").read_text().partition("names:")[2]
    (folder / "data.yaml").write_text(f"train: images\nval: images\nnames:{names}")
    return folder / "data.yaml"


def measured(folder: Path) -> Any:
    """What the build's accuracy is, and what it has found."""
    package = folder / "rknn_package"
    record = documents.read_json(package / "performance_rknn.json").value
    found = (
        documents.read_json(package / "results_rknn.json").value if (package / "results_rknn.json").is_file() else None
    )
    return record["accuracy_metrics"], found


def test_an_evaluation_that_is_killed_goes_on_where_it_was(example: Path, tmp_path: Path) -> None:
    package = example / "onnx_package"
    words = ["convert", "--onnx", package / "best.onnx", "--source", package / "onnx_source.yaml", "--data"]
    words += [many(tmp_path), "--target", "rk3588", "--dtype", "fp16", "--threads", "1", "--out"]
    run = subprocess.Popen(
        [*MCWBUILD, *map(str, words), "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not (kept := list((tmp_path / "out").glob(f".tmp-*/{STATE.staged}/{STATE.file}"))):
        assert run.poll() is None, run.stderr.read() if run.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=30)
    assert kept
    assert not (tmp_path / "out" / "rknn_package").exists()
    done = mcwbuild(*words, "out", "--progress", "json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    told = "".join(str(event.get("text", "")) for event in events)
    at = re.search(rf"The evaluation goes on at image (\d+) of {IMAGES}", told)
    assert at is not None, told
    assert 10 < int(at[1]) < IMAGES
    assert not list((tmp_path / "out").glob(".evaluation*"))
    whole = mcwbuild(*words, "whole", cwd=tmp_path)
    assert whole.code == 0, whole.stderr
    assert "goes on" not in whole.stderr
    assert measured(tmp_path / "out") == measured(tmp_path / "whole")
