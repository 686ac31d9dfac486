"""The workflows and the action: sound by GitHub's own schemas and zizmor, and their commands do what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.commands import ROOT, mcwbuild
from tests.support.workflows import ACTIONS, WORKFLOWS, Runner, condition, jobs, outputs, steps

FILES = [*sorted(WORKFLOWS.glob("*.yml")), *sorted(ACTIONS.glob("*/action.yml"))]
files = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / ".github")))
CLASSIFICATION = ROOT / "examples" / "classification"
MODELS = """examples/classification/best.pt data=examples/classification/data name=cls
examples/pose/best.pt data=examples/pose/data.yaml name='it is $(touch hacked) `touch hacked`; touch hacked'
"""
EVIL = "$(touch hacked) `touch hacked`; touch hacked \"'"


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found, f"{name} is not installed"
    return found


@files
def test_a_file_is_as_github_s_schema_says(path: Path) -> None:
    schema = "vendor.github-workflows" if path.parent == WORKFLOWS else "vendor.github-actions"
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", schema, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@files
def test_zizmor_finds_nothing(path: Path) -> None:
    done = subprocess.run(
        [tool("zizmor"), "--offline", "--no-progress", "--persona", "regular", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@files
def test_no_expression_stands_in_a_shell_s_text_and_all_is_pinned(path: Path) -> None:
    whole = yaml.safe_load(path.read_text("utf-8"))
    parts = [whole["runs"]] if "runs" in whole else whole["jobs"].values()
    for step in (step for part in parts for step in part["steps"]):
        assert "${{" not in step.get("run", "")
        assert len(step.get("uses", "@" + "0" * 40).rpartition("@")[2]) == 40


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.name)
def test_nothing_is_granted_by_default_and_writing_to_one_job_alone(path: Path) -> None:
    whole = yaml.safe_load(path.read_text("utf-8"))
    assert whole["permissions"] == {}
    writing = [name for name, job in whole["jobs"].items() if "write" in job["permissions"].values()]
    assert writing == (["push"] if path.name == "images.yml" else [])
    assert {"packages"} == set(whole["jobs"]["push"]["permissions"]) if writing else True
    lines = [step["run"] for job in whole["jobs"].values() for step in job["steps"] if "\n" in step.get("run", "")]
    assert not lines or whole["defaults"]["run"]["shell"] == "bash"  # with pipefail, as the tests run them


def test_the_commands_of_the_matrix_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "models.txt").write_text(MODELS)
    there = jobs("convert.yml")
    runner = Runner(tmp_path)
    values = {
        "inputs.models": "models.txt", "inputs.target": "rk3588,rk3566,rk3568", "inputs.options": "--tune\noff\n",
        "inputs.engine": "local", "inputs.images": "", "steps.python.outputs.python-version": "3.11.9",
    }  # fmt: skip
    assert runner.run(there["plan"]["steps"], values) == 0
    cells = json.loads(values["steps.plan.outputs.matrix"])["include"]
    assert [cell["target"] for cell in cells] == ["rk3588", "rk3566,rk3568"] * 2
    for number, cell in enumerate(cells):
        own = {**values, **{f"matrix.{key}": value for key, value in cell.items()}}
        assert runner.run(there["convert"]["steps"], own) == 0, runner.said
        assert own["steps.key.outputs.prefix"] == "mcwbuild-Linux-X64-python3.11.9-"
        shutil.move(tmp_path / "build", tmp_path / "all" / f"mcwbuild-{number}")  # what the artefacts' actions do
    assert runner.run(there["summary"]["steps"], values) == 0
    made = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert made["counts"] == {"done": 2, "gate_failed": 0, "failed": 0, "not_run": 0}
    targets = [{row["target"] for row in model["results"]} - {None} for model in made["models"]]
    assert targets == [{"rk3588", "rk3566", "rk3568"}] * 2
    assert (tmp_path / "all" / "report.html").is_file()
    assert not (tmp_path / "hacked").exists()
    assert runner.summary.read_text().count("| cls |") == 3


def action(folder: Path, **inputs: str) -> tuple[Runner, dict[str, str]]:
    """The action's inputs with their defaults, and a runner whose programs are the action's own."""
    declared = yaml.safe_load((ACTIONS / "convert" / "action.yml").read_text("utf-8"))["inputs"]
    values = {f"inputs.{name}": inputs.get(name, item.get("default", "")) for name, item in declared.items()}
    values |= {"steps.python.outputs.python-path": sys.executable, "steps.python.outputs.python-version": "3.11.9"}
    return Runner(folder, {"GITHUB_ACTION_PATH": str(ACTIONS / "convert"), "PYTHONPATH": ""}), values


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNNER_TEMP after the action's own Install."""
    runner, values = action(tmp_path_factory.mktemp("installed"))
    only = [step for step in steps("convert") if step.get("name") == "Install"]
    assert runner.run(only, values, without=()) == 0, runner.said
    return runner.temporary


