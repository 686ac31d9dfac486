"""`mcwbuild ledger`: what packages say, in one table; and packages that nobody should read."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract import documents, manifest
from mcwbuild.contract.phases import ONNX, PHASES, PT, RKNN, Phase
from mcwbuild.published import find, read_all
from mcwbuild.report import ledger
from tests.support.commands import Done, mcwbuild
from tests.support.engines import write_package

BOARD = Path(__file__).parents[1] / "contract" / "examples" / "valid" / "performance_rknn.device" / "merged.json"
GOLDEN = Path(__file__).with_name("ledger.txt")
Edit = Callable[[dict[str, Any]], Any]


def rewrite(package: Path, phase: Phase, edit: Edit) -> None:
    """Edit the record as somebody who also puts the hashes right."""
    record = documents.read_json(package / phase.performance).value
    edit(record)
    documents.write_json(package / phase.performance, record)
    manifest.write(package, phase, {})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The three packages of a run."""
    for phase in PHASES.values():
        write_package(tmp_path / "build" / "toy" / phase.package, phase)
    return tmp_path / "build" / "toy"


def printed(folder: Path, *words: str) -> Done:
    return mcwbuild("ledger", folder, *words, cwd=folder)


def test_a_run_is_one_table_with_every_reason_below_it(run: Path) -> None:
    done = mcwbuild("ledger", "toy", cwd=run.parent)
    assert (done.code, done.stderr) == (0, "")
    lines = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
    assert lines == GOLDEN.read_text()


def test_the_json_has_each_figure_or_why_there_is_none(run: Path) -> None:
    done = printed(run, "--json")
    ((made),) = done.json["runs"]
    models = {row["model"]: row for row in made["models"]}
    assert list(models) == ["PT", "ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert done.json["errors"] == []
    assert models["PT"]["latency"]["inference"]["p99"] == 3.5
    assert models["PT"]["flops"] == 2_000_000_000
    npu = models["rk3588 INT8"]
    assert (npu["latency_ms"], npu["fps"], npu["device"]) == (None, None, "simulator")
    assert {"latency", "FPS"} <= set(npu["unmeasured"])
    assert npu["estimated"]["cycles"] == 123456


@pytest.mark.parametrize(("width", "parts"), [(80, 2), (200, 1)])
def test_models_that_do_not_fit_beside_each_other_stand_below_each_other(run: Path, width: int, parts: int) -> None:
    def other(source: dict[str, Any]) -> None:
        source["rknn"]["platform"]["target"] = "rk3588"

    for target in ("one", "two"):
        write_package(run / target / RKNN.package, RKNN, other)
    (made,) = ledger.runs(read_all(find(run))[0])
    assert len(made.rows) == 8
    tables = list(ledger.blocks(made, width))
    assert len(tables) == parts
    assert [name for header, _ in tables for name in header[1:]] == [row.model for row in made.rows]
    for header, body in tables:
        wide = [max(len(line[place]) for line in (header, *body)) for place in range(len(header))]
        assert sum(wide) + 2 * len(wide) <= width


def test_every_run_below_a_folder_is_shown_and_links_are_not_followed(run: Path) -> None:
    shutil.copytree(run, run.parent / "deeper" / "still" / "other")
    (run.parent / "link").symlink_to(run)
    shutil.copytree(run, run.parent / ".hidden")
    folders = [made["run"] for made in printed(run.parent, "--json").json["runs"]]
    assert folders == [str(run.parent / "deeper" / "still" / "other"), str(run)]


def test_a_failed_check_is_shown_as_a_failure(run: Path) -> None:
    def dead(record: dict[str, Any]) -> None:
        check = {"name": "int8 scores", "status": "failed", "detail": "The int8 scores are all zero."}
        record["validation"]["checks"].append(check)

    rewrite(run / RKNN.package, RKNN, dead)
    done = printed(run, "--json")
    gates = {row["model"]: row["gate"] for row in done.json["runs"][0]["models"]}
    assert gates["rk3588 INT8"] == "failed"
    assert gates["rk3588 FP16"] != "failed"
    assert "failed (rk3588 INT8): int8 scores: The int8 scores are all zero." in printed(run).stdout


def pipe(package: Path) -> None:
    (package / "SHA256SUMS").unlink()
    os.mkfifo(package / "SHA256SUMS")


def link(package: Path) -> None:
    (package / "best.onnx").unlink()
    (package / "best.onnx").symlink_to("/etc/passwd")


def sparse(package: Path) -> None:
    with (package / "best.onnx").open("r+b") as file:
        file.truncate(1 << 42)


def flipped(package: Path) -> None:
    with (package / "best.onnx").open("ab") as file:
        file.write(b"rot")


def no_number(package: Path) -> None:
    rewrite(package, ONNX, lambda record: record["model_info"].update(size="5 MB"))


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (pipe, 6, "not a regular file"),
        (link, 6, "not a regular file"),
        (sparse, 6, "are allowed"),
        (flipped, 6, "has changed"),
        (no_number, 2, "model_info.size"),
    ],
)
def test_a_package_that_is_not_sound_is_told_and_the_others_are_shown(
    run: Path, spoil: Callable[[Path], None], code: int, said: str
) -> None:
    spoil(run / ONNX.package)
    done = printed(run, "--json")
    assert done.code == code
    assert said in done.stderr
    assert [row["model"] for row in done.json["runs"][0]["models"]] == ["PT", "rk3588 FP16", "rk3588 INT8"]
    assert str(run / ONNX.package) in done.json["errors"][0]["what"]


