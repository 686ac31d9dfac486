"""`mcwbuild board`: pack, merge, and all over a real ssh connection; the board is this machine with a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import manifest
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines.local import LocalEngine
from tests.support import sshd
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT, Done, mcwbuild, package_files

RECORD = "performance_rknn.device.json"
STANDIN = ROOT / "tests" / "support" / "standin_rknnlite"
DATA = ("--data", EXAMPLE / "data.yaml", "--images", "12")


@pytest.fixture(scope="module")
def made(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example's run, with its archive for the board."""
    folder = Path(shutil.copytree(example, tmp_path_factory.mktemp("board") / "shapes"))
    done = mcwbuild("board", "pack", folder, *DATA, cwd=folder)
    assert done.code == 0, done.stderr
    assert "python3 mcwbuild-board/run_board.py" in done.stdout
    return folder


@pytest.fixture(scope="module")
def board(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    """The ssh server; in its sessions the stand-in is the board's runtime, which computes with ONNX Runtime."""
    if sshd.SSHD is None:
        pytest.skip("NOT RUN: install openssh-server, the board is reached by ssh")
    recording = tmp_path_factory.mktemp("standin")
    shutil.copy(made / "onnx_package" / "best.onnx", recording)
    environment = {"PYTHONPATH": f"{STANDIN}:{ROOT}", "STANDIN_RKNNLITE": str(recording)}
    with sshd.server(tmp_path_factory.mktemp("sshd"), environment) as server:
        yield server


@pytest.fixture(scope="module")
def measured(made: Path, board: sshd.Server) -> Done:
    """`board run` over that connection."""
    python = LocalEngine().python(PHASES["rknn"])
    ssh = ("--ssh", board.host, "--port", str(board.port), "--identity", board.identity, "--python", python)
    return mcwbuild("board", "run", made, *DATA, *ssh, "--json", cwd=made, environment={"PATH": board.path})


def record_of(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "rknn_package" / RECORD).read_text())
    return found


