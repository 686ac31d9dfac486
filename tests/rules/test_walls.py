"""The house rules, held by tools: imports, style, types, and what a process loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_imports_keep_to_their_rooms() -> None:
    done = run(tool("lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing() -> None:
    done = run(tool("ruff"), "check", ".")
    assert done.returncode == 0, done.stdout
    done = run(tool("ruff"), "format", "--check", ".")
    assert done.returncode == 0, done.stdout


def test_types_hold_in_strict_mode() -> None:
    done = run(tool("mypy"), "-p", "mcwbuild", "-p", "stages")
    assert done.returncode == 0, done.stdout


def test_the_command_line_starts_without_heavy_libraries() -> None:
    done = run(
        sys.executable,
        "-c",
        "import sys, contextlib\n"
        "from mcwbuild.cli import main\n"
        "with contextlib.redirect_stdout(None): main(['--help'])\n"
        "heavy = {'dask', 'distributed', 'docker', 'jsonschema', 'yaml', 'rich', 'numpy', 'cv2', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))",
    )
    assert done.stdout.strip() == "[]"