def test_a_folder_without_packages_is_a_usage_error(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        done = mcwbuild("ledger", place, cwd=tmp_path)
        assert (done.code, done.stdout) == (2, "")
        assert "Give a folder such as build/NAME" in done.stderr


def test_markdown_and_csv_keep_every_name_in_its_cell(run: Path) -> None:
    def nasty(record: dict[str, Any]) -> None:
        record["device"]["model"] = "=cmd() | <b>x</b> ::error::"

    rewrite(run / PT.package, PT, nasty)
    text = printed(run, "--format", "markdown").stdout
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6}
    assert "<b>" not in text
    lines = list(csv.DictReader(io.StringIO(printed(run, "--format", "csv").stdout)))
    assert [line["model"] for line in lines] == ["PT", "ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert lines[0]["device_model"].startswith("'=cmd()")
    assert float(lines[0]["latency.total.p90"]) == 2.0


def test_no_numerical_library_and_no_engine_is_loaded(run: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from mcwbuild.cli import main; main(['ledger', sys.argv[1]]); "
        "print([name for name in ('numpy', 'docker', 'cv2', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_labels_the_agreement_stands_in_the_table_and_findings_below_it(run: Path) -> None:
    def unlabelled(record: dict[str, Any]) -> None:
        reason = "The images have no labels."
        for variant in ("fp16", "int8"):
            record["accuracy_metrics"][variant] = {"status": "unmeasured", "reason": reason}
            agreement = {"confidence": 0.25, "images": 40, "map50_95": 0.9123, "map50": 0.95}
            compared = {"metrics": None, "metrics_reason": reason, "agreement": agreement}
            record["comparison_with_onnx"][variant] |= compared
        finding = {"phase": "rknn", "name": "dead-scores", "what": "No score is left.", "evidence": {"variant": "int8"}}
        record["issues"] = [finding, {"phase": "rknn", "what": "2 layers of the fp16 model run on the CPU"}]

    rewrite(run / RKNN.package, RKNN, unlabelled)
    text = printed(run).stdout
    (line,) = [line for line in text.splitlines() if "agr. map50_95" in line]
    assert line.split()[2:] == ["-", "-", "0.9123", "0.9123"]
    assert "no accuracy (rk3588 FP16, rk3588 INT8): The images have no labels." in text
    assert "found (rk3588 INT8): dead-scores: No score is left." in text
    assert "found (rk3588 FP16): 2 layers of the fp16 model run on the CPU" in text


def test_what_a_board_measured_has_columns_of_its_own(run: Path) -> None:
    board = documents.read_json(BOARD).value
    source = documents.read_yaml(run / RKNN.package / RKNN.source).value
    board["report_info"]["contract_sha256"] = source["contract_sha256"]
    (made,) = ledger.runs(read_all(find(run))[0])
    package = replace(made.packages[-1], board=board)
    with_board = ledger.runs([*made.packages[:-1], package])[0]
    measured = {row.model: row for row in with_board.rows if row.device == "stand-in"}
    assert list(measured) == ["rk3588 FP16 stand-in", "rk3588 INT8 stand-in"]
    speed, row = board["inference_performance"]["int8"], measured["rk3588 INT8 stand-in"]
    assert (row.fps, row.latency_ms) == (speed["fps"], speed["latency_ms"]["total"]["p50"])
    assert row.fps is not None
    assert "No NPU computed" in "".join(ledger.notes(with_board.rows))
