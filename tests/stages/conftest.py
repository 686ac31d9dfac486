"""Tests of a phase run inside that phase's own environment, and are reported here as ordinary results.

A file below `tests/stages/<phase>/` is not imported by this pytest: its test functions are listed from its
source, the file is run once by a pytest in the stage's environment, and each function reports what it did there.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
INSIDE = "MCWBUILD_TEST_PHASE"
PHASES = ("pt", "onnx", "rknn")
TIMEOUT = 900  # seconds for one file


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take a phase's test files away from the ordinary collector."""
    phase = module_path.parent.name
    if os.environ.get(INSIDE) or phase not in PHASES or module_path.parent.parent != Path(__file__).parent:
        return None
    return StageFile.from_parent(parent, path=module_path)


class StageTestFailure(Exception):
    """A test that failed in the stage's environment; the text is that pytest's own report."""


class StageFile(pytest.File):
    """One test file of a phase."""

    def collect(self) -> Iterator[pytest.Item]:
        """An item for each test function in the source."""
        tree = ast.parse(self.path.read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                item = StageItem.from_parent(self, name=node.name)
                item.line = node.lineno
                yield item


class StageItem(pytest.Item):
    """One test function of a phase, its parametrised cases together."""

    line: int

    def runtest(self) -> None:
        """Fail or skip as the function did in the stage's environment."""
        cases, output = results(self.path)
        mine = [case for case in cases if case.get("name", "").partition("[")[0] == self.name]
        if not mine:
            raise StageTestFailure(f"{self.name} did not run:\n{output[-6000:]}")
        broken = [found for case in mine for tag in ("failure", "error") for found in case.findall(tag)]
        if broken:
            raise StageTestFailure("\n".join(found.text or "" for found in broken))
        skipped = [found for case in mine for found in case.findall("skipped")]
        if len(skipped) == len(mine):
            pytest.skip(skipped[0].get("message", ""))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """The inner report as it is."""
        if isinstance(excinfo.value, StageTestFailure):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test stands."""
        return self.path, self.line - 1, f"{self.path.parent.name}: {self.name}"


@cache
def results(file: Path) -> tuple[list[ElementTree.Element], str]:
    """Run a file once inside its phase's environment: the test cases of its JUnit report, and the output."""
    phase = file.parent.name
    python = stage_python(phase)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        environment = {
            **os.environ,
            INSIDE: phase,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(test_tools(python))]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "YOLO_OFFLINE": "1",
            "YOLO_AUTOINSTALL": "0",
            "YOLO_CONFIG_DIR": scratch,
        }
        # The root is named: pytest would make it tests/stages, and tests/stages/onnx the module `onnx`.
        configuration = ["-c", str(Path(__file__).with_name("pytest.ini")), f"--rootdir={ROOT}"]
        command = [str(python), "-m", "pytest", *configuration]
        done = subprocess.run(
            [*command, f"--junitxml={report}", str(file)],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
        )
        cases = list(ElementTree.parse(report).getroot().iter("testcase")) if report.exists() else []
    return cases, done.stdout


@cache
def stage_python(phase: str) -> Path:
    """The interpreter of the phase's environment, made by the local engine if it is not there yet."""
    from mcwbuild.contract.phases import PHASES as TABLE
    from mcwbuild.engines.local import LocalEngine

    engine = LocalEngine()
    engine.prepare(TABLE[phase], lambda event: None)
    return engine.python(TABLE[phase])


@cache
def test_tools(python: Path) -> Path:
    """pytest and hypothesis for the stages' Python, beside their environments, which hold neither."""
    import uv
    from platformdirs import user_cache_path

    wanted = [f"{name}=={version(name)}" for name in ("pytest", "hypothesis")]
    cache_folder = Path(os.environ.get("MCWBUILD_CACHE") or user_cache_path("mcwbuild"))
    folder = cache_folder / "test-tools" / "-".join(part.replace("==", "-") for part in wanted)
    if not folder.is_dir():
        temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
        install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", str(python), "--target", str(temporary)]
        subprocess.run([*install, *wanted], check=True, stdout=sys.stderr)
        try:
            temporary.rename(folder)
        except OSError:  # another worker's stands there
            shutil.rmtree(temporary)
    return folder
