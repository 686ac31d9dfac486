"""Bad input: the right exit code, every problem at once, no traceback, nothing published."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from tests.support.commands import EXAMPLE, Done, mcwbuild, replace


def refused(done: Done, code: int, folder: Path) -> str:
    """The command failed as it should: code, no traceback, no package. Returns what it said."""
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in folder.rglob("*_package") if "onnx_package" not in str(path.parent / path.name)]
    assert not list(folder.rglob(".tmp-*"))
    return done.stderr


def test_an_edited_critical_value_stops_the_conversion(onnx_copy: Path, tmp_path: Path) -> None:
    source = onnx_copy / "onnx_source.yaml"
    replace(source, "format: RGB", "format: BGR")
    line = next(i for i, text in enumerate(source.read_text().splitlines(), 1) if "format: BGR" in text)
    out = tmp_path / "out"
    words = ("convert", "--onnx", onnx_copy / "best.onnx", "--source", source, "--target", "rk3588", "--out", out)
    said = refused(mcwbuild(*words, "--dtype", "fp16", cwd=tmp_path), 3, out)
    assert f"onnx_source.yaml:{line}" in said
    for word in ("input.format", "BGR", "RGB", "onnx"):
        assert word in said


def test_a_configurable_value_may_be_edited(onnx_copy: Path, tmp_path: Path) -> None:
    replace(onnx_copy / "onnx_source.yaml", "name: shapes", "name: renamed")
    words = ("convert", "--onnx", onnx_copy / "best.onnx", "--target", "rk3566", "--dtype", "fp16", "--json")
    done = mcwbuild(*words, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.code == 0, done.stderr


def test_all_problems_of_all_documents_come_in_one_report(example: Path, tmp_path: Path) -> None:
    source = tmp_path / "training_source.yaml"
    source.write_text((example / "pt_package" / "training_source.yaml").read_text())
    replace(source, "channels: 3", "channels: three")
    with source.open("a") as file:
        file.write("export: {tool: hand}\ncolour: blue\nmodel: {name: twice}\n")
    words = ("export", "--pt", EXAMPLE / "best.pt", "--source", source, "--data", tmp_path / "none.yaml")
    said = refused(mcwbuild(*words, "--out", tmp_path / "out", cwd=tmp_path), 2, tmp_path / "out")
    for word in ("export", "onnx_source", "colour", "model", "channels", "none.yaml"):
        assert word in said, said
    assert said.count("training_source.yaml:") >= 4


CHECKPOINTS = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "text": lambda whole: b"these are not weights\n",
    "empty": lambda whole: b"",
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_broken_checkpoint_is_one_sentence(tmp_path: Path, kind: str) -> None:
    broken = tmp_path / "best.pt"
    broken.write_bytes(CHECKPOINTS[kind]((EXAMPLE / "best.pt").read_bytes()))
    out = tmp_path / "out"
    said = refused(mcwbuild("run", "--pt", broken, "--target", "rk3588", "--out", out, cwd=tmp_path), 2, out)
    assert len([line for line in said.splitlines() if "error:" in line]) == 1


class Call:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (self.command,)


def test_a_checkpoint_that_calls_a_function_is_refused_by_its_name_and_nothing_runs(tmp_path: Path) -> None:
    hostile, canary = tmp_path / "best.pt", tmp_path / "ran"
    with zipfile.ZipFile(EXAMPLE / "best.pt") as good, zipfile.ZipFile(hostile, "w") as bad:
        for entry in good.infolist():
            data = good.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = pickle.dumps({"model": Call(f"touch {canary}")}, protocol=2)
            bad.writestr(entry.filename, data)
    out = tmp_path / "out"
    said = refused(mcwbuild("run", "--pt", hostile, "--target", "rk3588", "--out", out, cwd=tmp_path), 6, out)
    assert "system" in said
    assert not canary.exists()


def test_a_broken_onnx_is_one_sentence(onnx_copy: Path, tmp_path: Path) -> None:
    model = onnx_copy / "best.onnx"
    model.write_bytes(model.read_bytes()[:100_000])
    out = tmp_path / "out"
    words = ("convert", "--onnx", model, "--target", "rk3588", "--dtype", "fp16", "--out", out)
    said = refused(mcwbuild(*words, cwd=tmp_path), 2, out)
    assert len([line for line in said.splitlines() if "error:" in line]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--pt", "missing.pt", "--target", "rk3588"), "missing.pt"),
        (("run", "--pt", EXAMPLE / "best.pt"), "--target"),
        (("run", "--pt", EXAMPLE / "best.pt", "--target", "rk1"), "rk1"),
        (("run", "--pt", EXAMPLE / "best.pt", "--target", "rk3588", "--dtype", "int8"), "calibration"),
        (("run", "--pt", EXAMPLE / "best.pt", "--target", "rk3588", "--data", "none.yaml"), "none.yaml"),
        (("verify", "nowhere"), "nowhere"),
        (("exprot",), "export"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, words: tuple[str | Path, ...], told: str) -> None:
    assert told in refused(mcwbuild(*words, cwd=tmp_path), 2, tmp_path)
