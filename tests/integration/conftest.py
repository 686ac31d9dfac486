"""One real run of the example, shared by the tests that look at what it made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.commands import EXAMPLE, mcwbuild

# The tests below `docker/` name their engine; where its images are there, `auto` would take it for the others too.
os.environ["MCWBUILD_ENGINE"] = "local"
os.environ["MCWBUILD_STORE"] = "false"  # they are about stages that run; those of the store ask for it


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run on the example checkpoint."""
    folder = tmp_path_factory.mktemp("example")
    done = mcwbuild(
        "run", "--pt", EXAMPLE / "best.pt", "--data", EXAMPLE / "data.yaml", "--target", "rk3588", "--json", cwd=folder
    )
    assert done.code == 0, done.stderr
    (folder / "run.json").write_text(done.stdout)
    (folder / "run.err").write_text(done.stderr)
    return folder / "build" / "shapes"


@pytest.fixture
def onnx_copy(example: Path, tmp_path: Path) -> Path:
    """The example's ONNX package, to be damaged."""
    return Path(shutil.copytree(example / "onnx_package", tmp_path / "onnx_package"))