def test_the_archive_is_the_same_again_and_tells_nothing_of_this_machine(made: Path) -> None:
    archive = made / "board" / "rk3588.tar.gz"
    before = archive.read_bytes()
    assert mcwbuild("board", "pack", made / "rknn_package", *DATA, cwd=made).code == 0
    assert archive.read_bytes() == before
    names = {path.name for path in (EXAMPLE / "images" / "val").iterdir()}
    with tarfile.open(archive) as members:
        contents = {member.name: members.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    assert sum(name.startswith("mcwbuild-board/images/") for name in contents) == 12
    assert sum(name.startswith("mcwbuild-board/labels/") for name in contents) == 12
    program = contents["mcwbuild-board/npu_inference.py"]
    assert program == (made / "rknn_package" / "npu_inference.py").read_bytes()
    texts = b"".join(content for name, content in contents.items() if name.endswith((".py", ".json", ".txt", "SUMS")))
    for told in (str(ROOT), str(made), str(Path.home()), *names):
        assert told.encode() not in texts


def test_pack_run_and_merge_over_a_real_ssh_connection(made: Path, measured: Done) -> None:
    assert measured.code in (0, 3), measured.stderr
    rows = {row["model"]: row for row in measured.json["models"]}
    assert set(rows) == {"rk3588 FP16 stand-in", "rk3588 INT8 stand-in"}
    for row in rows.values():
        assert row["device"] == "stand-in"
        assert row["remark"].startswith("No NPU computed: a stand-in")
        assert row["fps"] > 0
        assert row["latency_ms"] > 0
        assert row["map50_95"] > 0.5
    assert package_files(made / "rknn_package").count(RECORD) == 1
    verified = mcwbuild("verify", made, cwd=made)
    assert (verified.code, verified.stdout.count("ok ")) == (0, 3), verified.stderr


@pytest.mark.parametrize(
    ("known", "key", "words"),
    [
        (False, "user", "was not reached: its host key is not known"),
        (True, "host", "was not reached: it does not let this user in"),
    ],
)
def test_a_board_that_lets_nobody_in_is_told(made: Path, board: sshd.Server, known: bool, key: str, words: str) -> None:
    ssh = ("--ssh", board.host, "--port", str(board.port), "--identity", board.identity.with_name(key))
    path = board.path if known else os.environ["PATH"]
    done = mcwbuild("board", "run", made, *DATA, *ssh, cwd=made, environment={"PATH": path})
    assert (done.code, words in done.stderr) == (5, True), done.stderr


def test_a_board_without_the_runtime_is_told(made: Path, board: sshd.Server, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH= exec {LocalEngine().python(PHASES["rknn"])} "$@"\n')
    python.chmod(0o755)
    ssh = ("--ssh", board.host, "--port", str(board.port), "--identity", board.identity, "--python", python)
    done = mcwbuild("board", "run", made, *DATA, *ssh, cwd=made, environment={"PATH": board.path})
    assert done.code == 5
    assert "rknn-toolkit-lite2 cannot be imported" in done.stderr
    assert "pip install rknn-toolkit-lite2==2.3.2" in done.stderr


def test_a_run_that_is_terminated_leaves_no_process_and_no_folder(made: Path, board: sshd.Server) -> None:
    python = LocalEngine().python(PHASES["rknn"])
    ssh = ["--ssh", board.host, "--port", board.port, "--identity", board.identity, "--python", python]
    process = subprocess.Popen(
        [*MCWBUILD, *map(str, ["board", "run", made, *DATA, *ssh])],
        cwd=made,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": board.path},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("measuring best_fp16" in line for line in process.stderr)
    assert [line for line in processes() if "run_board.py" in line]
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not [line for line in processes() if "run_board.py" in line]
    assert not list(Path("/tmp").glob("mcwbuild-*/archive.tar.gz"))


def processes() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def test_the_boards_folder_is_gone(measured: Done) -> None:
    assert measured.code in (0, 3)
    assert not [path for path in Path("/tmp").glob("mcwbuild-*") if (path / "archive.tar.gz").exists()]


def test_the_record_says_what_the_board_is_and_how_far_it_is_from_the_simulator(made: Path, measured: Done) -> None:
    assert measured.code in (0, 3)
    record = record_of(made)
    assert record["stand_in"] is True
    assert "results" not in record
    assert record["device"]["fp16"]["versions"]["rknn-toolkit-lite2"] == "2.3.2+standin"
    for variant in ("fp16", "int8"):
        speed = record["inference_performance"][variant]
        assert 0 < speed["latency_ms"]["total"]["p50"] <= speed["latency_ms"]["total"]["p99"]
        assert record["throughput"][variant]["cores"] == 3
        assert record["conditions"][variant]["memory_mb"] > 10
        metrics = record["comparison_with_simulator"][variant]["metrics"]
        assert metrics["map50_95"]["previous"] > 0.5
        assert metrics["map50_95"]["current"] == record["accuracy_metrics"][variant]["map50_95"]
    far = {
        variant: max(row["max_error"] for row in record["comparison_with_simulator"][variant]["outputs"])
        for variant in ("fp16", "int8")
    }
    # ONNX Runtime computes in float32: all but the same as FP16, and not the same as INT8.
    assert 0 < far["fp16"] < 0.1 < far["int8"]
    assert {check["name"]: check["status"] for check in record["validation"]["checks"]}[
        "fp16 board and simulator"
    ] == "passed"
    gates = {(gate["variant"], gate["metric"]): gate for gate in record["validation"]["gates"]}
    assert gates["int8", "speedup"]["status"] == "unmeasured"
    assert gates["fp16", "map50_95"]["reference"] == "simulator"


def test_a_run_that_finds_nothing_changed_shows_the_boards_rows(made: Path, measured: Done) -> None:
    assert measured.code in (0, 3)
    words = ("run", "--pt", EXAMPLE / "best.pt", "--data", EXAMPLE / "data.yaml", "--target", "rk3588", "--json")
    again = mcwbuild(*words, "--out", made, "--name", "shapes", cwd=made)
    assert again.code == 0, again.stderr
    assert [row["model"] for row in again.json["models"]][-2:] == ["rk3588 FP16 stand-in", "rk3588 INT8 stand-in"]


Change = Callable[[dict[str, Any]], None]


def doctored(made: Path, folder: Path, change: Change) -> Path:
    """The merged record with a change, as a board could have written it."""
    record = record_of(made)
    change(record)
    (folder / RECORD).write_text(json.dumps(record))
    return folder / RECORD


def merged(made: Path, folder: Path, change: Change, *words: str) -> Done:
    """What merging such a record into a copy of the packages gives."""
    copy = Path(shutil.copytree(made, folder / "copy"))
    done = mcwbuild("board", "merge", copy, doctored(made, folder, change), *words, "--json", cwd=folder)
    assert mcwbuild("verify", copy, cwd=folder).code == 0
    return done


def other_model(record: dict[str, Any]) -> None:
    record["model_info"]["int8"]["sha256"] = "0" * 64


def other_contract(record: dict[str, Any]) -> None:
    record["report_info"]["contract_sha256"] = "0" * 64


def other_archive(record: dict[str, Any]) -> None:
    record["pack"]["sha256"] = "0" * 64


def strange_results(record: dict[str, Any]) -> None:
    record["results"] = {variant: {"text": "AAAA", "reason": None} for variant in ("fp16", "int8")}


def no_cosine(record: dict[str, Any]) -> None:
    del record["comparison_with_simulator"]["int8"]["outputs"][1]["cosine"]


def other_outputs(record: dict[str, Any]) -> None:
    record["comparison_with_simulator"]["fp16"]["outputs"].reverse()


def no_flag(record: dict[str, Any]) -> None:
    del record["stand_in"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (other_model, 2, "is about another model"),
        (other_contract, 3, "measured under another contract"),
        (other_archive, 2, "was measured with another archive"),
        (strange_results, 2, "results cannot be read"),
        (no_flag, 2, "stand_in"),
        (no_cosine, 2, "does not compare the model's outputs"),
        (other_outputs, 2, "does not compare the model's outputs"),
    ],
)
def test_what_is_not_of_this_package_is_refused_and_the_package_stays(
    made: Path, measured: Done, tmp_path: Path, change: Change, code: int, words: str
) -> None:
    done = merged(made, tmp_path, change)
    assert (done.code, words in done.stderr) == (code, True), done.stderr
    before, after = (folder / "rknn_package" / RECORD for folder in (made, tmp_path / "copy"))
    assert before.read_bytes() == after.read_bytes()


def test_a_record_of_another_model_in_a_package_is_found(made: Path, measured: Done, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy")) / "rknn_package"
    doctored(made, copy, other_model)
    manifest.add(copy, RECORD)
    done = mcwbuild("verify", copy, cwd=tmp_path)
    assert done.code == 3
    assert f"{RECORD} is about another int8 model" in done.stderr


def as_a_board(record: dict[str, Any]) -> None:
    """Figures as of an rk3588 that is ten times as fast as the CPU, and computes one output otherwise."""
    record["stand_in"] = False
    record["board"]["chip"] = "rk3588"
    for variant in ("fp16", "int8"):
        record["device"][variant] |= {"kind": "NPU", "model": "rk3588"}
        record["inference_performance"][variant]["fps"] = 1.0
        for row in record["comparison_with_simulator"][variant]["outputs"]:
            row |= {"cosine": 0.99999, "max_error": 0.01}
    record["comparison_with_simulator"]["int8"]["outputs"][2]["cosine"] = 0.91


def test_outputs_that_part_are_named_and_a_slow_board_is_told(made: Path, measured: Done, tmp_path: Path) -> None:
    done = merged(made, tmp_path, as_a_board, "--gate", "fp16.speedup=3")
    assert done.code == 3, done.stderr
    checks = {check["name"]: check for check in done.json["validation"]["checks"]}
    parted = record_of(made)["comparison_with_simulator"]["int8"]["outputs"][2]["name"]
    assert checks["fp16 board and simulator"]["status"] == "passed"
    assert checks["int8 board and simulator"]["status"] == "failed"
    assert f"part at {parted} (cosine 0.91" in checks["int8 board and simulator"]["detail"]
    speeds = {gate["variant"]: gate for gate in done.json["validation"]["gates"] if gate["metric"] == "speedup"}
    assert speeds["fp16"]["status"] == "failed"
    assert "3 is the least that was set" in speeds["fp16"]["reason"]
    assert speeds["int8"]["status"] == "undecided"
    assert [row["model"] for row in done.json["models"]] == ["rk3588 FP16 NPU", "rk3588 INT8 NPU"]
    assert all(0 < row["speedup"] < 2 and row["fps_all_cores"] > 0 for row in done.json["models"])
    ledger = mcwbuild("ledger", tmp_path / "copy", cwd=tmp_path)
    assert ledger.code == 0, ledger.stderr
    assert "rk3588 INT8 NPU" in ledger.stdout
    assert "times ONNX on CPU" in ledger.stdout


def crashed(record: dict[str, Any]) -> None:
    """As where librknnrt.so killed the process that ran the INT8 model."""
    for block in record.values():
        if isinstance(block, dict) and "int8" in block:
            block["int8"] = {"status": "unmeasured", "reason": "killed by signal 6"}


def test_a_model_that_the_board_could_not_run_fails(made: Path, measured: Done, tmp_path: Path) -> None:
    done = merged(made, tmp_path, crashed)
    assert done.code == 3, done.stderr
    assert "The int8 model was not measured on the board: killed by signal 6" in done.stderr
    assert [row["model"] for row in done.json["models"]] == ["rk3588 FP16 stand-in"]


def test_another_dataset_is_not_packed(made: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "shapes")
    label = next((tmp_path / "shapes" / "labels" / "val").iterdir())
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    done = mcwbuild("board", "pack", made, "--data", tmp_path / "shapes" / "data.yaml", cwd=tmp_path)
    assert done.code == 2
    assert "is not the dataset that" in done.stderr
