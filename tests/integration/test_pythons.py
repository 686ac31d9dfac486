"""The orchestrator and the contract on every Python that this machine has, installed as users install them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from tests.support.commands import ROOT

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [python for python in ("3.10", "3.11", "3.12", "3.13", "3.14") if python != OURS]
TESTS = ("tests/contract", "tests/unit/test_options.py", "tests/unit/test_plan.py", "tests/unit/test_pipeline.py")


def search_path() -> str:
    """PATH, and the Pythons that pyenv keeps beside its shims: uv does not look there."""
    folders = os.environ["PATH"].split(os.pathsep)
    kept = [bin_ for folder in folders for bin_ in Path(folder).parent.glob("versions/3.*/bin")]
    return os.pathsep.join([*folders, *map(str, kept)])


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = search_path()
    return subprocess.run([str(word) for word in command], cwd=cwd, env=environment, text=True, capture_output=True)


@pytest.mark.network
@pytest.mark.parametrize("python", OTHERS)
def test_it_installs_and_works_on_another_python(tmp_path: Path, python: str) -> None:
    tool = uv.find_uv_bin()
    found = run(tool, "python", "find", "--no-python-downloads", "--no-project", python, cwd=tmp_path)
    if found.returncode:
        pytest.skip(f"no Python {python} on this machine: nothing was tested on it")
    venv = tmp_path / "venv"
    for command in (
        ("venv", "--quiet", "--python", found.stdout.strip(), venv),
        (
            "pip",
            "install",
            "--quiet",
            "--python",
            venv / "bin" / "python",
            ROOT,
            "pytest",
            "pytest-timeout",
            "hypothesis",
        ),
    ):
        done = run(tool, *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    listed = run(venv / "bin" / "mcwbuild", "schema", cwd=tmp_path)
    assert "training_source" in listed.stdout, listed.stderr
    elsewhere = ("-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider", "-q")
    tested = run(venv / "bin" / "python", "-m", "pytest", *elsewhere, *TESTS, cwd=ROOT)
    assert tested.returncode == 0, tested.stdout[-4000:]
