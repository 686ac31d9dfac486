"""Manifests and hashes: what changed in a package is told, whatever it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from mcwbuild.contract import documents, manifest
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import ONNX, PT, RKNN


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "onnx_package"
    folder.mkdir()
    for name in ("best.onnx", "onnx_source.yaml", "performance_onnx.json"):
        (folder / name).write_text(f"content of {name}\n")
    (tmp_path / "best.pt").write_bytes(b"weights")
    manifest.write(folder, ONNX, {"command": ["python", "-m", "stages.onnx"]}, inputs={"pt": tmp_path / "best.pt"})
    return folder


def told(package: Path) -> list[tuple[str, str]]:
    return [(Path(problem.file or "").name, problem.message) for problem in manifest.verify(package)]


def test_a_fresh_package_is_whole(package: Path) -> None:
    assert told(package) == []
    made = documents.read_json(package / "manifest.json").value
    assert [item["file"] for item in made["outputs"]] == ["best.onnx", "onnx_source.yaml", "performance_onnx.json"]
    expected = {"file": "best.pt", "sha256": hashlib.sha256(b"weights").hexdigest(), "size": 7, "role": "pt"}
    assert made["inputs"] == [expected]
    assert made["command"] == ["python", "-m", "stages.onnx"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not on this machine")
def test_the_sums_are_in_the_format_of_sha256sum(package: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 4


def test_missing_extra_and_changed_files_are_all_told(package: Path) -> None:
    (package / "best.onnx").write_text("another")
    (package / "onnx_source.yaml").unlink()
    (package / "notes.txt").write_text("")
    (package / "folder").mkdir()
    assert sorted(told(package)) == [
        ("best.onnx", "the file has changed since SHA256SUMS and manifest.json were written"),
        ("folder", "the file is not part of the package"),
        ("notes.txt", "the file is not part of the package"),
        ("onnx_source.yaml", "the file is missing from the package"),
    ]


def test_a_change_with_new_sums_contradicts_the_manifest(package: Path) -> None:
    sums = (package / "SHA256SUMS").read_text()
    old = hashlib.sha256((package / "best.onnx").read_bytes()).hexdigest()
    (package / "best.onnx").write_text("another")
    (package / "SHA256SUMS").write_text(sums.replace(old, hashlib.sha256(b"another").hexdigest()))
    assert told(package) == [("best.onnx", "the file has changed since manifest.json was written")]


def test_a_file_left_out_of_both_lists_is_told(package: Path) -> None:
    made = json.loads((package / "manifest.json").read_text())
    made["outputs"] = made["outputs"][1:]
    (package / "manifest.json").write_text(json.dumps(made))
    (package / "best.onnx").unlink()
    lines = (package / "SHA256SUMS").read_text().splitlines(keepends=True)
    (package / "SHA256SUMS").write_text("".join(line for line in lines if "best.onnx" not in line))
    assert ("manifest.json", "the onnx phase's best.onnx is not listed") in told(package)


def test_a_link_in_place_of_a_file_is_told(package: Path) -> None:
    (package / "best.onnx").rename(package.parent / "elsewhere.onnx")
    (package / "best.onnx").symlink_to(package.parent / "elsewhere.onnx")
    assert told(package) == [("best.onnx", "this is not a regular file")]


def test_sums_that_name_other_folders_are_refused(package: Path) -> None:
    with (package / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../../secret\nnonsense\n")
    assert [message for _, message in told(package)] == ["this is not a line of sha256sum's format"] * 2


def test_a_package_without_its_lists_is_no_package(package: Path) -> None:
    (package / "SHA256SUMS").unlink()
    assert told(package) == [("SHA256SUMS", "the file is missing")]
    assert told(package / "nowhere") == [("SHA256SUMS", "the file is missing")]


def test_what_the_orchestrator_adds_keeps_the_package_whole(package: Path) -> None:
    manifest.amend(package, {"engine": "local"})
    manifest.amend(package, {"key": "k"})
    assert told(package) == []
    assert documents.read_json(package / "manifest.json").value["provenance"] == {"engine": "local", "key": "k"}


def test_adding_to_the_manifest_does_not_cover_up_a_change(package: Path) -> None:
    (package / "best.onnx").write_text("another")
    manifest.amend(package, {"engine": "local"})
    assert told(package) == [("best.onnx", "the file has changed since SHA256SUMS and manifest.json were written")]


def test_a_fact_that_the_schema_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="manifest"):
        manifest.write(tmp_path, PT, {"secret": 1})
    assert not (tmp_path / "SHA256SUMS").exists()


def test_optional_artefacts_need_not_be_listed(tmp_path: Path) -> None:
    for name in ("best_int8.rknn", "npu_inference.py", "rknn_source.yaml", "performance_rknn.json"):
        (tmp_path / name).write_text(name)
    manifest.write(tmp_path, RKNN, {})
    assert told(tmp_path) == []
