"""Where shipped files are found: in a checkout, in a stage's folder, in an installed wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcwbuild.contract import assets

REPOSITORY = Path(__file__).resolve().parents[3]


def test_a_checkout_is_its_own_root() -> None:
    assert assets.root() == REPOSITORY
    assert (assets.schemas_dir() / "common.schema.json").is_file()
    assert assets.stages_dir().is_dir()
    assert assets.locks_dir().is_dir()


@pytest.mark.parametrize("place", ["schemas", "mcwbuild/_shipped/schemas"])
def test_the_contract_works_where_it_is_copied_to(place: str, tmp_path: Path) -> None:
    """Beside `schemas/`, as in a stage's code folder, and with them inside the package, as in a wheel."""
    shutil.copytree(REPOSITORY / "mcwbuild/contract", tmp_path / "mcwbuild/contract")
    shutil.copy(REPOSITORY / "mcwbuild/__init__.py", tmp_path / "mcwbuild/__init__.py")
    shutil.copytree(REPOSITORY / "schemas", tmp_path / place)
    program = "from mcwbuild.contract import assets, schemas; print(assets.root(), len(schemas.critical_paths()))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str((tmp_path / place).resolve().parent), "19"]


def test_reading_a_document_loads_no_validator() -> None:
    """`mcwbuild --help` has to be quick, and loads the contract."""
    modules = "yaml, inherit, documents, validate, schemas, manifest, dataset, artefacts, performance, readback"
    program = f"import sys; from mcwbuild.contract import {modules}; print('jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
