"""What goes to the board beside the package's own files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcwbuild.board import pack
from mcwbuild.contract import assets

SOURCES = [assets.stages_dir() / name for name in pack.SOURCES]
THERE = {"numpy", "npu_inference", "rknnlite"}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a source names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: "/".join(source.parts[-2:]))
def test_a_source_is_python_3_8_and_needs_what_a_board_has(source: Path) -> None:
    tree = ast.parse(source.read_text("ascii"), feature_version=(3, 8))
    packed = {".".join(("stages", *name.removesuffix(".py").split("/"))) for name in pack.SOURCES}
    packed |= {name.rpartition(".")[0] for name in packed}
    strange = {name for name in imported(tree) if name.split(".")[0] not in sys.stdlib_module_names | THERE} - packed
    assert not strange
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    assert not keywords  # of zip: Python 3.10
