"""Editors show what the command line tells: the real yaml-language-server over the examples."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcwbuild import editors
from mcwbuild.contract import documents
from tests.contract.test_examples import EXAMPLES, report
from tests.support.commands import mcwbuild
from tests.support.language_server import LanguageServer

VERSION = "1.25.0"  # of yaml-language-server
# What only mcwbuild knows: rules between fields, and what it does not accept as text.
BEYOND_SCHEMAS = (
    "blank_of_no_text", "contradictions", "directive", "duplicate_keys", "empty", "hostile_escape", "hostile_text",
    "not_finite", "references", "syntax", "text", "text_and_values", "two_documents", "units", "yaml11",
    "yaml11_booleans",
)  # fmt: skip
INVALID = [path for path in sorted((EXAMPLES / "invalid").glob("*/*.yaml")) if path.stem not in BEYOND_SCHEMAS]
VALID = sorted((EXAMPLES / "valid").glob("*/*.yaml"))


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("editor")
    editors.place(made)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[LanguageServer]:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here to fetch yaml-language-server with")
    words = [npm, "install", "--prefix", str(folder / "npm"), "--no-audit", "--no-fund", "--fetch-retries=1"]
    done = subprocess.run([*words, f"yaml-language-server@{VERSION}"], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"npm does not get yaml-language-server: {done.stderr.strip().splitlines()[-1:]}")
    program = folder / "npm" / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    with LanguageServer(program, folder) as started:
        yield started


def copied(path: Path, folder: Path) -> Path:
    """The example in a folder of one's own, after the line by which editors find its schema."""
    target = folder / f"{path.parent.parent.name}-{path.parent.name}-{path.name}"
    target.write_text(f"{editors.modeline(path.parent.name)}\n{path.read_text('utf-8')}", "utf-8")
    return target


@pytest.mark.parametrize("path", VALID, ids=name)
def test_nothing_is_underlined_in_a_valid_document(path: Path, folder: Path, server: LanguageServer) -> None:
    assert server.marks(copied(path, folder)) == []


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_an_editor_underlines_the_lines_that_the_command_line_names(
    path: Path, folder: Path, server: LanguageServer
) -> None:
    """What is missing in a mapping is told at the mapping's first line, or at the line of its key before it."""
    told = {problem.line for problem in report(path) if problem.line}
    marked = {mark.line - 1 for mark in server.marks(copied(path, folder))}
    assert marked
    assert {line for line in told if not marked & {line, line - 1}} == set()
    assert {line for line in marked if not told & {line, line + 1}} == set()


def test_every_document_names_its_schema_and_reads_back_as_it_was(tmp_path: Path) -> None:
    value = documents.read_yaml(EXAMPLES / "valid" / "training_source" / "workflow.yaml").value
    value["schema"] = "training_source/1"
    documents.write_yaml(tmp_path / "a.yaml", value)
    first = (tmp_path / "a.yaml").read_text("ascii").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../.schemas/training_source.schema.json"
    assert documents.read_yaml(tmp_path / "a.yaml").value == value
    assert editors.beside((tmp_path / "a.yaml").read_bytes()).startswith(editors.modeline("training_source").encode())


def test_a_package_and_a_file_of_ones_own_find_their_schemas(tmp_path: Path, server: LanguageServer) -> None:
    package = tmp_path / "out" / "pt_package"
    package.mkdir(parents=True)
    value = documents.read_yaml(EXAMPLES / "valid" / "training_source" / "workflow.yaml").value
    value |= {"schema": "training_source/1", "surprise": 1}
    documents.write_yaml(package / "training_source.yaml", value)
    editors.place(package.parent)
    assert [mark.message for mark in server.marks(package / "training_source.yaml")] == [
        "Property surprise is not allowed."
    ]
    assert mcwbuild("init", "--train", cwd=tmp_path).code == 0
    assert server.marks(tmp_path / "train.yaml") == []


def test_schema_tells_the_comment_and_writes_the_files(tmp_path: Path) -> None:
    listed = mcwbuild("schema", cwd=tmp_path).stdout
    assert "# yaml-language-server: $schema=.schemas/mcwbuild.schema.json" in listed
    assert mcwbuild("schema", "--write", ".", cwd=tmp_path).stdout.strip() == os.path.join(".schemas")
    for file in (tmp_path / ".schemas").iterdir():
        json.loads(file.read_text("utf-8"))