@pytest.mark.network
def test_the_action_converts_a_model_and_tells_where_its_packages_are(installed: Path, tmp_path: Path) -> None:
    data, out = str(CLASSIFICATION / "data"), f"out/it is {EVIL}"
    runner, values = action(
        tmp_path, pt=str(CLASSIFICATION / "best.pt"), data=data, target="rk3588,rk3576", dtype="fp16", out=out,
        options=f"--tune\noff\n\n--name\nnamed {EVIL.replace('/', '')}\n",
    )  # fmt: skip
    runner.environment["RUNNER_TEMP"] = str(installed)
    assert runner.run(steps("convert"), values) == 0, runner.said
    assert values["steps.key.outputs.prefix"] == "mcwbuild-Linux-X64-python3.11.9-"
    assert values["steps.key.outputs.key"].startswith("pt-")
    packages = values["steps.convert.outputs.packages"].splitlines()
    expected = ["pt_package", "onnx_package", "rk3588/rknn_package", "rk3576/rknn_package"]
    assert packages == [f"{out}/{name}" for name in expected]
    assert all((tmp_path / name / "SHA256SUMS").is_file() for name in packages)
    assert values["steps.convert.outputs.summary"] == f"{out}/report.md"
    assert runner.summary.read_text().strip() == (tmp_path / out / "report.md").read_text().strip()
    assert not (tmp_path / "hacked").exists()


@pytest.mark.network
def test_the_action_fails_with_the_run_s_code_and_no_packages(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    runner, values = action(tmp_path, pt="broken.pt", target="rk3588", dtype="fp16")
    runner.environment["RUNNER_TEMP"] = str(installed)
    assert runner.run(steps("convert"), values) == 2
    assert values["steps.convert.outputs.packages"] == ""
    assert values["steps.convert.outputs.summary"] == ""
    assert "error: " in runner.said[-1]


def test_conditions_and_outputs_are_read_as_github_does() -> None:
    text = "inputs.engine == 'local' && steps.cache.outputs.cache-hit != 'true'"
    assert condition(text, {"inputs.engine": "local"})
    assert not condition(text, {"inputs.engine": "local", "steps.cache.outputs.cache-hit": "true"})
    assert outputs("a=b<<c\nd<<x\none=1\ntwo\nx\n") == {"a": "b<<c", "d": "one=1\ntwo"}


def test_a_matrix_that_github_would_not_take_is_refused(tmp_path: Path) -> None:
    for number in range(90):
        (tmp_path / f"m{number}.onnx").write_bytes(b"")
    (tmp_path / "models.txt").write_text("*.onnx\n")
    done = mcwbuild(
        "plan", "--models", "models.txt", "--target", "rk3588,rk3576,rk3562", "--format", "github", cwd=tmp_path
    )
    assert done.code == 2
    assert "270 cells" in done.stderr
    assert "256 at most" in done.stderr


def test_a_cell_is_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    (tmp_path / "models.txt").write_text("a.onnx\n")
    done = mcwbuild("batch", "--models", "models.txt", "--only", "b", "--target", "rk3588", cwd=tmp_path)
    assert done.code == 2
    assert "No model of the list is called b" in done.stderr
