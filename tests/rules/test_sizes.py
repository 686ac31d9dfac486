"""Small files, small functions, typed parameters, few broad excepts: measured on the syntax tree."""

from __future__ import annotations

import ast
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE, MEDIAN_FILE = 350, 120  # lines
MAX_FUNCTION, MEDIAN_FUNCTION = 60, 12  # lines of code, docstring aside
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, Function))


def code_lines(function: Function) -> int:
    """Lines from the `def` to the end, without docstring, comments and blank lines."""
    assert function.end_lineno is not None
    lines = set(range(function.lineno, function.end_lineno + 1))
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


@pytest.mark.parametrize("room", ["mcwbuild", "stages", "tests"])
def test_files_and_functions_are_small(room: str) -> None:
    files = {path: len(path.read_text("utf-8").splitlines()) for path in sources(room)}
    too_long = [f"{path.relative_to(ROOT)}: {size}" for path, size in files.items() if size > MAX_FILE]
    sizes = {(path, f.name): code_lines(f) for path in files for f in functions(path)}
    too_long += [f"{p.relative_to(ROOT)}:{name}: {size}" for (p, name), size in sizes.items() if size > MAX_FUNCTION]
    assert not too_long
    assert statistics.median(files.values()) <= MEDIAN_FILE
    assert statistics.median(sizes.values()) <= MEDIAN_FUNCTION


def test_broad_excepts_stand_at_the_three_boundaries_only() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in sources("mcwbuild", "stages")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert sorted(found) == ["mcwbuild/cli/__init__.py", "mcwbuild/contract/stage.py", "stages/rknn/child.py"]


def test_only_the_console_and_the_stages_side_of_the_wall_print() -> None:
    printing = {
        str(path.relative_to(ROOT))
        for path in sources("mcwbuild", "stages")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    allowed = {
        "mcwbuild/report/console.py",
        "mcwbuild/contract/stage.py",
        "mcwbuild/contract/bench.py",
    }
    assert printing <= allowed


def test_every_public_name_is_explained() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in sources("mcwbuild", "stages")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.ClassDef, *Function.__args__))
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
        and not is_nested(path, node)
    ]
    assert not bare


def is_nested(path: Path, node: ast.AST) -> bool:
    """True for functions inside functions: nobody calls them from outside."""
    return any(
        inner is not None and outer is not node and inner.lineno == node.lineno  # type: ignore[attr-defined]
        for outer in functions(path)
        for inner in ast.walk(outer)
        if isinstance(inner, (ast.ClassDef, *Function.__args__)) and inner.lineno != outer.lineno
    )


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_top_level_holds_only_what_belongs_there() -> None:
    allowed = {
        ".changes", ".ci", ".dockerignore", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
        "README.md", "benchmarks", "docker", "docs", "examples", "mcwbuild", "pyproject.toml", "schemas", "stages",
        "tests",
    }  # fmt: skip
    assert {name.split("/")[0] for name in tracked()} <= allowed


def test_docker_and_schemas_are_data_only() -> None:
    assert not sources("docker", "schemas")


def test_no_file_names_an_index_host() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "deb.debian" + ".org", "registry.npmjs" + ".org")
    named = [
        name
        for name in tracked()
        if (ROOT / name).is_file() and any(host.encode() in (ROOT / name).read_bytes() for host in hosts)
    ]
    assert not named
